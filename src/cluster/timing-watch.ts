/**
 * What a node sees of how well its timing fits, told to {@link TimingChoice}: as leader how old the
 * proof of its lease grows, and whether whom it deposed was dead at all; as follower what its
 * leader chose.
 */
import type { Millis } from '../base/clock.ts';
import type { NodeId } from '../raft/types.ts';
import type { TimingChoice } from './timing-choice.ts';

export class TimingWatch {
  readonly #choice: TimingChoice;
  /** The newest heartbeat of a leader. */
  #heard: { readonly from: NodeId; readonly at: Millis } | null = null;
  /** Whom this node's election deposed for being silent; if it answers soon, it was not dead. */
  #deposed: { readonly id: NodeId; readonly until: Millis } | null = null;
  #provenAt: Millis | null = null;

  constructor(choice: TimingChoice) {
    this.#choice = choice;
  }

  /** A leader's heartbeat. Whether the timing is another one now. */
  heartbeat(from: NodeId, promiseMs: Millis, now: Millis): boolean {
    this.#heard = { from, at: now };
    return this.#choice.heard(promiseMs);
  }

  /** A member's echo. Whether the timing is another one now. */
  echo(from: NodeId, now: Millis): boolean {
    if (from !== this.#deposed?.id) return false;
    const { until } = this.#deposed;
    this.#deposed = null;
    return now < until && this.#choice.deposedTheLiving(now);
  }

  /**
   * The newest proof of this node's lease was sent at `provenAt` (its election before the first;
   * null while it does not lead). Whether the timing is another one now.
   */
  proof(provenAt: Millis | null, now: Millis): boolean {
    const before = this.#provenAt;
    this.#provenAt = provenAt;
    if (provenAt === null || provenAt === before) return false;
    if (before !== null) return this.#choice.proved(now, now - before);
    this.#deposed = this.#whomItDeposed(provenAt);
    return false;
  }

  #whomItDeposed(electedAt: Millis): { readonly id: NodeId; readonly until: Millis } | null {
    const { promiseMs } = this.#choice.timing;
    // Within its promise, it must have let go by itself.
    if (this.#heard === null || electedAt - this.#heard.at < promiseMs) return null;
    return { id: this.#heard.from, until: electedAt + 2 * promiseMs };
  }
}
