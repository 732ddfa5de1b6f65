/**
 * The log as the core sees it: a stable part behind `LogReader`, an unstable part in memory, and
 * two marks in it.
 *
 * Invariant: handed <= committed <= lastIndex. `handed` is the last index given out to be applied;
 * only durable entries are given out.
 */
import { assert, defined } from '../base/assert.ts';
import type { Entry, EntryId, Index, LogReader, Snapshot, Term } from './types.ts';
import { Unstable } from './unstable.ts';

/** What a batch counts for an entry beside its payload. */
export const entryOverheadBytes = 16;

/** The size of an entry as the limits of messages and windows count it. */
export function entryBytes(entry: Entry): number {
  return entry.data.length + entryOverheadBytes;
}

/** Entries that came in a message, with the position they follow. */
export interface LogSlice {
  readonly prev: EntryId;
  readonly entries: readonly Entry[];
}

/** Whether the slice hangs together: indices without a gap, terms that never fall. */
export function isValidSlice(slice: LogSlice): boolean {
  let { index, term } = slice.prev;
  for (const entry of slice.entries) {
    if (entry.index !== index + 1 || entry.term < term) return false;
    index = entry.index;
    term = entry.term;
  }
  return true;
}

export class RaftLog {
  readonly unstable: Unstable;
  readonly #storage: LogReader;
  #committed: Index;
  #handed: Index;

  /** Everything up to the newest snapshot counts as committed and applied. */
  constructor(storage: LogReader, commit: Index) {
    this.#storage = storage;
    this.unstable = new Unstable(storage.lastIndex() + 1);
    const snapshotIndex = storage.snapshot().meta.index;
    assert(storage.firstIndex() <= snapshotIndex + 1, 'entries behind the snapshot are missing');
    assert(commit <= storage.lastIndex(), 'the stored commit index lies beyond the stored log');
    this.#committed = Math.max(commit, snapshotIndex);
    this.#handed = snapshotIndex;
  }

  get committed(): Index {
    return this.#committed;
  }

  get handed(): Index {
    return this.#handed;
  }

  /** The last index known to be durable. */
  get stableIndex(): Index {
    return this.unstable.offset - 1;
  }

  firstIndex(): Index {
    const pending = this.unstable.snapshot;
    return pending === null ? this.#storage.firstIndex() : pending.meta.index + 1;
  }

  lastIndex(): Index {
    return this.unstable.lastIndex() ?? this.unstable.offset - 1;
  }

  lastTerm(): Term {
    return defined(this.term(this.lastIndex()), 'the term of the last entry');
  }

  lastId(): EntryId {
    return { term: this.lastTerm(), index: this.lastIndex() };
  }

  /** The term at `index`; undefined where the log no longer, or not yet, reaches. */
  term(index: Index): Term | undefined {
    const known = this.unstable.term(index);
    if (known !== undefined) return known;
    const first = this.firstIndex();
    if (index >= this.unstable.offset || index < first - 1) return undefined;
    return index === 0 ? 0 : this.#storage.term(index);
  }

  matches(id: EntryId): boolean {
    return this.term(id.index) === id.term;
  }

  /** Whether a log that ends in `id` is at least as complete as this one. */
  isUpToDate(id: EntryId): boolean {
    const lastTerm = this.lastTerm();
    return id.term > lastTerm || (id.term === lastTerm && id.index >= this.lastIndex());
  }

  /** Entries from `low` on, at most `maxBytes` of them but at least one if there is any. */
  entriesFrom(low: Index, maxBytes: number): Entry[] {
    return this.slice(low, this.lastIndex() + 1, maxBytes);
  }

  /** Entries in [low, high), cut to `maxBytes` but never to fewer than one. */
  slice(low: Index, high: Index, maxBytes: number): Entry[] {
    if (low >= high) return [];
    assert(low >= this.firstIndex(), 'slice of a compacted part');
    assert(high <= this.lastIndex() + 1, 'slice beyond the end');
    const { offset } = this.unstable;
    if (low >= offset) return cutToSize(this.unstable.slice(low, high), maxBytes);
    const cut = Math.min(high, offset);
    const stable = this.#storage.entries(low, cut, maxBytes);
    if (high <= offset || stable.length < cut - low) return stable;
    const size = stable.reduce((sum, entry) => sum + entryBytes(entry), 0);
    const rest = this.unstable.slice(offset, high);
    const first = rest[0];
    if (first === undefined || size + entryBytes(first) > maxBytes) return stable;
    return stable.concat(cutToSize(rest, maxBytes - size));
  }

  /** Appends a leader's own entries. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.#committed, 'a committed entry would be overwritten');
    this.unstable.truncateAndAppend(entries);
  }

  /**
   * Takes a leader's entries if the logs meet at `slice.prev`, and its commit index as far as those
   * entries prove it. Returns the last index known to match, or undefined if they do not meet.
   */
  maybeAppend(slice: LogSlice, commit: Index): Index | undefined {
    assert(isValidSlice(slice), 'an append that does not hang together');
    if (!this.matches(slice.prev)) return undefined;
    const lastNew = slice.prev.index + slice.entries.length;
    const conflict = this.findConflict(slice.entries);
    if (conflict !== 0) {
      assert(conflict > this.#committed, 'a leader contradicts a committed entry');
      this.append(slice.entries.slice(conflict - slice.prev.index - 1));
    }
    this.commitTo(Math.min(commit, lastNew));
    return lastNew;
  }

  /** The first of `entries` that this log lacks or holds with another term; 0 for none. */
  findConflict(entries: readonly Entry[]): Index {
    for (const entry of entries) if (!this.matches(entry)) return entry.index;
    return 0;
  }

  /**
   * The last position at or below `index` whose term is at most `term`: where a log that has `term`
   * at `index` may still meet this one. An unknown term counts as a possible match, with term 0.
   */
  findConflictByTerm(index: Index, term: Term): EntryId {
    for (let i = index; i > 0; i--) {
      const own = this.term(i);
      if (own === undefined) return { index: i, term: 0 };
      if (own <= term) return { index: i, term: own };
    }
    return { index: 0, term: 0 };
  }

  /** The commit mark never falls. */
  commitTo(index: Index): void {
    if (index <= this.#committed) return;
    assert(
      index <= this.lastIndex(),
      `commit ${index} lies beyond the end ${this.lastIndex()} of the log: was the disk set back?`,
    );
    this.#committed = index;
  }

  /**
   * Commits up to `id` if it is news and really in the log with that term (Figure 8 of the paper).
   */
  maybeCommit(id: EntryId): boolean {
    if (id.term === 0 || id.index <= this.#committed || !this.matches(id)) return false;
    this.commitTo(id.index);
    return true;
  }

  get hasNextCommitted(): boolean {
    return this.unstable.snapshot === null && this.#handed < this.#appliable();
  }

  /** Committed and durable entries that nobody was given yet. */
  nextCommitted(maxBytes: number): Entry[] {
    if (!this.hasNextCommitted) return [];
    return this.slice(this.#handed + 1, this.#appliable() + 1, maxBytes);
  }

  handOutTo(index: Index): void {
    assert(this.#handed <= index && index <= this.#committed, 'only committed entries go out');
    this.#handed = index;
  }

  /** Whether an entry in (handed, committed] changes the configuration. */
  hasUnappliedConfChange(pageBytes: number): boolean {
    let low = Math.max(this.#handed + 1, this.firstIndex());
    while (low <= this.#committed) {
      const page = this.slice(low, this.#committed + 1, pageBytes);
      if (page.some((entry) => entry.type === 'conf-change')) return true;
      low += page.length;
    }
    return false;
  }

  /** Replaces everything by a received snapshot. */
  restore(snapshot: Snapshot): void {
    assert(snapshot.meta.index > this.#committed, 'a snapshot must not take the log back');
    this.#committed = snapshot.meta.index;
    this.unstable.restore(snapshot);
  }

  /** The snapshot to send to whoever is behind the log. */
  snapshot(): Snapshot {
    return this.unstable.snapshot ?? this.#storage.snapshot();
  }

  #appliable(): Index {
    return Math.min(this.#committed, this.stableIndex);
  }
}

function cutToSize(entries: Entry[], maxBytes: number): Entry[] {
  let size = 0;
  for (const [count, entry] of entries.entries()) {
    size += entryBytes(entry);
    if (size > maxBytes && count > 0) return entries.slice(0, count);
  }
  return entries;
}
