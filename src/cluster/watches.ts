/** Callers who wait until what they see satisfies them, for a limited time. */
import type { Clock, Timer } from '../base/clock.ts';
import { nodeStopped } from './refusals.ts';

interface Watch<View> {
  /** Settles the caller if `view` decides; true if it did. */
  readonly check: (view: View) => boolean;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
}

export class Watches<View> {
  readonly #clock: Clock;
  readonly #open = new Set<Watch<View>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Resolves with the first answer of `test` that is not undefined; rejects with what it throws, or
   * with `tooLate` when the time is up.
   */
  add<T>(timeoutMs: number, tooLate: () => Error, test: (view: View) => T | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const check = (view: View): boolean => {
        try {
          const answer = test(view);
          if (answer === undefined) return false;
          resolve(answer);
        } catch (error) {
          reject(error);
        }
        return true;
      };
      const timer = this.#clock.after(timeoutMs, () => {
        this.#open.delete(watch);
        reject(tooLate());
      });
      const watch: Watch<View> = { check, reject, timer };
      this.#open.add(watch);
    });
  }

  check(view: View): void {
    for (const watch of this.#open) {
      if (!watch.check(view)) continue;
      this.#open.delete(watch);
      watch.timer.cancel();
    }
  }

  stop(): void {
    for (const watch of this.#open) {
      watch.timer.cancel();
      watch.reject(nodeStopped());
    }
    this.#open.clear();
  }
}
