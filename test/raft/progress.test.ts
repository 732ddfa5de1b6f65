/** What a leader knows of one member: windows and the three ways of sending, as tables. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from '../../src/base/assert.ts';
import { Inflights } from '../../src/raft/inflights.ts';
import { Progress, type ProgressState } from '../../src/raft/progress.ts';

const limits = { maxInflightMessages: 3, maxInflightBytes: 0 };

/** A member in `state` whose log matches up to `match` and gets `next` next. */
function progress(state: ProgressState, match: number, next: number): Progress {
  const got = new Progress('b', false, match, next, limits);
  if (state === 'snapshot') got.becomeSnapshot(next - 1);
  if (state !== 'replicate') return got;
  got.becomeReplicate();
  if (next > match + 1) got.sentEntries(next - match - 1, 1);
  return got;
}

test('a window frees from its oldest message and wraps around', () => {
  const window = new Inflights(4, 0);
  for (let round = 0; round < 5; round++) {
    for (let i = 1; i <= 4; i++) window.add(round * 4 + i, 10);
    assert.equal(window.full, true);
    assert.throws(() => window.add(99, 1), InvariantViolation);
    window.freeThrough(round * 4 + 2);
    assert.deepEqual([window.count, window.bytes, window.full], [2, 20, false]);
    window.freeThrough(round * 4 + 1);
    assert.equal(window.count, 2);
    window.freeThrough(round * 4 + 4);
    assert.deepEqual([window.count, window.bytes], [0, 0]);
  }
});

test('a window keeps its order when it grows while wrapped', () => {
  const window = new Inflights(100, 0);
  for (let i = 1; i <= 4; i++) window.add(i, 1);
  window.freeThrough(3);
  for (let i = 5; i <= 12; i++) window.add(i, 1);
  assert.equal(window.count, 9);
  window.freeThrough(6);
  assert.equal(window.count, 6);
  window.freeThrough(12);
  assert.equal(window.count, 0);
});

test('a window is full by bytes once they are reached, and one message may cross the limit', () => {
  const rows: readonly [readonly number[], boolean][] = [
    [[], false],
    [[99], false],
    [[100], true],
    [[1_000], true],
    [[60, 39], false],
    [[60, 39, 1], true],
  ];
  for (const [sizes, want] of rows) {
    const window = new Inflights(10, 100);
    for (const [i, size] of sizes.entries()) window.add(i + 1, size);
    assert.equal(window.full, want, `${sizes}`);
  }
  const emptied = new Inflights(10, 100);
  emptied.add(1, 100);
  emptied.reset();
  assert.deepEqual([emptied.full, emptied.bytes], [false, 0]);
});

test('isPaused: a probe after its one message, a pipeline when full, a snapshot always', () => {
  const rows: readonly [ProgressState, (got: Progress) => void, boolean][] = [
    ['probe', () => undefined, false],
    ['probe', (got) => got.sentEntries(1, 1), true],
    ['probe', (got) => got.sentEntries(0, 0), true],
    ['replicate', () => undefined, false],
    ['replicate', (got) => got.sentEntries(1, 1), false],
    ['replicate', (got) => [1, 2, 3].map(() => got.sentEntries(1, 1)), true],
    ['snapshot', () => undefined, true],
    ['snapshot', (got) => got.resumeFlow(), true],
  ];
  for (const [state, act, want] of rows) {
    const got = progress(state, 0, 1);
    act(got);
    assert.equal(got.isPaused, want, state);
  }
});

test('a full window lets one message through after each echo', () => {
  const got = progress('replicate', 0, 1);
  for (let i = 0; i < 3; i++) got.sentEntries(1, 1);
  assert.equal(got.isPaused, true);
  got.resumeFlow();
  assert.equal(got.isPaused, false);
  got.sentEntries(0, 0);
  assert.equal(got.isPaused, true);
});

test('maybeUpdate() takes news only, and moves next along', () => {
  const rows: readonly [number, boolean, number, number][] = [
    [2, false, 3, 5],
    [3, false, 3, 5],
    [4, true, 4, 5],
    [5, true, 5, 6],
    [9, true, 9, 10],
  ];
  for (const [index, want, match, next] of rows) {
    const got = new Progress('b', false, 3, 5, limits);
    assert.equal(got.maybeUpdate(index), want);
    assert.deepEqual([got.match, got.next], [match, next]);
  }
});

test('maybeDecrease() believes only the answer to what is under way', () => {
  const rows: readonly [ProgressState, number, number, number, number, boolean, number][] = [
    ['replicate', 5, 10, 5, 5, false, 10],
    ['replicate', 5, 10, 4, 4, false, 10],
    ['replicate', 5, 10, 9, 9, true, 6],
    ['probe', 0, 10, 8, 8, false, 10],
    ['probe', 0, 10, 5, 5, false, 10],
    ['probe', 0, 10, 9, 9, true, 9],
    ['probe', 0, 2, 1, 1, true, 1],
    ['probe', 0, 1, 0, 0, true, 1],
    ['probe', 0, 10, 9, 2, true, 3],
    ['probe', 0, 10, 9, 0, true, 1],
    ['probe', 4, 10, 9, 1, true, 5],
  ];
  for (const [state, match, next, rejected, hint, want, wantNext] of rows) {
    const got = new Progress('b', false, match, next, { ...limits, maxInflightMessages: 99 });
    if (state === 'replicate') {
      got.becomeReplicate();
      got.sentEntries(next - match - 1, 1);
    }
    assert.equal(got.maybeDecrease(rejected, hint), want, `${state} ${rejected} ${hint}`);
    assert.equal(got.next, wantNext, `${state} ${rejected} ${hint}`);
  }
});

test('becoming a probe starts after what matches, or after the snapshot that was sent', () => {
  const replicating = progress('replicate', 1, 4);
  replicating.becomeProbe();
  assert.deepEqual([replicating.state, replicating.match, replicating.next], ['probe', 1, 2]);
  assert.equal(replicating.inflights.count, 0);

  const installing = progress('snapshot', 1, 11);
  installing.becomeProbe();
  assert.deepEqual([installing.state, installing.next], ['probe', 11]);

  const overtaken = progress('snapshot', 1, 11);
  overtaken.maybeUpdate(20);
  overtaken.becomeProbe();
  assert.equal(overtaken.next, 21);

  const failed = progress('snapshot', 1, 11);
  failed.snapshotFailed();
  assert.deepEqual([failed.state, failed.next], ['probe', 2]);
});

test('becoming a replicator or a snapshot forgets what was in flight', () => {
  const got = progress('replicate', 1, 4);
  got.becomeSnapshot(9);
  assert.deepEqual([got.state, got.next, got.pendingSnapshot], ['snapshot', 10, 9]);
  got.maybeUpdate(9);
  got.becomeReplicate();
  assert.deepEqual([got.state, got.next, got.pendingSnapshot], ['replicate', 10, 0]);
  assert.equal(got.isPaused, false);
});

test('canBumpCommit() is true only for a commit index that is news within what was sent', () => {
  const got = progress('replicate', 3, 6);
  assert.equal(got.canBumpCommit(0), false);
  assert.equal(got.canBumpCommit(2), true);
  got.sentCommit(2);
  assert.equal(got.canBumpCommit(2), false);
  assert.equal(got.canBumpCommit(4), true);
  got.sentCommit(5);
  assert.equal(got.canBumpCommit(9), false);
});
