/**
 * The program of a worker's second thread: carries connections and does nothing else. It sleeps in
 * the kernel until a socket or the other thread wants something; it has no event loop of Node's.
 */
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from 'node:worker_threads';
import { defined, unreachable } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { createStreamSockets } from '../linux/stream-sockets.ts';
import { Wakeup } from '../linux/wakeup.ts';
import { Carrier } from './carrier.ts';
import type { CarrierThreadData } from './carrier-link.ts';
import type { ToCarrier } from './carrier-protocol.ts';

/** Nothing needs it: whoever wants something wakes the thread. */
const MAX_SLEEP_MS = 60_000;

function main(port: MessagePort, { wakeup: ends, maxConnections }: CarrierThreadData): void {
  const sockets = createStreamSockets();
  const poller = sockets.createPoller();
  const wakeup = new Wakeup(ends);
  poller.watchDoor(ends.fd, 0);
  const carrier = new Carrier(poller, {
    clock: systemClock(),
    sockets,
    maxConnections,
    tell: (message) => port.postMessage(message),
    woken: () => wakeup.note(),
  });
  const obey = (message: ToCarrier): boolean => {
    switch (message.kind) {
      case 'plan':
        carrier.plan(message.lane, message.plan);
        return true;
      case 'open':
        carrier.open(message.lane, message.door);
        return true;
      case 'shut':
        carrier.shut(message.lane);
        return true;
      case 'reset':
        carrier.reset(message.lane);
        return true;
      case 'sever':
        carrier.sever(message.lane, message.backend);
        return true;
      case 'leave':
        carrier.leave(message.lane);
        return true;
      case 'end':
        carrier.close();
        poller.close();
        return false;
      default:
        return unreachable(message);
    }
  };
  for (;;) {
    // Before any client is looked at: what was decided before it came counts for it.
    let next = wakeup.rang() ? receiveMessageOnPort(port) : undefined;
    while (next !== undefined) {
      if (!obey(next.message as ToCarrier)) return;
      next = receiveMessageOnPort(port);
    }
    carrier.turn(MAX_SLEEP_MS);
  }
}

main(defined(parentPort, 'the other thread') as MessagePort, workerData as CarrierThreadData);
