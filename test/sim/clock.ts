/**
 * A host's clock as a function of true time: pieces of straight lines whose slope, the rate, stays
 * within the drift bound, and flat ones while the whole machine is paused. A reboot starts another
 * clock, with another origin.
 *
 * Invariant: local time never goes back, because a piece begins where the one before it ended.
 */

import { assert } from '../../src/base/assert.ts';
import type { Millis } from '../../src/base/clock.ts';

export class DriftClock {
  #since: Millis;
  #local: Millis;
  #rate: number;

  constructor(trueNow: Millis, localNow: Millis, rate: number) {
    this.#since = trueNow;
    this.#local = localNow;
    this.#rate = rate;
  }

  get rate(): number {
    return this.#rate;
  }

  /**
   * What the clock shows at true time `at`, which may not lie before the last change of rate or the
   * beginning of the last standstill.
   */
  local(at: Millis): Millis {
    return this.#local + Math.max(0, at - this.#since) * this.#rate;
  }

  /** The true time at which the clock will show `local` if its rate stays. */
  trueAt(local: Millis): Millis {
    return this.#since + (local - this.#local) / this.#rate;
  }

  /** Shows the same from `trueNow` until `until`, and goes on from there. */
  standStill(trueNow: Millis, until: Millis): void {
    this.setRate(trueNow, this.#rate);
    this.#since = until;
  }

  setRate(trueNow: Millis, rate: number): void {
    assert(trueNow >= this.#since, 'a clock changes its rate in the past');
    this.#local = this.local(trueNow);
    this.#since = trueNow;
    this.#rate = rate;
  }
}
