/** The log and its unstable end, as tables. A log is written as its terms from index 1 on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from '../../src/base/assert.ts';
import { entryBytes, isValidSlice, RaftLog } from '../../src/raft/log.ts';
import { type Entry, emptyConfig, type Snapshot, type Term } from '../../src/raft/types.ts';
import { Unstable } from '../../src/raft/unstable.ts';
import { entriesOf, MemoryLog } from './storage.ts';

const noData = new Uint8Array(0);

/** A log whose stable part has these terms from index 1 on. */
function stable(...terms: readonly Term[]): RaftLog {
  const disk = new MemoryLog();
  disk.write({ entries: entriesOf(1, ...terms) });
  return new RaftLog(disk, 0);
}

/** A log whose part beyond `on disk` is unstable. */
function log(onDisk: readonly Term[], unstable: readonly Term[] = []): RaftLog {
  const result = stable(...onDisk);
  result.append(entriesOf(onDisk.length + 1, ...unstable));
  return result;
}

function termsOf(entries: readonly Entry[]): number[] {
  return entries.map((entry) => entry.term);
}

function all(raftLog: RaftLog): number[] {
  return termsOf(raftLog.entriesFrom(raftLog.firstIndex(), Number.POSITIVE_INFINITY));
}

function snapshotAt(index: number, term: Term): Snapshot {
  return { meta: { index, term, config: emptyConfig }, data: noData };
}

test('findConflict() names the first entry that is missing or differs', () => {
  const rows: readonly [number, readonly Term[], number][] = [
    [1, [], 0],
    [1, [1, 2, 3], 0],
    [2, [2, 3], 0],
    [3, [3], 0],
    [1, [1, 2, 3, 4, 4], 4],
    [2, [2, 3, 4, 4], 4],
    [3, [3, 4, 4], 4],
    [4, [4, 4], 4],
    [1, [4, 4], 1],
    [2, [1, 4, 4], 2],
    [3, [1, 2, 4, 4], 3],
  ];
  for (const [first, terms, want] of rows) {
    assert.equal(
      log([1, 2, 3]).findConflict(entriesOf(first, ...terms)),
      want,
      `${first} ${terms}`,
    );
  }
});

test('findConflictByTerm() finds where a log with that term may still meet this one', () => {
  const rows: readonly [readonly Term[], number, Term, number, Term][] = [
    [[2, 2, 5, 5, 5], 5, 6, 5, 5],
    [[2, 2, 5, 5, 5], 5, 5, 5, 5],
    [[2, 2, 5, 5, 5], 5, 4, 2, 2],
    [[2, 2, 5, 5, 5], 5, 2, 2, 2],
    [[2, 2, 5, 5, 5], 5, 1, 0, 0],
    [[2, 2, 5, 5, 5], 4, 5, 4, 5],
    [[2, 2, 5, 5, 5], 3, 3, 2, 2],
    [[2, 2, 5, 5, 5], 1, 2, 1, 2],
    [[2, 2, 5, 5, 5], 0, 1, 0, 0],
    [[2, 2, 5, 5, 5], 9, 3, 9, 0],
    [[1, 1, 1], 3, 1, 3, 1],
    [[1, 1, 1], 3, 9, 3, 1],
    [[4, 4, 4], 3, 3, 0, 0],
  ];
  for (const [terms, index, term, wantIndex, wantTerm] of rows) {
    const got = log(terms).findConflictByTerm(index, term);
    assert.deepEqual(got, { index: wantIndex, term: wantTerm }, `${terms} ${index}/${term}`);
  }
});

test('findConflictByTerm() stops at the compacted part as a possible match of unknown term', () => {
  const disk = new MemoryLog();
  disk.write({ entries: entriesOf(1, 2, 2, 4, 4) });
  disk.compact(3, emptyConfig);
  const got = new RaftLog(disk, 3);
  assert.deepEqual(got.findConflictByTerm(4, 3), { index: 2, term: 0 });
  assert.deepEqual(got.findConflictByTerm(4, 4), { index: 4, term: 4 });
});

test('isUpToDate() compares last terms first, then lengths', () => {
  const rows: readonly [Term, number, boolean][] = [
    [4, 2, true],
    [4, 3, true],
    [4, 4, true],
    [2, 2, false],
    [2, 3, false],
    [2, 4, false],
    [3, 2, false],
    [3, 3, true],
    [3, 4, true],
  ];
  for (const [term, index, want] of rows) {
    assert.equal(log([1, 2, 3]).isUpToDate({ term, index }), want, `${term}/${index}`);
  }
});

test('append() replaces from the first new index on, whether that was on disk or not', () => {
  const rows: readonly [number, readonly Term[], readonly Term[], number][] = [
    [3, [], [1, 2], 3],
    [3, [2], [1, 2, 2], 3],
    [1, [2], [2], 1],
    [2, [3, 3], [1, 3, 3], 2],
  ];
  for (const [first, terms, want, offset] of rows) {
    const got = log([1, 2]);
    got.append(entriesOf(first, ...terms));
    assert.deepEqual(all(got), want);
    assert.equal(got.unstable.offset, offset);
  }
});

test('append() never touches a committed entry', () => {
  const got = log([1, 2]);
  got.commitTo(2);
  assert.throws(() => got.append(entriesOf(2, 3)), InvariantViolation);
});

interface AppendRow {
  readonly prev: readonly [Term, number];
  readonly terms: readonly Term[];
  readonly commit: number;
  readonly want: number | undefined;
  readonly wantCommit: number;
  readonly wantLog: readonly Term[];
}

test('maybeAppend() takes what meets this log and commits only what the message proves', () => {
  const rows: readonly AppendRow[] = [
    { prev: [2, 3], terms: [4], commit: 3, want: undefined, wantCommit: 1, wantLog: [1, 2, 3] },
    { prev: [3, 4], terms: [4], commit: 3, want: undefined, wantCommit: 1, wantLog: [1, 2, 3] },
    { prev: [3, 3], terms: [], commit: 3, want: 3, wantCommit: 3, wantLog: [1, 2, 3] },
    { prev: [3, 3], terms: [], commit: 4, want: 3, wantCommit: 3, wantLog: [1, 2, 3] },
    { prev: [3, 3], terms: [], commit: 2, want: 3, wantCommit: 2, wantLog: [1, 2, 3] },
    { prev: [3, 3], terms: [], commit: 0, want: 3, wantCommit: 1, wantLog: [1, 2, 3] },
    { prev: [0, 0], terms: [], commit: 3, want: 0, wantCommit: 1, wantLog: [1, 2, 3] },
    { prev: [3, 3], terms: [4], commit: 3, want: 4, wantCommit: 3, wantLog: [1, 2, 3, 4] },
    { prev: [3, 3], terms: [4], commit: 4, want: 4, wantCommit: 4, wantLog: [1, 2, 3, 4] },
    { prev: [3, 3], terms: [4], commit: 5, want: 4, wantCommit: 4, wantLog: [1, 2, 3, 4] },
    { prev: [3, 3], terms: [4, 4], commit: 4, want: 5, wantCommit: 4, wantLog: [1, 2, 3, 4, 4] },
    { prev: [2, 2], terms: [4], commit: 3, want: 3, wantCommit: 3, wantLog: [1, 2, 4] },
    { prev: [1, 1], terms: [4], commit: 3, want: 2, wantCommit: 2, wantLog: [1, 4] },
    { prev: [1, 1], terms: [2], commit: 3, want: 2, wantCommit: 2, wantLog: [1, 2, 3] },
    { prev: [1, 1], terms: [4, 4], commit: 3, want: 3, wantCommit: 3, wantLog: [1, 4, 4] },
  ];
  for (const { prev, terms, commit, want, wantCommit, wantLog } of rows) {
    const got = log([1, 2, 3]);
    got.commitTo(1);
    const [term, index] = prev;
    const slice = { prev: { term, index }, entries: entriesOf(index + 1, ...terms) };
    const name = `${term}/${index} + ${terms} commit ${commit}`;
    assert.equal(got.maybeAppend(slice, commit), want, name);
    assert.equal(got.committed, wantCommit, name);
    assert.deepEqual(all(got), wantLog, name);
  }
});

test('a leader that contradicts a committed entry is a broken invariant', () => {
  const got = log([1, 2, 3]);
  got.commitTo(2);
  const slice = { prev: { term: 1, index: 1 }, entries: entriesOf(2, 4) };
  assert.throws(() => got.maybeAppend(slice, 2), InvariantViolation);
});

test('maybeAppend() keeps a matching suffix that a late, shorter append does not mention', () => {
  const got = log([1, 1, 1, 1]);
  got.maybeAppend({ prev: { term: 1, index: 1 }, entries: entriesOf(2, 1) }, 0);
  assert.deepEqual(all(got), [1, 1, 1, 1]);
});

test('isValidSlice() wants indices without a gap and terms that never fall', () => {
  const rows: readonly [Term, number, readonly Entry[], boolean][] = [
    [0, 0, [], true],
    [5, 10, [], true],
    [0, 0, entriesOf(1, 1, 1, 2), true],
    [5, 10, entriesOf(11, 5, 5, 6), true],
    [5, 10, entriesOf(12, 5), false],
    [5, 10, entriesOf(10, 5), false],
    [5, 10, entriesOf(11, 4), false],
    [5, 10, entriesOf(11, 6, 5), false],
    [5, 10, [...entriesOf(11, 5), ...entriesOf(13, 5)], false],
    [5, 10, [...entriesOf(11, 5), ...entriesOf(11, 5)], false],
  ];
  for (const [term, index, entries, want] of rows) {
    assert.equal(isValidSlice({ prev: { term, index }, entries }), want, JSON.stringify(entries));
  }
});

test('maybeCommit() commits only an entry that the log holds with that very term', () => {
  const rows: readonly [number, Term, boolean][] = [
    [3, 3, true],
    [3, 2, false],
    [2, 3, false],
    [4, 3, false],
    [2, 2, true],
    [1, 1, false],
    [0, 0, false],
  ];
  for (const [index, term, want] of rows) {
    const got = log([1, 2, 3]);
    got.commitTo(1);
    assert.equal(got.maybeCommit({ index, term }), want, `${index}/${term}`);
    assert.equal(got.committed, want ? index : 1);
  }
});

test('commitTo() never falls and never passes the end', () => {
  const got = log([1, 2, 3]);
  got.commitTo(3);
  got.commitTo(1);
  assert.equal(got.committed, 3);
  assert.throws(() => got.commitTo(4), InvariantViolation);
});

test('nextCommitted() gives out only what is committed and durable, in pages, once', () => {
  const got = log([1, 1], [1, 1]);
  got.commitTo(4);
  assert.deepEqual(
    got.nextCommitted(1_000).map((entry) => entry.index),
    [1, 2],
  );
  got.handOutTo(2);
  assert.equal(got.hasNextCommitted, false);
  got.unstable.acceptInProgress();
  got.unstable.stableTo({ index: 3, term: 1 });
  got.unstable.stableTo({ index: 3, term: 1 });
  assert.equal(got.hasNextCommitted, true);
});

test('a log behind a snapshot starts committed and handed out up to it', () => {
  const disk = MemoryLog.withTerms({ voters: ['a'] }, 1, 1);
  const got = new RaftLog(disk, 2);
  assert.deepEqual([got.firstIndex(), got.lastIndex(), got.committed, got.handed], [2, 3, 2, 1]);
  assert.equal(got.term(1), 1);
  assert.equal(got.term(0), undefined);
  assert.equal(got.term(4), undefined);
});

test('slice() crosses from disk to memory and is cut by size, but never to nothing', () => {
  const got = log([1, 2, 3], [4, 5]);
  const one = entryBytes(entriesOf(1, 1)[0] ?? assert.fail());
  const rows: readonly [number, number, number, readonly Term[]][] = [
    [1, 6, Number.POSITIVE_INFINITY, [1, 2, 3, 4, 5]],
    [2, 5, Number.POSITIVE_INFINITY, [2, 3, 4]],
    [4, 6, Number.POSITIVE_INFINITY, [4, 5]],
    [1, 4, Number.POSITIVE_INFINITY, [1, 2, 3]],
    [3, 3, Number.POSITIVE_INFINITY, []],
    [1, 6, 0, [1]],
    [4, 6, 0, [4]],
    [1, 6, one, [1]],
    [1, 6, 2 * one, [1, 2]],
    [1, 6, 3 * one, [1, 2, 3]],
    [1, 6, 4 * one - 1, [1, 2, 3]],
    [1, 6, 4 * one, [1, 2, 3, 4]],
    [3, 6, 2 * one, [3, 4]],
    [5, 6, 9 * one, [5]],
  ];
  for (const [low, high, size, want] of rows) {
    assert.deepEqual(termsOf(got.slice(low, high, size)), want, `${low} ${high} ${size}`);
  }
  assert.throws(() => got.slice(1, 7, 100), InvariantViolation);
});

test('restore() replaces the log by a snapshot, which must not take it back', () => {
  const got = log([1, 2], [2]);
  got.restore(snapshotAt(9, 4));
  assert.deepEqual(
    [got.firstIndex(), got.lastIndex(), got.lastTerm(), got.committed],
    [10, 9, 4, 9],
  );
  assert.equal(got.hasNextCommitted, false);
  assert.throws(() => got.restore(snapshotAt(9, 4)), InvariantViolation);
});

test('a stored commit index beyond the stored log is not believed', () => {
  const disk = MemoryLog.withTerms({ voters: ['a'] }, 1);
  assert.throws(() => new RaftLog(disk, 3), InvariantViolation);
});

// The unstable end.

function unstable(offset: number, ...terms: readonly Term[]): Unstable {
  const result = new Unstable(offset);
  result.truncateAndAppend(entriesOf(offset, ...terms));
  return result;
}

test('truncateAndAppend() appends, replaces the tail or replaces all', () => {
  const rows: readonly [readonly Term[], number, readonly Term[], number, readonly Term[]][] = [
    [[1], 6, [1, 1], 5, [1, 1, 1]],
    [[1], 5, [2, 2], 5, [2, 2]],
    [[1], 4, [2, 2, 2], 4, [2, 2, 2]],
    [[1, 1, 1], 6, [2], 5, [1, 2]],
    [[1, 1, 1], 7, [2, 2], 5, [1, 1, 2, 2]],
    [[1, 1, 1], 3, [2], 3, [2]],
    [[1, 1], 7, [], 5, [1, 1]],
  ];
  for (const [before, first, terms, offset, want] of rows) {
    const got = unstable(5, ...before);
    got.truncateAndAppend(entriesOf(first, ...terms));
    assert.equal(got.offset, offset);
    assert.deepEqual(termsOf(got.nextEntries()), want);
  }
  assert.throws(() => unstable(5, 1).truncateAndAppend(entriesOf(7, 1)), InvariantViolation);
});

test('truncateAndAppend() takes back what the disk was given from there on', () => {
  const got = unstable(5, 1, 1, 1);
  got.acceptInProgress();
  assert.equal(got.hasNext, false);
  got.truncateAndAppend(entriesOf(6, 2));
  assert.deepEqual(
    got.nextEntries().map((entry) => entry.index),
    [6],
  );
  got.acceptInProgress();
  got.truncateAndAppend(entriesOf(7, 2));
  assert.deepEqual(
    got.nextEntries().map((entry) => entry.index),
    [7],
  );
});

test('stableTo() forgets only what the disk holds with that very term', () => {
  const rows: readonly [number, Term, number, number][] = [
    [5, 1, 6, 2],
    [6, 1, 7, 1],
    [7, 2, 8, 0],
    [6, 2, 5, 3],
    [7, 1, 5, 3],
    [4, 1, 5, 3],
    [8, 2, 5, 3],
  ];
  for (const [index, term, offset, length] of rows) {
    const got = unstable(5, 1, 1, 2);
    got.acceptInProgress();
    got.stableTo({ index, term });
    assert.deepEqual([got.offset, got.length], [offset, length], `${index}/${term}`);
    assert.ok(got.offsetInProgress >= got.offset);
  }
});

test('a pending snapshot is known by its last position until the disk holds that very one', () => {
  const got = unstable(5, 1);
  got.restore(snapshotAt(9, 3));
  assert.equal(got.lastIndex(), 9);
  assert.equal(got.term(9), 3);
  assert.equal(got.term(8), undefined);
  assert.ok(got.nextSnapshot());
  got.acceptInProgress();
  assert.equal(got.nextSnapshot(), null);
  got.stableSnapshotTo(8);
  assert.ok(got.snapshot);
  got.stableTo({ index: 9, term: 3 });
  assert.equal(got.offset, 10);
  got.stableSnapshotTo(9);
  assert.equal(got.isEmpty, true);
});

test('a newer snapshot is not mistaken for the one that the disk has just written', () => {
  const got = new Unstable(1);
  got.restore(snapshotAt(9, 3));
  got.acceptInProgress();
  got.restore(snapshotAt(12, 4));
  got.stableSnapshotTo(9);
  assert.equal(got.nextSnapshot()?.meta.index, 12);
});
