/** Columns, spans and times as people read them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, shortTime, span, table } from '../../../src/cli/table.ts';

test('table() aligns columns, shows empty cells as dashes and leaves no space at line ends', () => {
  const text = table(
    ['member', 'role', 'why'],
    [
      ['n1', 'voter', ''],
      ['node-10', 'learner', 'größer'],
    ],
  );

  assert.equal(
    text,
    ['MEMBER   ROLE     WHY', 'n1       voter    -', 'node-10  learner  größer', ''].join('\n'),
  );
});

test('table() prints its header even without rows', () => {
  assert.equal(table(['a', 'b'], []), 'A  B\n');
});

const spans: readonly [ms: number, text: string][] = [
  [-5, '0ms'],
  [0, '0ms'],
  [12.4, '12ms'],
  [999, '999ms'],
  [1000, '1s'],
  [61_000, '1m 1s'],
  [3_600_000, '1h'],
  [3_661_000, '1h 1m'],
  [90_061_000, '1d 1h'],
  [86_400_000 * 364, '364d'],
];

for (const [ms, text] of spans) {
  test(`span() says ${ms} ms as ${text}`, () => assert.equal(span(ms), text));
}

test('shortTime() drops what nobody reads, and leaves strange text alone', () => {
  assert.equal(shortTime('2026-01-02T03:04:05.678Z'), '2026-01-02 03:04:05Z');
  assert.equal(shortTime('soon'), 'soon');
});

test('count() knows one from many', () => {
  assert.equal(count(1, 'member'), '1 member');
  assert.equal(count(0, 'member'), '0 members');
});
