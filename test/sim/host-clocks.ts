/**
 * A host's clocks: the one that the program counts on, the kernel's, which time daemons slew, and
 * the wall clock, which anybody may set. A reboot begins new ones.
 */
import type { Millis } from '../../src/base/clock.ts';
import type { Prng } from '../../src/base/prng.ts';
import { DriftClock } from './clock.ts';
import type { World } from './world.ts';

/** NTP daemons slew the kernel's clock by at most this much; the raw one is never slewed. */
const SLEW_BOUND = 0.08;
/** Rates that no clock may have where promises are to hold. */
const WILD_DRIFT = 0.6;

export class HostClocks {
  readonly #world: World;
  readonly #random: Prng;
  readonly #drift: number;
  #raw: DriftClock;
  #wallOffset: Millis = 0;

  /** @param drift how much the rates are wrong at most. */
  constructor(world: World, random: Prng, drift: number) {
    this.#world = world;
    this.#random = random;
    this.#drift = drift;
    this.#raw = this.#newRaw();
  }

  get raw(): DriftClock {
    return this.#raw;
  }

  /** How far the wall clock is off. */
  get wallOffset(): Millis {
    return this.#wallOffset;
  }

  reboot(): void {
    this.#raw = this.#newRaw();
  }

  /** A kernel's clock since its start, at the rate of this host's crystal as somebody slews it. */
  newMono(): DriftClock {
    return new DriftClock(this.#world.now, this.#random() * 1e6, this.#raw.rate * this.#slew());
  }

  /** Another rate, within the bound or far beyond it; returns the kernel clock's new one. */
  changeRate(wild: boolean): Millis {
    const rate = wild ? 1 + (2 * this.#random() - 1) * WILD_DRIFT : this.#rate();
    this.#raw.setRate(this.#world.now, rate);
    return rate * this.#slew();
  }

  jumpWall(ms: Millis): void {
    this.#wallOffset += ms;
  }

  #newRaw(): DriftClock {
    return new DriftClock(this.#world.now, 1_000 + this.#random() * 1e6, this.#rate());
  }

  #rate(): number {
    return 1 + (2 * this.#random() - 1) * this.#drift;
  }

  #slew(): number {
    return this.#drift === 0 ? 1 : 1 + (2 * this.#random() - 1) * SLEW_BOUND;
  }
}
