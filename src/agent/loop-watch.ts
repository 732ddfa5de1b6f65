/**
 * Says in the log when the event loop runs so late that it eats into the lease: an agent that turns
 * too slowly loses the VIP to its own fence, and the reason is on this host and nowhere else.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';

export interface LoopWatchParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** How much of the lease may pass without a turn before the VIP has to go. */
  readonly spareMs: () => Millis;
  /** The longest delay since the last call; the real loop's unless a test brings its own. */
  readonly longestMs?: () => Millis;
}

const LOOK_EVERY_MS: Millis = 1_000;
/** Ticks of the probe: with them a delay is known to so many ms, for 0.14 % of a core. */
const PROBE_MS = 50;
/** A turn that takes more than this share of what there is to spare is told. */
const SHARE = 0.5;
/** Under lasting load one line in so long is enough; the metric has the rest. */
const QUIET_MS: Millis = 10_000;

/** Looks each second until closed. */
export function watchLoop(parts: LoopWatchParts): { close(): void } {
  const { clock, log, spareMs } = parts;
  const probe = parts.longestMs === undefined ? loopProbe() : null;
  const longestMs = parts.longestMs ?? probe?.longestMs ?? (() => 0);
  let saidAt = Number.NEGATIVE_INFINITY;
  let dueAt = 0;
  let postponed = false;
  let timer: Timer | null = null;
  const wait = (delayMs: Millis): void => {
    dueAt = clock.now() + delayMs;
    timer = clock.after(delayMs, look);
  };
  const look = (): void => {
    // A late turn may begin with this very timer: then the probe's tick is still to come.
    postponed = !postponed && clock.now() - dueAt > PROBE_MS / 2;
    wait(postponed ? 2 * PROBE_MS : LOOK_EVERY_MS);
    if (postponed) return;
    const delayMs = Math.round(longestMs());
    const spare = Math.round(spareMs());
    if (delayMs < spare * SHARE || clock.now() - saidAt < QUIET_MS) return;
    saidAt = clock.now();
    log.warn('agent.loop-late', { delayMs, leaseSpareMs: spare });
  };
  wait(LOOK_EVERY_MS);
  return {
    close: () => {
      timer?.cancel();
      probe?.close();
    },
  };
}

function loopProbe(): { longestMs(): Millis; close(): void } {
  const histogram = monitorEventLoopDelay({ resolution: PROBE_MS });
  histogram.enable();
  return {
    longestMs: () => {
      // The histogram holds the time from tick to tick.
      const lateMs = histogram.max / 1e6 - PROBE_MS;
      histogram.reset();
      return Math.max(0, lateMs);
    },
    close: () => histogram.disable(),
  };
}
