/**
 * One timer for one deadline that moves all the time. After a stall the timers of an event loop run
 * before its sockets are read, so a late timer first lets what lies there unread be handled: else
 * an election would start although the leader's heartbeats had arrived.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';

/** A timer this late means that the loop stood still. */
const lateMs: Millis = 10;

export interface DeadlineEvents {
  /** The loop stood still: look at what may have run out, and do nothing else yet. */
  readonly late: () => void;
  /** The deadline, or an earlier one, has come; {@link DeadlineTimer.arm} again. */
  readonly due: () => void;
}

export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #yieldToIo: (callback: () => void) => void;
  readonly #events: DeadlineEvents;
  #armed: { readonly handle: Timer; readonly at: Millis } | null = null;
  #yielding = false;
  #closed = false;

  constructor(clock: Clock, yieldToIo: (callback: () => void) => void, events: DeadlineEvents) {
    this.#clock = clock;
    this.#yieldToIo = yieldToIo;
    this.#events = events;
  }

  /** Sees to it that a timer stands, not later than `at`; Infinity for never. */
  arm(at: Millis): void {
    if (this.#closed || this.#yielding) return;
    if (this.#armed !== null) {
      // An early timer looks again; else each heartbeat would make a new one.
      if (this.#armed.at <= at) return;
      this.#armed.handle.cancel();
      this.#armed = null;
    }
    if (at === Number.POSITIVE_INFINITY) return;
    const handle = this.#clock.after(at - this.#clock.now(), () => this.#fired(at));
    this.#armed = { handle, at };
  }

  close(): void {
    this.#closed = true;
    this.#armed?.handle.cancel();
  }

  #fired(at: Millis): void {
    this.#armed = null;
    if (this.#closed) return;
    if (this.#clock.now() - at <= lateMs) {
      this.#events.due();
      return;
    }
    this.#events.late();
    this.#yielding = true;
    this.#yieldToIo(() => {
      this.#yielding = false;
      if (!this.#closed) this.#events.due();
    });
  }
}
