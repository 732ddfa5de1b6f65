/**
 * Which timing is in force: what the spec says, or with `auto` what the leader measures to be safe.
 *
 * Measured is how old the newest proof of the lease had become when the next one came, less the
 * heartbeat that lies between them anyway. That is the round trip to the quorum, this node's and
 * its peers' event-loop delay, and whatever TCP made of lost packets, all in one: just what eats
 * into a lease. Three times its 99.9th percentile has to fit into what a timing leaves.
 *
 * Quick to lengthen (one delay that comes near the limit is enough), slow to shorten. A follower
 * takes over what its leader chose, and begins with it when it leads itself. Nothing here is
 * safety: any timing within the bounds keeps the lease exclusive.
 */
import type { Millis } from '../base/clock.ts';
import type { Timing } from '../raft/types.ts';
import type { TimingProfile } from './spec.ts';
import { agentMarginMs, leaseMs, timingName, timingOf } from './timing.ts';

export interface TimingLimits {
  /** A timing is kept for so long at least before a shorter one is tried. */
  readonly shortenAfterMs: Millis;
  /** Nothing is shortened on fewer delays than these. */
  readonly delaysNeeded: number;
}

export const defaultTimingLimits: TimingLimits = { shortenAfterMs: 20_000, delaysNeeded: 400 };

/** What is in force, and why, in words. */
export interface TimingView {
  readonly name: string;
  readonly timing: Timing;
  readonly reason: string;
  /** 99.9th percentile of the delays of this leadership; null where this node measured none. */
  readonly delayMs: Millis | null;
  /** How often `auto` went to another timing on this node. */
  readonly changes: number;
}

/** From the shortest to the longest. */
const ladder = ['lan', 'balanced', 'wan'] as const;
type Step = (typeof ladder)[number];
const firstStep: Step = 'balanced';

/** The percentile must fit so many times, and a single delay so many. */
const headroom = 3;
const singleHeadroom = 2;
const percentile = 0.999;
/** About a minute of heartbeats at the shortest timing. */
const delaysKept = 2_048;
const lookEveryMs: Millis = 1_000;
/** Each time it had to be lengthened, the next attempt waits twice as long, up to this. */
const longestPatience = 32;

/** How much delay a timing bears before the agent lets go of the VIP. */
export function delayBorne(timing: Timing): Millis {
  return leaseMs(timing.promiseMs) - agentMarginMs - timing.heartbeatMs;
}

export class TimingChoice {
  readonly #limits: TimingLimits;
  #spec: TimingProfile | Timing;
  #step: Step = firstStep;
  #reason = 'where it begins';
  #changes = 0;
  /** The newest delays, in a ring. */
  readonly #delays = new Float64Array(delaysKept);
  #count = 0;
  #settledAt: Millis | null = null;
  #lookAt: Millis = Number.NEGATIVE_INFINITY;
  #patience = 1;

  constructor(spec: TimingProfile | Timing, limits: TimingLimits = defaultTimingLimits) {
    this.#spec = spec;
    this.#limits = limits;
  }

  get timing(): Timing {
    return timingOf(this.#isAuto ? this.#step : this.#spec);
  }

  setSpec(spec: TimingProfile | Timing): void {
    this.#spec = spec;
  }

  /** The leader asked for promises of `promiseMs`. Whether the timing is another one now. */
  heard(promiseMs: Millis): boolean {
    this.#count = 0;
    this.#settledAt = null;
    const step = ladder.find((each) => timingOf(each).promiseMs >= promiseMs) ?? 'wan';
    if (!this.#isAuto || step === this.#step) return false;
    return this.#go(step, 'as the leader chose');
  }

  /**
   * A quorum has echoed a round, when the one that it had echoed before was `ageMs` old. Whether
   * the timing is another one now.
   */
  proved(now: Millis, ageMs: Millis): boolean {
    const delayMs = Math.max(0, ageMs - this.timing.heartbeatMs);
    this.#delays[this.#count % delaysKept] = delayMs;
    this.#count += 1;
    this.#settledAt ??= now;
    if (!this.#isAuto) return false;
    if (delayMs * singleHeadroom > delayBorne(this.timing)) {
      return this.#lengthen(now, `the quorum answered ${inMs(delayMs)} late`);
    }
    if (now < this.#lookAt) return false;
    this.#lookAt = now + lookEveryMs;
    return this.#look(now);
  }

  /** A leader was deposed that turned out to live: the promises were too short. */
  deposedTheLiving(now: Millis): boolean {
    return this.#isAuto && this.#lengthen(now, 'a leader was deposed that lived');
  }

  view(): TimingView {
    const name = timingName(this.#spec);
    return {
      name: this.#isAuto ? `${name} (${this.#step})` : name,
      timing: this.timing,
      reason: this.#isAuto ? this.#reason : 'as the spec says',
      delayMs: this.#count === 0 ? null : this.#delay(),
      changes: this.#changes,
    };
  }

  get #isAuto(): boolean {
    return this.#spec === 'auto';
  }

  /** Of few delays the percentile is the longest: good enough not to shorten on, and no more. */
  #look(now: Millis): boolean {
    const delayMs = this.#delay();
    const measured = `answers of the quorum take ${inMs(delayMs)} (99.9 %)`;
    const isPercentile = this.#count * (1 - percentile) >= 1;
    if (isPercentile && delayMs * headroom > delayBorne(this.timing)) {
      return this.#lengthen(now, measured);
    }
    const shorter = ladder[ladder.indexOf(this.#step) - 1];
    this.#reason = measured;
    if (shorter === undefined || delayMs * headroom > delayBorne(timingOf(shorter))) return false;
    const settledMs = now - (this.#settledAt ?? now);
    const { shortenAfterMs, delaysNeeded } = this.#limits;
    if (this.#count < delaysNeeded || settledMs < shortenAfterMs * this.#patience) return false;
    this.#settledAt = now;
    return this.#go(shorter, measured);
  }

  #lengthen(now: Millis, reason: string): boolean {
    // Also where nothing longer is left: calm begins anew.
    this.#settledAt = now;
    const longer = ladder[ladder.indexOf(this.#step) + 1];
    if (longer === undefined) return false;
    this.#patience = Math.min(2 * this.#patience, longestPatience);
    return this.#go(longer, reason);
  }

  #go(step: Step, reason: string): true {
    this.#step = step;
    this.#reason = reason;
    this.#changes += 1;
    return true;
  }

  #delay(): Millis {
    const kept = this.#delays.slice(0, Math.min(this.#count, delaysKept)).sort();
    return kept[Math.ceil(percentile * kept.length) - 1] ?? 0;
  }
}

function inMs(delayMs: Millis): string {
  return `${delayMs.toFixed(1)} ms`;
}
