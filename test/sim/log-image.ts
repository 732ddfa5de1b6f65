/**
 * The content of a log at one instant: hard state, newest snapshot, entries behind it. A host has
 * one on its platters and its process another, newer one in memory.
 *
 * Invariant: entries are contiguous and begin right after the snapshot.
 */
import { assert } from '../../src/base/assert.ts';
import type { LogBatch } from '../../src/cluster/ports.ts';
import {
  type Entry,
  emptyConfig,
  emptyHardState,
  type HardState,
  type Index,
  type LogReader,
  type MemberConfig,
  type Snapshot,
  type Term,
} from '../../src/raft/types.ts';

const emptySnapshot: Snapshot = {
  meta: { index: 0, term: 0, config: emptyConfig },
  data: new Uint8Array(0),
};

export class LogImage implements LogReader {
  #hard: HardState = emptyHardState;
  #snapshot: Snapshot;
  #entries: Entry[] = [];

  constructor(snapshot: Snapshot = emptySnapshot) {
    this.#snapshot = snapshot;
    const { index, term } = snapshot.meta;
    if (index > 0) this.#hard = { ...emptyHardState, term, commit: index };
  }

  clone(): LogImage {
    const copy = new LogImage(this.#snapshot);
    copy.#hard = this.#hard;
    copy.#entries = [...this.#entries];
    return copy;
  }

  get hard(): HardState {
    return this.#hard;
  }

  initialState(): { readonly hard: HardState; readonly config: MemberConfig } {
    return { hard: this.#hard, config: this.#snapshot.meta.config };
  }

  entries(low: Index, high: Index, maxBytes: number): Entry[] {
    const first = this.firstIndex();
    assert(low >= first && high <= this.lastIndex() + 1, `entries [${low}, ${high}) are not held`);
    const wanted: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.slice(low - first, high - first)) {
      bytes += entry.data.length;
      if (wanted.length > 0 && bytes > maxBytes) break;
      wanted.push(entry);
    }
    return wanted;
  }

  term(index: Index): Term | undefined {
    if (index === this.#snapshot.meta.index) return this.#snapshot.meta.term;
    return this.#entries[index - this.firstIndex()]?.term;
  }

  entry(index: Index): Entry | undefined {
    return this.#entries[index - this.firstIndex()];
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

  append(batch: LogBatch): void {
    if (batch.hard !== undefined) this.#hard = batch.hard;
    if (batch.snapshot !== undefined) {
      this.#snapshot = batch.snapshot;
      this.#entries = [];
    }
    const first = batch.entries[0];
    if (first === undefined) return;
    const keep = first.index - this.firstIndex();
    assert(keep >= 0 && keep <= this.#entries.length, `entry ${first.index} leaves a hole`);
    this.#entries.length = keep;
    this.#entries.push(...batch.entries);
  }

  /** Cuts the log at the snapshot's index; an older snapshot changes nothing. */
  compact(snapshot: Snapshot): void {
    const kept = snapshot.meta.index - this.#snapshot.meta.index;
    if (kept <= 0) return;
    assert(kept <= this.#entries.length, 'a snapshot lies beyond the log');
    this.#entries = this.#entries.slice(kept);
    this.#snapshot = snapshot;
  }
}
