/**
 * The carrier thread as the worker's main thread sees it: lanes that are told whom to serve, and
 * tell how it goes. What is told takes effect before any client that comes later is looked at.
 */
import { assert } from '../base/assert.ts';
import type { FromCarrier, ToCarrier } from './carrier-protocol.ts';
import type { Lane, LaneEvents } from './lane.ts';
import type { Fd } from './sockets.ts';

/** What the thread is started with. */
export interface CarrierThreadData {
  /** Of linux/wakeup.ts. */
  readonly wakeup: { readonly fd: Fd; readonly rung: SharedArrayBuffer };
  readonly maxConnections: number;
}

/** A thread that runs the carrier, and the way to it. */
export interface CarrierThread {
  post(message: ToCarrier): void;
  onMessage(listener: (message: FromCarrier) => void): void;
}

export class CarrierLink {
  readonly #thread: CarrierThread;
  readonly #lanes = new Map<number, LaneEvents>();
  #lastId = 0;

  constructor(thread: CarrierThread) {
    this.#thread = thread;
    thread.onMessage((message) => this.#heard(message));
  }

  createLane(events: LaneEvents): Lane {
    const lane = ++this.#lastId;
    this.#lanes.set(lane, events);
    let isPlanned = false;
    let isLeft = false;
    const post = (message: ToCarrier): void => {
      assert(isPlanned, 'a lane begins with a plan');
      this.#thread.post(message);
    };
    return {
      plan: (plan) => {
        isPlanned = true;
        post({ kind: 'plan', lane, plan });
      },
      open: (door) => post({ kind: 'open', lane, door }),
      shut: () => post({ kind: 'shut', lane }),
      resetClients: () => post({ kind: 'reset', lane }),
      sever: (backend) => post({ kind: 'sever', lane, backend }),
      leave: () => {
        if (!isLeft) post({ kind: 'leave', lane });
        isLeft = true;
      },
    };
  }

  /** Ends the thread, and with it every connection. */
  close(): void {
    this.#thread.post({ kind: 'end' });
  }

  #heard(message: FromCarrier): void {
    const events = this.#lanes.get(message.lane);
    if (message.kind === 'failed') events?.failed(message.backend, message.failure);
    else events?.counted(message.counts);
  }
}
