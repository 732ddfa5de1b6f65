/**
 * Timeouts that are fair after a pause. When this process was busy or stopped, its timers fire
 * before it reads what arrived meanwhile; a plain timer would then blame the peer for our own
 * absence.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';

/**
 * Runs `callback` `delayMs` from now, and not before the event loop has once more read what has
 * come: a timer that is set while timers run has its turn after the next reading.
 */
export function afterReading(clock: Clock, delayMs: Millis, callback: () => void): Timer {
  let timer = clock.after(delayMs, () => {
    timer = clock.after(1, callback);
  });
  return { cancel: () => timer.cancel() };
}
