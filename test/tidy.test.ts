/** The habits of the house as tests: each failure names the file, the line and the reason. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  type Banned,
  bannedEverywhere,
  bannedInSources,
  bannedText,
  everywhere,
  law,
  type Room,
} from './tidy/law.ts';
import {
  type Import,
  listFiles,
  longFunctions,
  readSources,
  root,
  type SourceFile,
} from './tidy/source.ts';

const maxColumns = 100;
const maxFunctionLines = 70;
/** What the formatter cannot break: the name of a test, a line that is one string. */
const unbreakable = /^\s*(?:(?:(?:await )?(?:t\.)?test|it|describe)\(['`]|(?:\w+: )?'[^']*',$)/;

const sources = readSources(['src']);
const everything = [...sources, ...readSources(['test', 'bench', 'packaging'])];
const byPath = new Map(everything.map((file) => [file.path, file]));

function none(violations: readonly string[]): void {
  assert.equal(violations.length, 0, `\n  ${violations.join('\n  ')}`);
}

test('every import obeys the import law', () => {
  const violations = sources.flatMap((file) => {
    const rows = rowsFor(file.path);
    return file.imports
      .filter((item) => !allowed(file, item, rows))
      .map((item) => {
        const why = rows[0]?.why ?? 'no row of the law covers this folder';
        return `${file.path}:${item.line} must not import ${item.specifier} (${why})`;
      });
  });
  none(violations);
});

test('every imported file is there', () => {
  const missing = everything.flatMap((file) =>
    file.imports
      .filter((item) => item.file !== null && !existsSync(join(root, item.file)))
      .map((item) => `${file.path}:${item.line} imports ${item.specifier}, which is not there`),
  );
  none(missing);
});

test('no file imports itself by a detour', () => {
  const cycles = new Set<string>();
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) cycles.add([...trail.slice(at), path].join(' → '));
    if (at >= 0 || done.has(path)) return;
    for (const item of byPath.get(path)?.imports ?? []) {
      if (item.file !== null && !item.typeOnly && !item.lazy) visit(item.file, [...trail, path]);
    }
    done.add(path);
  };
  for (const file of everything) visit(file.path, []);
  none([...cycles]);
});

test('every source file is reached from an entry point or a test', () => {
  const entries = everything
    .filter((file) => !file.path.startsWith('src/'))
    .map(({ path }) => path);
  const reached = new Set<string>();
  const queue = ['src/main.ts', 'src/lb/worker.ts', 'src/lb/carrier-thread.ts', ...entries];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    for (const item of byPath.get(path)?.imports ?? []) if (item.file) queue.push(item.file);
  }
  none(sources.filter(({ path }) => !reached.has(path)).map(({ path }) => `${path} is dead`));
});

test('banned tokens stay in their one place', () => {
  const inSources = sources.flatMap((file) => hits(file.path, file.code, bannedInSources));
  const anywhere = everything.flatMap((file) => hits(file.path, file.code, bannedEverywhere));
  const waiting = sources
    .filter(({ path }) => path.startsWith('src/raft/'))
    .flatMap((file) =>
      hits(file.path, file.code, [
        { pattern: /\basync\b|\bawait\b/, except: [], why: 'the core never waits' },
      ]),
    );
  none([...inSources, ...anywhere.filter((line) => !line.startsWith('test/tidy')), ...waiting]);
});

test('no text speaks of trackers, paths of one machine or work left over', () => {
  const texts = listFiles('.', (name) => /\.(?:ts|md|proto|sh|service|yaml|json)$/.test(name))
    .concat(['Makefile', 'bin/holdfast'].filter((path) => existsSync(join(root, path))))
    .filter((path) => !path.startsWith('test/tidy') && path !== 'package-lock.json');
  none(texts.flatMap((path) => hits(path, readFileSync(join(root, path), 'utf8'), bannedText)));
});

test('every file begins with a comment that says what it is', () => {
  const silent = everything.filter(({ text }) => !/^(?:#!.*\n)?\/(?:\*\*|\/)/.test(text));
  none(silent.map(({ path }) => `${path} has no header`));
});

test('no line is longer than the page', () => {
  const wide = everything.flatMap((file) =>
    file.lines.flatMap((line, index) =>
      [...line].length > maxColumns && !unbreakable.test(line)
        ? [`${file.path}:${index + 1} ${[...line].length} columns`]
        : [],
    ),
  );
  none(wide);
});

test('functions stay short, and those on the list of exceptions only get shorter', () => {
  const listPath = join(root, 'test/tidy/long-functions.json');
  const granted = JSON.parse(readFileSync(listPath, 'utf8')) as Record<string, number>;
  const found = new Map<string, number>(
    everything
      .filter(({ path }) => !path.endsWith('.test.ts'))
      .flatMap((file) =>
        longFunctions(file, maxFunctionLines).map((item): [string, number] => [
          `${file.path} ${item.name}`,
          item.lines,
        ]),
      ),
  );
  const grown = [...found]
    .filter(([name, lines]) => lines > (granted[name] ?? maxFunctionLines))
    .map(([name, lines]) => `${name} has ${lines} lines, at most ${granted[name] ?? 70} allowed`);
  const stale = Object.entries(granted)
    .filter(([name, lines]) => (found.get(name) ?? 0) < lines)
    .map(([name]) => `${name} is shorter now: lower it in test/tidy/long-functions.json`);
  none([...grown, ...stale]);
});

/** The rows that apply to a file: its own, then those of the folders around it. */
function rowsFor(path: string): Room[] {
  const inner = path.slice('src/'.length);
  return law
    .filter(({ room }) => inner === room || inner.startsWith(`${room}/`))
    .sort((a, b) => b.room.length - a.room.length);
}

function allowed(file: SourceFile, item: Import, rows: readonly Room[]): boolean {
  const target = item.file === null ? item.specifier : item.file.replace(/^src\//, '');
  const home = file.path.slice('src/'.length).split('/')[0] ?? '';
  if (item.file?.startsWith(`src/${home}/`)) return true;
  const may = [...everywhere, ...rows.flatMap((row) => row.may)];
  return may.some((grant) => {
    const [name, typesOnly] = grant.startsWith('type ') ? [grant.slice(5), true] : [grant, false];
    if (typesOnly && !item.typeOnly) return false;
    return name === '*' || target === name || target.startsWith(`${name}/`);
  });
}

function hits(path: string, text: string, rules: readonly Banned[]): string[] {
  const inner = path.replace(/^src\//, '');
  return rules
    .filter(
      ({ except }) => !except.some((place) => inner === place || inner.startsWith(`${place}/`)),
    )
    .flatMap(({ pattern, why }) => {
      const match = pattern.exec(text);
      if (match === null) return [];
      const line = text.slice(0, match.index).split('\n').length;
      return [`${path}:${line} ${match[0].trim()} (${why})`];
    });
}
