/** Gaps, tallies and quantiles on hand-made numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestGap, quantile, tally, unevenness } from '../../lab/gaps.ts';

const cases = [
  { name: 'between two successes', at: [0, 5, 105, 110], window: [0, 110], want: [100, 5] },
  { name: 'before the first', at: [50, 55], window: [0, 55], want: [50, 0] },
  { name: 'after the last', at: [5], window: [0, 100], want: [95, 5] },
  { name: 'without any success', at: [], window: [10, 60], want: [50, 10] },
  { name: 'in any order', at: [110, 0, 105, 5], window: [0, 110], want: [100, 5] },
  { name: 'inside the window only', at: [0, 500, 505, 520], window: [500, 520], want: [15, 505] },
] as const;

for (const { name, at, window, want } of cases) {
  test(`longestGap() finds the gap ${name}`, () => {
    const gap = longestGap(at, { from: window[0], to: window[1] });
    assert.deepEqual([gap.lengthMs, gap.at], want);
  });
}

test('tally() counts each name', () => {
  assert.deepEqual(
    [...tally(['a', 'b', 'a'])],
    [
      ['a', 2],
      ['b', 1],
    ],
  );
});

test('unevenness() is the distance of the extremes as a share of the mean', () => {
  assert.equal(unevenness([100, 100, 100]), 0);
  assert.equal(unevenness([95, 100, 105]), 0.1);
  assert.equal(unevenness([]), 0);
});

test('quantile() takes the nearest rank', () => {
  assert.equal(quantile([5, 1, 3], 0.5), 3);
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4);
  assert.equal(quantile([7], 1), 7);
  assert.ok(Number.isNaN(quantile([], 0.5)));
});
