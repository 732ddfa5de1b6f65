/**
 * Keeps the redirects from the VIPs to the proxies standing: declares them when they change, again
 * after a failure, and now and then in any case, because other programs flush rules that are not
 * theirs.
 */
import { type BackoffOptions, backoff } from '../base/backoff.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { Redirect, Steering } from './ports.ts';

export interface SteererParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly steering: Steering;
  /** {@link Steerer.error} changed. */
  readonly onChange: () => void;
}

const RETRY: BackoffOptions = { firstMs: 100, maxMs: 5_000, factor: 2 };
/** Redirects that somebody else removed are back after this time. */
const REASSERT_MS: Millis = 5_000;

export class Steerer {
  readonly #parts: SteererParts;
  /**
   * Null until the first wish, which is declared even if it is empty: a former agent may have left
   * some.
   */
  #wanted: readonly Redirect[] | null = null;
  #running: Promise<void> | null = null;
  #timer: Timer | null = null;
  #delays: Generator<Millis, never>;
  #error: string | null = null;
  #failures = 0;
  #stopped = false;

  constructor(parts: SteererParts) {
    this.#parts = parts;
    this.#delays = backoff(RETRY, parts.random);
  }

  /** Why the redirects do not stand, or null. */
  get error(): string | null {
    return this.#error;
  }

  /** Calls that failed, ever. */
  get failures(): number {
    return this.#failures;
  }

  /** Makes these, and only these, redirects stand, sooner or later. */
  want(redirects: readonly Redirect[]): void {
    if (this.#wanted !== null && sameRedirects(this.#wanted, redirects)) return;
    this.#wanted = redirects;
    this.#go();
  }

  /** Removes every redirect; rejects when that failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
    await this.#parts.steering.clear();
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
  async #declare(redirects: readonly Redirect[]): Promise<Millis | null> {
    try {
      await this.#parts.steering.set(redirects);
    } catch (error) {
      this.#failures++;
      this.#report(describeError(error));
      return this.#delays.next().value;
    }
    this.#delays = backoff(RETRY, this.#parts.random);
    this.#report(null);
    // The wish may have changed meanwhile.
    if (this.#wanted !== redirects) return 0;
    return redirects.length > 0 ? REASSERT_MS : null;
  }

  #report(error: string | null): void {
    if (error === this.#error) return;
    // A failure may change its words from one attempt to the next; only its begin and end are
    // logged.
    if (this.#error === null) this.#parts.log.warn('lb.not-steered', { reason: error });
    else if (error === null) this.#parts.log.info('lb.steered');
    this.#error = error;
    this.#parts.onChange();
  }
}

function sameRedirects(left: readonly Redirect[], right: readonly Redirect[]): boolean {
  if (left.length !== right.length) return false;
  return left.every((redirect, index) => {
    const other = right[index];
    return (
      other !== undefined &&
      redirect.address === other.address &&
      redirect.port === other.port &&
      redirect.protocol === other.protocol &&
      redirect.toPort === other.toPort
    );
  });
}
