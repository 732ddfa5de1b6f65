/**
 * The one clock of the lab: CLOCK_MONOTONIC in milliseconds, which every process of this machine
 * shares, so that instants taken in different processes may be compared.
 */

export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Waits `delayMs`: only for durations that are themselves part of a scenario. */
export function lasting(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

export interface WaitOptions {
  readonly timeoutMs: number;
  /** Pause between two looks; default 50. */
  readonly everyMs?: number;
  /** Said when it did not happen. */
  readonly what: string;
}

/**
 * Looks again and again until `look` returns something other than undefined or false, which is
 * returned. An error of `look` counts as "not yet" and is told when the time is up.
 */
export async function until<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs, everyMs = 50, what }: WaitOptions,
): Promise<T> {
  const deadline = monotonicMs() + timeoutMs;
  let last: unknown = 'never';
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      last = 'not yet';
    } catch (error) {
      last = error;
    }
    if (monotonicMs() >= deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}`, { cause: last });
    }
    await lasting(everyMs);
  }
}
