/** docs/known-bugs.md tells the truth: each of its rows names something, and all of that exists. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { mutants } from '../../sim/mutants/all.ts';
import { faultKinds } from '../../sim/options.ts';

const root = join(import.meta.dirname, '../../..');
const numberOfBugs = 40;

interface Row {
  readonly number: number;
  readonly bug: string;
  readonly source: string;
  /** What stands between backticks in the last column. */
  readonly catchers: readonly string[];
}

const rows: readonly Row[] = readFileSync(join(root, 'docs/known-bugs.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => {
    const [, number, bug = '', source = '', caught = ''] = line.split('|');
    const catchers = [...caught.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    return { number: Number(number), bug: bug.trim(), source: source.trim(), catchers };
  });

const testFiles = globSync('test/**/*.test.ts', { cwd: root });
const rules = globSync('test/sim/{.,checkers}/*.ts', { cwd: root })
  .map((path) => readFileSync(join(root, path), 'utf8'))
  .join('\n');

/** Why `catcher` is not there, or null. */
function missing(catcher: string): string | null {
  if (catcher.endsWith('.txt')) {
    return existsSync(join(root, 'test/raft/testdata', catcher)) ? null : 'no such script';
  }
  const [where = '', what = ''] = catcher.split(' › ');
  if (where === 'mutant') {
    return mutants.some(({ name }) => name === what) ? null : 'no such mutant';
  }
  if (where === 'simulator') {
    const known = rules.includes(`'${what}'`) || faultKinds.some((kind) => kind === what);
    return known ? null : 'no such rule or fault';
  }
  const files = testFiles.filter((path) => basename(path) === `${where}.test.ts`);
  if (files.length === 0) return 'no such test file';
  const titles = [`test('${what}'`, `test("${what}"`, `test(\`${what}\``];
  const found = files.some((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    return titles.some((title) => text.includes(title));
  });
  return found ? null : `no such title in ${files.join(', ')}`;
}

test('the table has every known bug once, with its source', () => {
  assert.deepEqual(
    rows.map(({ number }) => number),
    Array.from({ length: numberOfBugs }, (_, at) => at + 1),
  );
  for (const { number, bug, source } of rows) {
    assert.ok(bug.length > 0 && source.length > 0, `row ${number} says too little`);
  }
});

test('something catches each bug, and everything named exists', () => {
  for (const { number, catchers } of rows) {
    assert.ok(catchers.length > 0, `nothing catches bug ${number}`);
    for (const catcher of catchers) {
      assert.equal(missing(catcher), null, `row ${number}: ${catcher}`);
    }
  }
});

test('a mutant that stands for a bug is in the row of that bug', () => {
  for (const { name, stands } of mutants) {
    const numbers = /\bbugs? ([\d and]+)/.exec(stands)?.[1]?.match(/\d+/g) ?? [];
    for (const number of numbers.map(Number)) {
      const row = rows.find((each) => each.number === number);
      assert.ok(row?.catchers.includes(`mutant › ${name}`), `row ${number}: mutant › ${name}`);
    }
  }
});

test('every mutant is known by its own name and stands for something', () => {
  assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
  for (const { name, stands } of mutants) assert.notEqual(stands, '', name);
});
