/**
 * The end of the log that is not yet known to be durable, and a received snapshot in the same
 * state. What has been handed to the disk is `in progress` and is not handed out again; it stays in
 * here until the disk has answered, because until then it must not count.
 *
 * Invariants: `entries[i].index = offset + i`; offset <= offsetInProgress <= offset +
 * entries.length; everything below `offset` is durable unless a snapshot is pending.
 */
import { assert } from '../base/assert.ts';
import type { Entry, EntryId, Index, Snapshot, Term } from './types.ts';

export class Unstable {
  #entries: Entry[] = [];
  #offset: Index;
  #offsetInProgress: Index;
  #snapshot: Snapshot | null = null;
  #snapshotInProgress = false;

  /** `offset` is the index after the last durable entry. */
  constructor(offset: Index) {
    this.#offset = offset;
    this.#offsetInProgress = offset;
  }

  get offset(): Index {
    return this.#offset;
  }

  /** The first index that was not handed to the disk yet. */
  get offsetInProgress(): Index {
    return this.#offsetInProgress;
  }

  get snapshot(): Snapshot | null {
    return this.#snapshot;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Whether everything in the log is durable. */
  get isEmpty(): boolean {
    return this.#entries.length === 0 && this.#snapshot === null;
  }

  /** The last index if it is known here. */
  lastIndex(): Index | undefined {
    if (this.#entries.length > 0) return this.#offset + this.#entries.length - 1;
    return this.#snapshot?.meta.index;
  }

  /** The term at `index` if it is known here. */
  term(index: Index): Term | undefined {
    if (index < this.#offset) {
      const meta = this.#snapshot?.meta;
      return meta !== undefined && meta.index === index ? meta.term : undefined;
    }
    return this.#entries[index - this.#offset]?.term;
  }

  /** Entries in [low, high), both within what is held here. */
  slice(low: Index, high: Index): Entry[] {
    assert(this.#offset <= low && low <= high, 'slice below the unstable part');
    assert(high <= this.#offset + this.#entries.length, 'slice beyond the unstable part');
    return this.#entries.slice(low - this.#offset, high - this.#offset);
  }

  get hasNext(): boolean {
    return (
      this.#offsetInProgress < this.#offset + this.#entries.length || this.nextSnapshot() !== null
    );
  }

  /** What the disk has not been given yet. */
  nextEntries(): Entry[] {
    return this.#entries.slice(this.#offsetInProgress - this.#offset);
  }

  nextSnapshot(): Snapshot | null {
    return this.#snapshotInProgress ? null : this.#snapshot;
  }

  /** The disk has been given everything. */
  acceptInProgress(): void {
    this.#offsetInProgress = this.#offset + this.#entries.length;
    this.#snapshotInProgress = this.#snapshot !== null;
  }

  /** The disk holds everything up to `id`; ignored if the log has changed there since. */
  stableTo(id: EntryId): void {
    if (id.index < this.#offset || this.term(id.index) !== id.term) return;
    this.#entries = this.#entries.slice(id.index + 1 - this.#offset);
    this.#offset = id.index + 1;
    this.#offsetInProgress = Math.max(this.#offsetInProgress, this.#offset);
  }

  /** The disk holds the snapshot at `index`; ignored if a newer one has come. */
  stableSnapshotTo(index: Index): void {
    if (this.#snapshot?.meta.index !== index) return;
    this.#snapshot = null;
    this.#snapshotInProgress = false;
  }

  /** Replaces the whole log by `snapshot`. */
  restore(snapshot: Snapshot): void {
    this.#entries = [];
    this.#offset = snapshot.meta.index + 1;
    this.#offsetInProgress = this.#offset;
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Appends `entries`, dropping whatever stood from the first of them on. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = entries[0]?.index;
    if (from === undefined) return;
    if (from <= this.#offset) {
      this.#entries = [...entries];
      this.#offset = from;
      this.#offsetInProgress = from;
      return;
    }
    const keep = from - this.#offset;
    assert(keep <= this.#entries.length, 'a gap in the log');
    this.#entries.length = keep;
    for (const entry of entries) this.#entries.push(entry);
    // What the disk was given from here on is void and must be given again.
    this.#offsetInProgress = Math.min(this.#offsetInProgress, from);
  }
}
