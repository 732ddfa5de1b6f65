/** The reader of our own text sees what it is meant to see: a blind rule is no rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blankComments, importsOf, longFunctions, type SourceFile } from '../../tidy/source.ts';

function file(code: string): SourceFile {
  return { path: 'src/x/y.ts', text: code, lines: code.split('\n'), code, imports: [] };
}

test('importsOf() tells types, values and lazy loads apart, with lines and files', () => {
  // In one word it would be an import of this file's own.
  const load = 'import';
  const code = [
    "import { a } from 'node:fs';",
    "import type { B } from '../base/b.ts';",
    "import { type C, type D } from './c.ts';",
    'import {',
    '  type E,',
    '  f,',
    "} from './e.ts';",
    "import 'reflect-metadata';",
    "export { g } from './g.ts';",
    `const lazy = () => ${load}('../z/h.ts');`,
    `type I = typeof ${load}('./i.ts');`,
  ].join('\n');

  const found = importsOf('src/x/y.ts', code)
    .map(({ line, specifier, file, typeOnly, lazy }) => [
      ...[line, file ?? specifier, typeOnly, lazy],
    ])
    .sort(([a], [b]) => Number(a) - Number(b));

  assert.deepEqual(found, [
    [1, 'node:fs', false, false],
    [2, 'src/base/b.ts', true, false],
    [3, 'src/x/c.ts', true, false],
    [4, 'src/x/e.ts', false, false],
    [8, 'reflect-metadata', false, false],
    [9, 'src/x/g.ts', false, false],
    [10, 'src/z/h.ts', false, true],
    [11, 'src/x/i.ts', true, true],
  ]);
});

test('blankComments() keeps strings that look like comments, and every line', () => {
  const code = "const a = '// no'; // Date.now(\n/* await\n */ const b = `/*a*/`;\n";

  const blank = blankComments(code);

  assert.equal(blank.split('\n').length, code.split('\n').length);
  assert.ok(!blank.includes('Date.now') && !blank.includes('await'));
  assert.ok(blank.includes("'// no'") && blank.includes('`/*a*/`'));
});

const body = (lines: number, indent = '  ') =>
  Array.from({ length: lines }, (_, i) => `${indent}use(${i});`).join('\n');

const functions: readonly [what: string, code: string, name: string][] = [
  ['a function', `export async function one() {\n${body(9)}\n}`, 'one'],
  [
    'a function whose parameters fill lines',
    `function two(\n  a: number,\n): Promise<void> {\n${body(9)}\n}`,
    'two',
  ],
  ['an arrow', `const three = (a: number) => {\n${body(9)}\n};`, 'three'],
  ['a method', `class X {\n  four(): void {\n${body(9, '    ')}\n  }\n}`, 'four'],
  ['a private method', `class X {\n  async #five(a: A) {\n${body(9, '    ')}\n  }\n}`, '#five'],
];

for (const [what, code, name] of functions) {
  test(`longFunctions() measures ${what}`, () => {
    assert.deepEqual(
      longFunctions(file(code), 10).map((found) => found.name),
      [name],
    );
    assert.deepEqual(longFunctions(file(code), 13), []);
  });
}

test('longFunctions() leaves long classes, tables and loops to other rules', () => {
  const code = [
    `class X {\n${body(20)}\n}`,
    `const table = {\n${body(20)}\n};`,
    `if (a) {\n${body(20)}\n} else if (f(b)) {\n${body(20)}\n}`,
    `for (const a of b()) {\n${body(20)}\n}`,
  ].join('\n');

  assert.deepEqual(longFunctions(file(code), 10), []);
});
