/** A log in memory that stands in for the disk: what was written to it survives a restart. */
import { assert, defined } from '../../src/base/assert.ts';
import { entryBytes } from '../../src/raft/log.ts';
import type {
  Entry,
  HardState,
  Index,
  LogReader,
  MemberConfig,
  Snapshot,
  Term,
} from '../../src/raft/types.ts';
import { emptyConfig, emptyHardState } from '../../src/raft/types.ts';

const noData = new Uint8Array(0);

export interface StoredBatch {
  readonly hard?: HardState;
  readonly entries: readonly Entry[];
  readonly snapshot?: Snapshot;
}

export class MemoryLog implements LogReader {
  hard: HardState = emptyHardState;
  #snapshot: Snapshot = { meta: { index: 0, term: 0, config: emptyConfig }, data: noData };
  /** The position before the first entry. */
  #before = { index: 0, term: 0 };
  #entries: Entry[] = [];

  /** A first boot of a member that knows `config`; index 1 is the snapshot that says so. */
  static booted(config: Partial<MemberConfig>): MemoryLog {
    const log = new MemoryLog();
    const meta = { index: 1, term: 1, config: { ...emptyConfig, ...config } };
    log.write({
      hard: { ...emptyHardState, term: 1, commit: 1 },
      entries: [],
      snapshot: { meta, data: noData },
    });
    return log;
  }

  /** As `booted`, with a log of the given terms behind index 1. */
  static withTerms(config: Partial<MemberConfig>, ...terms: readonly Term[]): MemoryLog {
    const log = MemoryLog.booted(config);
    log.write({ entries: entriesOf(2, ...terms) });
    log.hard = { ...log.hard, term: Math.max(1, ...terms) };
    return log;
  }

  write(batch: StoredBatch): void {
    if (batch.snapshot !== undefined) {
      this.#snapshot = batch.snapshot;
      const { index, term } = batch.snapshot.meta;
      this.#before = { index, term };
      this.#entries = [];
    }
    const first = batch.entries[0];
    if (first !== undefined) {
      const keep = first.index - this.#before.index - 1;
      assert(keep >= 0 && keep <= this.#entries.length, 'a gap in the stored log');
      this.#entries = [...this.#entries.slice(0, keep), ...batch.entries];
    }
    if (batch.hard !== undefined) this.hard = batch.hard;
  }

  /** Makes a snapshot at `index` and forgets the entries up to it. */
  compact(index: Index, config: MemberConfig, data: Uint8Array = noData): void {
    const term = defined(this.term(index), 'the term of the compacted entry');
    this.#entries = this.#entries.slice(index - this.#before.index);
    this.#before = { index, term };
    this.#snapshot = { meta: { index, term, config }, data };
  }

  /** An independent copy: the disk as it is now. */
  clone(): MemoryLog {
    const log = new MemoryLog();
    log.hard = this.hard;
    log.#snapshot = this.#snapshot;
    log.#before = this.#before;
    log.#entries = [...this.#entries];
    return log;
  }

  initialState(): { hard: HardState; config: MemberConfig } {
    return { hard: this.hard, config: this.#snapshot.meta.config };
  }

  entries(low: Index, high: Index, maxBytes: number): Entry[] {
    assert(low > this.#before.index && high <= this.lastIndex() + 1, 'read outside the log');
    const found = this.#entries.slice(low - this.#before.index - 1, high - this.#before.index - 1);
    let size = 0;
    const cut = found.findIndex((entry, i) => {
      size += entryBytes(entry);
      return i > 0 && size > maxBytes;
    });
    return cut === -1 ? found : found.slice(0, cut);
  }

  term(index: Index): Term | undefined {
    if (index === this.#before.index) return this.#before.term;
    return this.#entries[index - this.#before.index - 1]?.term;
  }

  firstIndex(): Index {
    return this.#before.index + 1;
  }

  lastIndex(): Index {
    return this.#before.index + this.#entries.length;
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Everything behind the snapshot. */
  all(): readonly Entry[] {
    return this.#entries;
  }
}

/** Entries from `first` on with the given terms and no payload. */
export function entriesOf(first: Index, ...terms: readonly Term[]): Entry[] {
  return terms.map((term, i) => ({ index: first + i, term, type: 'normal', data: noData }));
}
