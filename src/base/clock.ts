/**
 * Time as an argument. Everything that waits or compares instants takes a {@link Clock}, so that a
 * test or the simulator can be the clock. Instants are milliseconds (fractions allowed) on one
 * monotonic axis with an arbitrary origin; they mean nothing to another process.
 */

/** A duration or a monotonic instant, in milliseconds. */
export type Millis = number;

/** A pending callback; cancelling twice, or after it ran, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** The present instant, read anew at each call (never a cached loop time: LEASE, "f"). */
  now(): Millis;
  /**
   * Wall-clock time in ms since 1970, for people and certificates only; never compared with `now`.
   */
  wallNow(): Millis;
  /** Runs `callback` once, `delayMs` from now (not before; perhaps later). */
  after(delayMs: Millis, callback: () => void): Timer;
}

/**
 * The clock of this machine.
 *
 * @param now the monotonic source; the agent plugs in CLOCK_MONOTONIC_RAW, which NTP does not slew.
 */
export function systemClock(now: () => Millis = () => performance.now()): Clock {
  return {
    now,
    wallNow: () => Date.now(),
    after(delayMs, callback) {
      const handle = setTimeout(callback, Math.max(0, delayMs));
      return { cancel: () => clearTimeout(handle) };
    },
  };
}

/** Resolves `delayMs` from now on `clock`. */
export function sleep(clock: Clock, delayMs: Millis): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}
