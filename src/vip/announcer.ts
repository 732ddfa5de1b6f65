/**
 * When to tell the link where a VIP is: at the claim, a few times over the next seconds, because a
 * frame may be lost and a switch may still be learning, and then slowly for ever, because caches
 * are. Only the schedule: it never sets a timer, and whoever sends checks first that the VIP is
 * still held.
 */
import type { Millis } from '../base/clock.ts';

/**
 * After the claim. The first ones cover what a client feels, the later ones a port that wakes up.
 */
const BURST_MS: readonly Millis[] = [0, 100, 500, 1000, 2000];
/** Below the shortest common cache lifetime (Linux asks again after 15–45 s). */
const REFRESH_MS: Millis = 10_000;

export class Announcer {
  #start: Millis;
  /** Announcements of this schedule made or skipped so far. */
  #passed = 0;

  constructor(claimedAt: Millis) {
    this.#start = claimedAt;
  }

  /** Begins anew: the address came back, or moved to another MAC. */
  restart(now: Millis): void {
    this.#start = now;
    this.#passed = 0;
  }

  /** When the next announcement is due. */
  nextDeadline(): Millis {
    return this.#start + offsetOf(this.#passed);
  }

  /** Whether to announce now. Several that are overdue count as one. */
  due(now: Millis): boolean {
    if (now < this.nextDeadline()) return false;
    while (now >= this.nextDeadline()) this.#passed++;
    return true;
  }
}

function offsetOf(announcement: number): Millis {
  const inBurst = BURST_MS[announcement];
  if (inBurst !== undefined) return inBurst;
  const last = BURST_MS.length - 1;
  return (BURST_MS[last] ?? 0) + (announcement - last) * REFRESH_MS;
}
