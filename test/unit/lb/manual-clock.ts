/** Time that advances by hand: timers run in their order, each at its own instant. */
import type { Clock, Millis, Timer } from '../../../src/base/clock.ts';

export class ManualClock implements Clock {
  #now: Millis = 0;
  readonly #timers = new Set<{ readonly at: Millis; readonly run: () => void }>();

  now(): Millis {
    return this.#now;
  }

  wallNow(): Millis {
    return 1_700_000_000_000 + this.#now;
  }

  after(delayMs: Millis, callback: () => void): Timer {
    const timer = { at: this.#now + Math.max(0, delayMs), run: callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Runs what is due within the next `ms`, promises included. */
  async advance(ms: Millis): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = due.at;
      due.run();
      await settled();
    }
    this.#now = end;
  }
}

/** Resolves when every promise that can go on by itself has done so. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
