/**
 * Keeps something standing in the kernel: declares it when the wish changes, again after a failure,
 * and now and then in any case, because other programs flush rules that are not theirs.
 */
import { type BackoffOptions, backoff } from '../base/backoff.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';

export interface UpkeepParts<T> {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  /** What the log calls the begin and the end of a failure. */
  readonly events: { readonly failed: string; readonly again: string };
  /** Makes these, and only these, stand; idempotent. */
  readonly declare: (wish: readonly T[]) => Promise<void>;
  /** Removes every trace. */
  readonly clear: () => Promise<void>;
  /** {@link Upkeep.error} changed. */
  readonly onChange: () => void;
}

const RETRY: BackoffOptions = { firstMs: 100, maxMs: 5_000, factor: 2 };
/** What somebody else removed is back after this time, if nothing tells of it sooner. */
const REASSERT_MS: Millis = 5_000;

export class Upkeep<T> {
  readonly #parts: UpkeepParts<T>;
  /**
   * Null until the first wish, which is declared even if it is empty: a former agent may have left
   * something.
   */
  #wanted: readonly T[] | null = null;
  /** As text, which is how two wishes are compared. */
  #wantedText = '';
  #running: Promise<void> | null = null;
  #timer: Timer | null = null;
  #delays: Generator<Millis, never>;
  #error: string | null = null;
  #failures = 0;
  #stopped = false;

  constructor(parts: UpkeepParts<T>) {
    this.#parts = parts;
    this.#delays = backoff(RETRY, parts.random);
  }

  /** Why the wish does not stand, or null. */
  get error(): string | null {
    return this.#error;
  }

  /** Calls that failed, ever. */
  get failures(): number {
    return this.#failures;
  }

  /** Makes these, and only these, stand, sooner or later; whether that is a new wish. */
  want(wish: readonly T[]): boolean {
    const text = JSON.stringify(wish);
    if (this.#wanted !== null && text === this.#wantedText) return false;
    this.#wanted = wish;
    this.#wantedText = text;
    this.#go();
    return true;
  }

  /** Something may have been removed. */
  look(): void {
    if (this.#error === null) this.#go();
  }

  /** Resolves when what is under way has ended. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  /** Removes everything; rejects when that failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    await this.#parts.clear();
  }

  #go(): void {
    if (this.#stopped || this.#running !== null || this.#wanted === null) return;
    this.#timer?.cancel();
    this.#running = this.#declare(this.#wanted).then((nextMs) => {
      this.#running = null;
      if (this.#stopped || nextMs === null) return;
      this.#timer = this.#parts.clock.after(nextMs, () => this.#go());
    });
  }

  /** One attempt; resolves to the time until the next, null for none before the next wish. */
  async #declare(wish: readonly T[]): Promise<Millis | null> {
    try {
      await this.#parts.declare(wish);
    } catch (error) {
      this.#failures++;
      this.#report(describeError(error));
      return this.#delays.next().value;
    }
    this.#delays = backoff(RETRY, this.#parts.random);
    this.#report(null);
    // The wish may have changed meanwhile.
    if (this.#wanted !== wish) return 0;
    return wish.length > 0 ? REASSERT_MS : null;
  }

  #report(error: string | null): void {
    if (error === this.#error) return;
    const { log, events } = this.#parts;
    // A failure may change its words from one attempt to the next; only its begin and end are
    // logged.
    if (this.#error === null) log.warn(events.failed, { reason: error });
    else if (error === null) log.info(events.again);
    this.#error = error;
    this.#parts.onChange();
  }
}
