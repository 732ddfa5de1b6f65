/** What the core has handed out and the disk has not acknowledged yet, oldest first. */
import type { Millis } from '../base/clock.ts';
import type { Message } from '../raft/message.ts';
import type { Snapshot } from '../raft/types.ts';

/** A Ready whose write is under way. */
export interface Outstanding {
  /** Whether the log grows by it. */
  readonly appends: boolean;
  readonly afterAppend: readonly Message[];
  readonly snapshot: Snapshot | undefined;
  readonly since: Millis;
  /** Readys like this one that followed at once and asked for nothing. */
  repeats: number;
  durable: boolean;
}

export class UnderWay {
  readonly #outstanding: Outstanding[] = [];

  add(outstanding: Outstanding): void {
    const newest = this.#outstanding.at(-1);
    // While the disk stands still, heartbeats go on: they must not pile up.
    if (newest !== undefined && asksNothing(newest) && asksNothing(outstanding)) newest.repeats++;
    else this.#outstanding.push(outstanding);
  }

  /** The oldest, if it is durable by now; null where there is nothing to go on with. */
  take(): Outstanding | null {
    return this.#outstanding[0]?.durable ? (this.#outstanding.shift() ?? null) : null;
  }

  /** How many writes of log entries the disk has been given and not done. */
  appends(): number {
    return this.#outstanding.filter(({ appends, durable }) => appends && !durable).length;
  }

  /** Since when the oldest waits; null where nothing does. */
  oldestAt(): Millis | null {
    return this.#outstanding[0]?.since ?? null;
  }
}

/** Nothing of it rests on the disk, but those before it do. */
function asksNothing({ appends, afterAppend, snapshot, durable }: Outstanding): boolean {
  return durable && !appends && afterAppend.length === 0 && snapshot === undefined;
}
