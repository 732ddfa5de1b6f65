/** Retry policy as data: how long to wait before each attempt. Whoever retries does the waiting. */
import type { Millis } from './clock.ts';
import type { Prng } from './prng.ts';

export interface BackoffOptions {
  readonly firstMs: Millis;
  readonly maxMs: Millis;
  /** Growth per attempt. */
  readonly factor: number;
}

/**
 * Endless delays that grow to `maxMs`, each shortened by up to a quarter so that peers spread out.
 */
export function* backoff(options: BackoffOptions, random: Prng): Generator<Millis, never> {
  let delayMs = options.firstMs;
  for (;;) {
    yield delayMs * (1 - random() / 4);
    delayMs = Math.min(options.maxMs, delayMs * options.factor);
  }
}
