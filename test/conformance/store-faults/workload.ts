/**
 * What a node writes in its life, drawn from a seed: elections, appends, conflicts, commits,
 * compactions, received snapshots. Each operation is a function of the seed, its number and the log
 * as it is then, so that whoever knows how many were done knows what the log must hold.
 */

import { intBetween, type Prng, prng } from '../../../src/base/prng.ts';
import type { LogBatch, LogStorage } from '../../../src/cluster/ports.ts';
import type { Entry, Index, LogReader, Snapshot, Term } from '../../../src/raft/types.ts';
import { crc32c } from '../../../src/storage/crc32c.ts';
import { LogImage } from '../../../src/storage/log-image.ts';
import { firstSnapshot } from '../log-storage-suite.ts';

export type Operation =
  | { readonly type: 'append'; readonly batch: LogBatch; readonly sync: boolean }
  | { readonly type: 'compact'; readonly snapshot: Snapshot };

export interface Workload {
  readonly seed: number;
  /** Payload of the large entries: a few of them make LevelDB begin its next journal. */
  readonly largeBytes: number;
}

/** The operation with this number, for a log that holds all before it. */
export function operationAt(workload: Workload, step: number, log: LogReader): Operation {
  const random = prng(workload.seed * 1_000_003 + step);
  const { hard } = log.initialState();
  const last = log.lastIndex();
  const draw = random();
  if (draw < 0.15) {
    const vote = `node-${intBetween(random, 1, 5)}`;
    const promiseMaxMs = hard.promiseMaxMs + intBetween(random, 0, 1);
    const batch = { hard: { ...hard, term: hard.term + 1, vote, promiseMaxMs }, entries: [] };
    return { type: 'append', batch, sync: true };
  }
  if (draw < 0.3 && last > hard.commit) {
    const commit = intBetween(random, hard.commit + 1, last);
    return { type: 'append', batch: { hard: { ...hard, commit }, entries: [] }, sync: false };
  }
  if (draw < 0.4 && hard.commit >= log.firstIndex()) {
    const index = intBetween(random, log.firstIndex(), hard.commit);
    return { type: 'compact', snapshot: snapshotAt(log, index, log.term(index) ?? 0) };
  }
  const term = hard.term + 1;
  if (draw < 0.44) {
    const snapshot = snapshotAt(log, last + 10, term);
    const batch = { hard: { ...hard, term, vote: null, commit: last + 10 }, snapshot, entries: [] };
    return { type: 'append', batch, sync: true };
  }
  // One in four replaces what was not yet committed, as a new leader would have it.
  const first = draw < 0.6 ? intBetween(random, hard.commit + 1, last + 1) : last + 1;
  const entries = entriesFrom(random, first, term, workload.largeBytes);
  return { type: 'append', batch: { hard: { ...hard, term, vote: null }, entries }, sync: true };
}

function snapshotAt(log: LogReader, index: Index, term: Term): Snapshot {
  const { config } = log.initialState();
  return { meta: { index, term, config }, data: new Uint8Array(100).fill(index % 251) };
}

function entriesFrom(random: Prng, first: Index, term: Term, largeBytes: number): Entry[] {
  return Array.from({ length: intBetween(random, 1, 4) }, (_, at) => {
    const bytes = random() < 0.2 ? largeBytes : intBetween(random, 1, 200);
    const data = new Uint8Array(bytes).fill((first + at) % 251);
    return { index: first + at, term, type: 'normal', data };
  });
}

export function perform(log: LogStorage, operation: Operation): Promise<void> {
  return operation.type === 'append'
    ? log.append(operation.batch, operation.sync)
    : log.compact(operation.snapshot);
}

/** Whether `operation`, once acknowledged, must outlive whatever happens. */
export function isSynced(operation: Operation): boolean {
  return operation.type === 'compact' || operation.sync;
}

/** Everything that a log says, in a few words. */
export function describeLog(log: LogReader): string {
  const { hard } = log.initialState();
  const { meta, data } = log.snapshot();
  const entries = log
    .entries(log.firstIndex(), log.lastIndex() + 1, Number.MAX_SAFE_INTEGER)
    .map(({ index, term, data }) => `${index}:${term}:${data.length}:${crc32c(data)}`);
  return JSON.stringify({ hard, meta, snapshot: crc32c(data), entries });
}

/**
 * After how many of the first `most` operations a new log is what `found` says, but not before
 * `least` of them; null if after none.
 */
export function stepsThatGive(
  workload: Workload,
  found: string,
  { least, most }: { readonly least: number; readonly most: number },
): number | null {
  const { index, term } = firstSnapshot.meta;
  const hard = { term: 0, vote: null, commit: index, promiseMaxMs: 0 };
  const image = new LogImage({ ...hard, term }, firstSnapshot);
  for (let step = 0; ; step++) {
    if (step >= least && describeLog(image) === found) return step;
    if (step >= most) return null;
    const operation = operationAt(workload, step, image);
    if (operation.type === 'append') image.change(operation.batch);
    else image.compact(operation.snapshot);
  }
}
