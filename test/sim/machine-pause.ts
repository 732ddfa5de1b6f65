/**
 * How far a machine that was paused whole may overlap with its successor: it goes on with the lease
 * that it had, so for L after it was resumed, if nobody tells it earlier. This lies outside of the
 * promise, as the documents say; the bound of it is checked.
 */
import type { Millis } from '../../src/base/clock.ts';
import { clockDrift } from '../../src/cluster/timing.ts';
import { leaseLength } from '../../src/raft/lease.ts';
import type { Term } from '../../src/raft/types.ts';

export class MachinePause {
  /** The longest promise that the living process asked of others as a leader. */
  #longestAsked: Millis = 0;
  #mayOverlapUntil: Millis = 0;
  #term: Term = 0;

  asked(promiseMs: Millis): void {
    this.#longestAsked = Math.max(this.#longestAsked, promiseMs);
  }

  /**
   * It stands still in `term` until true time `until`; returns when the last overlap must be over.
   * Its clock may be slow by `drift`, and L is counted on it.
   */
  begins(term: Term, until: Millis, drift: number): Millis {
    this.#term = term;
    this.#mayOverlapUntil = until + leaseLength(this.#longestAsked, clockDrift) / (1 - drift);
    return this.#mayOverlapUntil;
  }

  /** The term whose lease may overlap at `now`; null for none. */
  term(now: Millis): Term | null {
    return now < this.#mayOverlapUntil ? this.#term : null;
  }

  /** Nothing of before the pause is left. */
  isOver(): void {
    this.#mayOverlapUntil = 0;
  }

  processDied(): void {
    this.#longestAsked = 0;
  }
}
