/**
 * The log as it is in memory: the newest snapshot and every entry behind it. Raft reads
 * synchronously while disks do not, and the log of a control plane is small, so it is held whole.
 *
 * Invariant: entries are contiguous from `snapshot.meta.index + 1`, with terms that never fall.
 */
import { assert, defined } from '../base/assert.ts';
import type { LogBatch } from '../cluster/ports.ts';
import {
  type Entry,
  emptyConfig,
  emptyHardState,
  type HardState,
  type Index,
  type LogReader,
  type Snapshot,
  type Term,
} from '../raft/types.ts';

/** Indices that are gone after a change, both ends included; none if `last < first`. */
export interface IndexRange {
  readonly first: Index;
  readonly last: Index;
}

const noSnapshot: Snapshot = {
  meta: { index: 0, term: 0, config: emptyConfig },
  data: new Uint8Array(),
};

export class LogImage implements LogReader {
  #hard: HardState;
  #snapshot: Snapshot;
  #entries: Entry[];

  constructor(
    hard: HardState = emptyHardState,
    snapshot: Snapshot = noSnapshot,
    entries: readonly Entry[] = [],
  ) {
    this.#hard = hard;
    this.#snapshot = snapshot;
    this.#entries = [...entries];
    this.#check(0);
  }

  initialState() {
    return { hard: this.#hard, config: this.#snapshot.meta.config };
  }

  entries(low: Index, high: Index, maxBytes: number): Entry[] {
    const start = low - this.firstIndex();
    assert(start >= 0 && high <= this.lastIndex() + 1, `entries [${low}, ${high}) are not held`);
    const result: Entry[] = [];
    let bytes = 0;
    for (let at = start; at < high - this.firstIndex(); at++) {
      const entry = defined(this.#entries[at], 'entry');
      bytes += entry.data.length;
      if (result.length > 0 && bytes > maxBytes) break;
      result.push(entry);
    }
    return result;
  }

  term(index: Index): Term | undefined {
    if (index === this.#snapshot.meta.index) return this.#snapshot.meta.term;
    return this.#entries[index - this.firstIndex()]?.term;
  }

  firstIndex(): Index {
    return this.#snapshot.meta.index + 1;
  }

  lastIndex(): Index {
    return this.#snapshot.meta.index + this.#entries.length;
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Takes over what a Ready asks to be stored; returns the range of entries that it made void. */
  change(batch: LogBatch): IndexRange {
    const last = this.lastIndex();
    let voidFrom = last + 1;
    if (batch.hard !== undefined) this.#hard = batch.hard;
    if (batch.snapshot !== undefined) {
      // Whatever followed may conflict with the leader's log, so nothing of the old one stays.
      voidFrom = this.firstIndex();
      this.#snapshot = batch.snapshot;
      this.#entries = [];
    }
    const first = batch.entries[0];
    if (first !== undefined) {
      assert(first.index >= this.firstIndex(), `entry ${first.index} lies within the snapshot`);
      assert(first.index <= this.lastIndex() + 1, `entry ${first.index} leaves a hole`);
      voidFrom = Math.min(voidFrom, first.index);
      const kept = first.index - this.firstIndex();
      this.#entries.length = kept;
      this.#entries.push(...batch.entries);
      this.#check(Math.max(0, kept - 1));
    }
    return { first: voidFrom, last };
  }

  /** Puts `snapshot` in the place of the log up to its index; returns the entries that went. */
  compact(snapshot: Snapshot): IndexRange {
    const { index } = snapshot.meta;
    const first = this.firstIndex();
    if (index < first) return { first, last: first - 1 };
    assert(index <= this.lastIndex(), `cannot compact to ${index}, beyond the log`);
    assert(this.term(index) === snapshot.meta.term, `the snapshot at ${index} is of another term`);
    this.#entries = this.#entries.slice(index - first + 1);
    this.#snapshot = snapshot;
    return { first, last: index };
  }

  #check(from: number): void {
    let before = from === 0 ? this.#snapshot.meta.term : (this.#entries[from - 1]?.term ?? 0);
    for (let at = from; at < this.#entries.length; at++) {
      const { index, term } = defined(this.#entries[at], 'entry');
      assert(index === this.firstIndex() + at, `entry ${index} is out of order`);
      assert(term >= before, `the term falls at entry ${index}`);
      before = term;
    }
  }
}
