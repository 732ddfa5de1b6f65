/** The program's end of a station: answers the test's requests, and ends when the test is gone. */
import { constants, setPriority } from 'node:os';
import type { StationMessage, StationRequest } from './station.ts';

export type Handlers = Readonly<Record<string, (argument: unknown) => unknown | Promise<unknown>>>;

/** The JSON configuration that the test handed over. */
export function stationConfig<T>(): T {
  return JSON.parse(process.argv[2] ?? 'null') as T;
}

/** `ready` is answered as soon as this is called, so call it when everything listens. */
export function serveStation(handlers: Handlers): void {
  process.on('message', (message) => void answer(message as StationRequest, handlers));
  process.on('disconnect', () => process.exit(0));
}

/** For instruments: what they measure must not be their own waiting for a processor. */
export function takePrecedence(): void {
  try {
    setPriority(constants.priority.PRIORITY_HIGHEST);
  } catch {
    // A container may forbid it; then a busy machine blurs the measurement, and no more.
  }
}

export function sendEvent(name: string, value: unknown): void {
  send({ kind: 'event', name, value });
}

async function answer({ id, verb, argument }: StationRequest, handlers: Handlers): Promise<void> {
  try {
    const handler = verb === 'ready' ? () => null : handlers[verb];
    if (handler === undefined) throw new Error(`no such verb: ${verb}`);
    send({ kind: 'reply', id, value: await handler(argument) });
  } catch (error) {
    send({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) });
  }
}

function send(message: StationMessage): void {
  if (process.connected) process.send?.(message);
}
