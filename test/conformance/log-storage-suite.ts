/** What every LogStorage must do, whatever it stores on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogStorage } from '../../src/cluster/ports.ts';
import { type Entry, emptyConfig, type HardState, type Snapshot } from '../../src/raft/types.ts';

export interface StorageLab {
  /** Opens the one log of this lab, made from {@link firstSnapshot}. */
  open(): Promise<LogStorage>;
  /** Closes `storage` as its process ends, and opens the log again. */
  reopen(storage: LogStorage): Promise<LogStorage>;
  dispose(): Promise<void>;
}

export const firstSnapshot: Snapshot = {
  meta: { index: 1, term: 1, config: { ...emptyConfig, voters: ['a'] } },
  data: Uint8Array.of(1, 2, 3),
};

const hard = (term: number, commit: number): HardState => ({
  term,
  vote: 'a',
  commit,
  promiseMaxMs: 400,
});

/** Entries of the given terms from `first` on, each with its index as data. */
export function entries(first: number, ...terms: number[]): Entry[] {
  return terms.map((term, at) => ({
    index: first + at,
    term,
    type: at % 2 === 0 ? 'normal' : 'conf-change',
    data: Uint8Array.of(first + at, term),
  }));
}

function all(storage: LogStorage): Entry[] {
  return storage.entries(storage.firstIndex(), storage.lastIndex() + 1, 1 << 20);
}

type Check = (what: string, body: (lab: StorageLab, log: LogStorage) => Promise<void>) => void;

/** Runs the suite; `makeLab` gives a fresh one to each test. */
export function testLogStorage(name: string, makeLab: () => Promise<StorageLab>): void {
  const check: Check = (what, body) => {
    void test(`${name} ${what}`, async () => {
      const lab = await makeLab();
      try {
        await body(lab, await lab.open());
      } finally {
        await lab.dispose();
      }
    });
  };
  testReads(check);
  testAppends(check);
  testSnapshots(check);
}

function testReads(check: Check): void {
  check('begins behind its first snapshot', async (_lab, log) => {
    assert.equal(log.firstIndex(), 2);
    assert.equal(log.lastIndex(), 1);
    assert.equal(log.term(1), 1);
    assert.equal(log.term(2), undefined);
    assert.deepEqual(log.snapshot(), firstSnapshot);
    assert.deepEqual(log.initialState().config.voters, ['a']);
    assert.equal(log.initialState().hard.commit, 1);
  });

  check('cuts a read to its bytes, but never to nothing', async (_lab, log) => {
    await log.append({ entries: entries(2, 1, 1, 1) }, true);

    assert.equal(log.entries(2, 5, 4).length, 2);
    assert.equal(log.entries(2, 5, 0).length, 1);
    assert.equal(log.entries(2, 4, 1000).length, 2);
  });

  check('answers reads from the call on', async (_lab, log) => {
    const durable = log.append({ entries: entries(2, 1, 1) }, true);

    assert.equal(log.lastIndex(), 3);
    await durable;
  });
}

function testAppends(check: Check): void {
  check('keeps what was synced over a restart', async (lab, log) => {
    await log.append({ hard: hard(2, 1), entries: entries(2, 1, 2, 2) }, true);

    const again = await lab.reopen(log);

    assert.deepEqual(again.initialState().hard, hard(2, 1));
    assert.deepEqual(all(again), entries(2, 1, 2, 2));
    assert.equal(again.term(4), 2);
  });

  check('replaces a conflicting suffix, also on disk', async (lab, log) => {
    await log.append({ hard: hard(1, 1), entries: entries(2, 1, 1, 1, 1) }, true);
    await log.append({ hard: hard(3, 1), entries: entries(3, 3) }, true);
    assert.deepEqual(all(log), [...entries(2, 1), ...entries(3, 3)]);

    const again = await lab.reopen(log);

    assert.deepEqual(all(again), [...entries(2, 1), ...entries(3, 3)]);
  });

  check('resolves appends that overlap in the order of the calls', async (lab, log) => {
    const order: number[] = [];
    const writes = [2, 3, 4, 5, 6].map((index) =>
      log
        .append({ hard: hard(1, 1), entries: entries(index, 1) }, index % 2 === 0)
        .then(() => order.push(index)),
    );
    await Promise.all(writes);

    assert.deepEqual(order, [2, 3, 4, 5, 6]);
    assert.equal((await lab.reopen(log)).lastIndex(), 6);
  });
}

function testSnapshots(check: Check): void {
  check('a received snapshot replaces the whole log', async (lab, log) => {
    await log.append({ hard: hard(1, 1), entries: entries(2, 1, 1, 1) }, true);
    const meta = { index: 9, term: 2, config: { ...emptyConfig, voters: ['a', 'b'] } };
    const snapshot = { meta, data: Uint8Array.of(9) };
    await log.append({ hard: hard(2, 9), snapshot, entries: entries(10, 2) }, true);

    const again = await lab.reopen(log);

    assert.deepEqual(again.snapshot(), snapshot);
    assert.deepEqual(all(again), entries(10, 2));
    assert.deepEqual(again.initialState().config.voters, ['a', 'b']);
  });

  check('compaction drops the log up to the snapshot and keeps what follows', async (lab, log) => {
    await log.append({ hard: hard(2, 4), entries: entries(2, 1, 1, 2, 2) }, true);
    const meta = { index: 3, term: 1, config: firstSnapshot.meta.config };
    await log.compact({ meta, data: Uint8Array.of(3) });
    assert.equal(log.firstIndex(), 4);
    assert.equal(log.term(3), 1);
    assert.equal(log.term(2), undefined);

    const again = await lab.reopen(log);

    assert.deepEqual(again.snapshot().meta, meta);
    assert.deepEqual(
      all(again).map((entry) => entry.index),
      [4, 5],
    );
  });

  check('compaction to where the log was cut already does nothing', async (_lab, log) => {
    await log.compact(firstSnapshot);

    assert.equal(log.firstIndex(), 2);
  });
}
