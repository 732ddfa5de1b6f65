/**
 * What a leader believes of one member: how much of its log matches, and how fast to send. All
 * transitions between the three ways of sending happen in here.
 *
 *            accepted append                          log behind is compacted
 *   probe ───────────────────────▶ replicate   any ───────────────────────────▶ snapshot
 *     ▲ ◀─────────────────────────────┘ rejected or unreachable                     │
 *     └─────────────────────────────── snapshot reported or acknowledged ───────────┘
 *
 * probe: one append at a time, looking for the point where the logs meet. replicate: a pipeline
 * limited by `Inflights`. snapshot: nothing but heartbeats until the snapshot is through.
 *
 * Invariants: 0 <= match < next; in `snapshot`, next = pendingSnapshot + 1.
 */
import { assert, unreachable } from '../base/assert.ts';
import { Inflights } from './inflights.ts';
import type { Eligibility, Index, Millis, NodeId } from './types.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export interface ProgressLimits {
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
}

export class Progress {
  readonly id: NodeId;
  readonly inflights: Inflights;
  isLearner: boolean;

  /** The newest heartbeat round of this leadership that the member echoed; 0 for none. */
  echoedRound = 0;
  /** When, on the leader's clock, its last echo arrived; null before the first. */
  lastEchoAt: Millis | null = null;
  /** When anything of this term last came from it; null before the first. */
  lastHeardAt: Millis | null = null;
  /** What its last echo said about holding a VIP. */
  eligibility: Eligibility | null = null;

  #match: Index;
  #next: Index;
  #state: ProgressState = 'probe';
  #pendingSnapshot: Index = 0;
  #sentCommit: Index = 0;
  #flowPaused = false;

  constructor(id: NodeId, isLearner: boolean, match: Index, next: Index, limits: ProgressLimits) {
    assert(match < next, 'match must stay below next');
    this.id = id;
    this.isLearner = isLearner;
    this.#match = match;
    this.#next = next;
    this.inflights = new Inflights(limits.maxInflightMessages, limits.maxInflightBytes);
  }

  get match(): Index {
    return this.#match;
  }

  get next(): Index {
    return this.#next;
  }

  get state(): ProgressState {
    return this.#state;
  }

  get pendingSnapshot(): Index {
    return this.#pendingSnapshot;
  }

  /** Whether no append may leave until something comes back. */
  get isPaused(): boolean {
    return this.#state === 'snapshot' || this.#flowPaused;
  }

  /**
   * Whether an append would tell this member of a commit index that it can use and does not know.
   */
  canBumpCommit(commit: Index): boolean {
    return commit > this.#sentCommit && this.#sentCommit < this.#next - 1;
  }

  /** Notes an append that left with `count` entries of `bytes` in all. */
  sentEntries(count: number, bytes: number): void {
    switch (this.#state) {
      case 'replicate':
        if (count > 0) {
          this.#next += count;
          this.inflights.add(this.#next - 1, bytes);
        }
        // A full window lets one message more through after each heartbeat's echo: if everything in
        // the window was lost, that message finds it out.
        this.#flowPaused = this.inflights.full;
        break;
      case 'probe':
        this.#flowPaused = true;
        break;
      case 'snapshot':
        assert(false, 'no append leaves while a snapshot is under way');
        break;
      default:
        unreachable(this.#state);
    }
  }

  sentCommit(commit: Index): void {
    this.#sentCommit = commit;
  }

  /** Takes an acknowledged `index`; false when it is no news. */
  maybeUpdate(index: Index): boolean {
    if (index <= this.#match) return false;
    this.#match = index;
    this.#next = Math.max(this.#next, index + 1);
    this.#flowPaused = false;
    return true;
  }

  /**
   * Takes a rejection of the append whose `prevIndex` was `rejected`; `hint` is the last index at
   * which the logs may still meet. False for a rejection that is out of date.
   */
  maybeDecrease(rejected: Index, hint: Index): boolean {
    if (this.#state === 'replicate') {
      if (rejected <= this.#match) return false;
      this.#next = this.#match + 1;
    } else {
      // A probe sends one at a time, so only an answer to that one counts.
      if (this.#next - 1 !== rejected) return false;
      this.#next = Math.max(Math.min(rejected, hint + 1), this.#match + 1);
      this.#flowPaused = false;
    }
    this.#sentCommit = Math.min(this.#sentCommit, this.#next - 1);
    return true;
  }

  /** An echo arrived: whatever was lost, one append may try again. */
  resumeFlow(): void {
    this.#flowPaused = false;
  }

  /** Holds the next probe back until something is heard. */
  pauseFlow(): void {
    this.#flowPaused = true;
  }

  becomeProbe(): void {
    const behind = this.#state === 'snapshot' ? this.#pendingSnapshot : 0;
    this.#reset('probe');
    this.#next = Math.max(this.#match, behind) + 1;
    this.#sentCommit = Math.min(this.#sentCommit, this.#next - 1);
  }

  becomeReplicate(): void {
    this.#reset('replicate');
    this.#next = this.#match + 1;
  }

  becomeSnapshot(index: Index): void {
    this.#reset('snapshot');
    this.#pendingSnapshot = index;
    this.#next = index + 1;
    this.#sentCommit = index;
  }

  /** The snapshot under way came to nothing: back to probing from what is known to match. */
  snapshotFailed(): void {
    assert(this.#state === 'snapshot', 'no snapshot is under way');
    this.#pendingSnapshot = 0;
    this.becomeProbe();
  }

  #reset(state: ProgressState): void {
    this.#flowPaused = false;
    this.#pendingSnapshot = 0;
    this.#state = state;
    this.inflights.reset();
  }
}
