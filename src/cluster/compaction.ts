/**
 * When the log is cut, and where. The state is immutable, so keeping one from half a log ago costs
 * a pointer: the log is cut there, not at its end, and a follower that lags a little still finds
 * its entries instead of needing a snapshot.
 */
import type { Entry, MemberConfig, Snapshot, SnapshotMeta } from '../raft/types.ts';
import type { ClusterState } from './state.ts';
import { encodeState } from './state-codec.ts';

export interface CompactionLimits {
  /** Applied entries behind the snapshot before the log is cut. */
  readonly maxEntries: number;
  /** Their payload, likewise. */
  readonly maxBytes: number;
}

/** Reading a log of this size at start takes well under 100 ms. */
export const defaultCompactionLimits: CompactionLimits = {
  maxEntries: 4096,
  maxBytes: 8 * 1024 * 1024,
};

interface Checkpoint {
  readonly meta: SnapshotMeta;
  readonly state: ClusterState;
}

export class Compaction {
  readonly #limits: CompactionLimits;
  #checkpoint: Checkpoint | null = null;
  #entries = 0;
  #bytes = 0;

  constructor(limits: CompactionLimits) {
    this.#limits = limits;
  }

  /** Counts an applied entry; returns the snapshot to cut the log at, when it is time. */
  applied(entry: Entry, config: MemberConfig, state: ClusterState): Snapshot | null {
    this.#entries += 1;
    this.#bytes += entry.data.length;
    const { maxEntries, maxBytes } = this.#limits;
    if (this.#entries < maxEntries / 2 && this.#bytes < maxBytes / 2) return null;
    const due = this.#checkpoint;
    this.restart();
    this.#checkpoint = { meta: { index: entry.index, term: entry.term, config }, state };
    return due === null ? null : { meta: due.meta, data: encodeState(due.state) };
  }

  /** Counts anew: the log was replaced by a snapshot from the leader. */
  restart(): void {
    this.#checkpoint = null;
    this.#entries = 0;
    this.#bytes = 0;
  }
}
