/** Starts the carrier's thread in this process. */
import { Worker } from 'node:worker_threads';
import { describeError } from '../base/errors.ts';
import { Wakeup } from '../linux/wakeup.ts';
import type { CarrierThread, CarrierThreadData } from './carrier-link.ts';
import type { FromCarrier } from './carrier-protocol.ts';

export interface CarrierOptions {
  /** Clients that all lanes together may hold; above that the answer is a reset at once. */
  readonly maxConnections: number;
  /** The thread has ended by itself, and every connection with it. */
  readonly onEnd: (reason: string) => void;
}

export function startCarrier({ maxConnections, onEnd }: CarrierOptions): CarrierThread {
  const wakeup = new Wakeup();
  const workerData: CarrierThreadData = { wakeup: wakeup.ends, maxConnections };
  const thread = new Worker(entry(), { workerData });
  let isAsked = false;
  thread.on('error', (error) => onEnd(describeError(error)));
  thread.on('exit', () => {
    wakeup.close();
    if (!isAsked) onEnd('it stopped');
  });
  return {
    post(message) {
      if (isAsked) return;
      isAsked = message.kind === 'end';
      thread.postMessage(message);
      wakeup.ring();
    },
    onMessage: (listener) => void thread.on('message', (raw: FromCarrier) => listener(raw)),
  };
}

/** Built, the thread's program lies beside this one; in the source tree it is in this room. */
function entry(): URL {
  const path = import.meta.url.endsWith('.ts') ? './carrier-thread.ts' : './carrier.js';
  return new URL(path, import.meta.url);
}
