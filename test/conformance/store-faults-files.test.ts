/**
 * The files of a store that has lived (journal, tables, MANIFEST, CURRENT, identity) with flipped
 * bits, cut short, zeroed, or gone. Each time the store is refused in one line that says what to
 * do, or it says exactly what it said before. Only the end of the newest journal is another matter:
 * nobody can tell one that was cut later from one that a crash cut, so what is left of it counts.
 */
import assert from 'node:assert/strict';
import {
  cp,
  mkdtempDisposable,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { OperatingError } from '../../src/base/errors.ts';
import { intBetween, prng } from '../../src/base/prng.ts';
import { contents, makeStore, type Run, write } from './store-faults/bench.ts';
import { stepsThatGive } from './store-faults/workload.ts';

const run: Run = { workload: { seed: 5, largeBytes: 60_000 }, from: 0, to: 150 };
const flipsPerFile = 60;

const temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-files-`);
const sound = `${temporary.path}/sound`;
let copies = 0;
let said = '';

before(async () => {
  await makeStore(sound);
  const { exitCode, stderr } = await write(sound, run, { command: [] });
  assert.equal(exitCode, 0, stderr);
  // Opening moves the journal into a table; half of what follows is in a journal again.
  said = await contents(await copyOf(sound));
});
after(() => temporary.remove());

async function copyOf(dir: string): Promise<string> {
  const copy = `${temporary.path}/${copies++}`;
  await cp(dir, copy, { recursive: true });
  return copy;
}

/** Files of the store whose names fit, the largest number last; at least one. */
async function filesLike(pattern: RegExp): Promise<readonly string[]> {
  const names = (await readdir(`${sound}/log`)).filter((name) => pattern.test(name)).sort();
  assert.ok(names.length > 0, `the store has a file like ${pattern}`);
  return names.map((name) => `log/${name}`);
}

/** What a copy with a damaged file says; null when it is refused as damaged. */
async function saysWith(
  file: string,
  damage: (path: string) => Promise<void>,
): Promise<string | null> {
  const dir = await copyOf(sound);
  await damage(`${dir}/${file}`);
  try {
    return await contents(dir);
  } catch (error) {
    assert.ok(error instanceof OperatingError, String(error));
    assert.match(error.code, /^data-(corrupt|missing)$/, error.line);
    assert.match(error.line, /^[^\n]+; [^\n]*`holdfast (reset|init)`/, 'one line, with a way out');
    return null;
  } finally {
    await rm(dir, { recursive: true });
  }
}

function flip(path: string, bit: number): Promise<void> {
  return edit(path, (bytes) => {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  });
}

async function edit(path: string, change: (bytes: Uint8Array) => void): Promise<void> {
  const bytes = await readFile(path);
  change(bytes);
  await writeFile(path, bytes);
}

const kinds = [
  { kind: 'journal', pattern: /\.log$/ },
  { kind: 'table', pattern: /\.ldb$/ },
  { kind: 'MANIFEST', pattern: /^MANIFEST/ },
  { kind: 'CURRENT', pattern: /^CURRENT$/ },
];

for (const { kind, pattern } of kinds) {
  test(`a flipped bit in a ${kind} is refused, or changes nothing`, async () => {
    const random = prng(kind.length);
    let refused = 0;
    for (const file of await filesLike(pattern)) {
      const bits = (await readFile(`${sound}/${file}`)).length * 8;
      for (let each = 0; each < flipsPerFile; each++) {
        const bit = intBetween(random, 0, bits - 1);
        const says = await saysWith(file, (path) => flip(path, bit));
        if (says === null) refused += 1;
        else assert.equal(says, said, `${file}, bit ${bit}`);
      }
    }
    assert.ok(refused > 0);
  });

  test(`a ${kind} that is gone, empty or zeroed is refused`, async () => {
    for (const file of await filesLike(pattern)) {
      const damages = [rm, truncate, (path: string) => edit(path, (bytes) => bytes.fill(0))];
      for (const damage of damages) {
        const says = await saysWith(file, (path) => damage(path));
        // An empty journal is what a crash leaves of one that was just begun.
        if (says !== null) assert.ok(kind === 'journal' && damage !== rm, `${file} ${damage}`);
      }
    }
  });
}

for (const { kind, pattern } of kinds.slice(1)) {
  test(`a ${kind} that was cut short is refused, or the end did not matter`, async () => {
    const random = prng(kind.length);
    for (const file of await filesLike(pattern)) {
      const { length } = await readFile(`${sound}/${file}`);
      for (let each = 0; each < flipsPerFile / 3; each++) {
        const cut = each < 5 ? length - 1 - each : intBetween(random, 0, length - 1);
        const says = await saysWith(file, (path) => truncate(path, cut));
        if (says !== null) assert.equal(says, said, `${file}, cut to ${cut}`);
      }
    }
  });
}

test('a journal that was cut short gives what had been written up to there, whole', async () => {
  const [file = ''] = (await filesLike(/\.log$/)).slice(-1);
  const { length } = await readFile(`${sound}/${file}`);
  for (let each = 1; each <= 30; each++) {
    const says = await saysWith(file, (path) => truncate(path, Math.floor((length * each) / 31)));
    assert.ok(says !== null);
    assert.ok(stepsThatGive(run.workload, says, { least: 0, most: run.to }) !== null);
  }
});
