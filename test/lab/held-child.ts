/**
 * Connections that are held open and say nothing until they are told to: `speak` sends a line on
 * each and tells what came of it.
 */
import { connect, type Socket } from 'node:net';
import { lasting, monotonicMs } from './clock.ts';
import { serveStation, stationConfig, takePrecedence } from './station-child.ts';

export interface HeldConfig {
  readonly address: string;
  readonly port: number;
  readonly count: number;
}

export interface HeldReport {
  readonly open: number;
  /** How many ended, by the server that served them and the reason: `n1 ECONNRESET`. */
  readonly ends: Readonly<Record<string, number>>;
}

export interface SpeakReport {
  readonly answered: number;
  /** By reason: `ECONNRESET`, `end`, … */
  readonly ended: Readonly<Record<string, number>>;
  /** Neither answered nor ended in time. */
  readonly silent: number;
  /** From the line to its answer or end. */
  readonly slowestMs: number;
}

interface Held {
  readonly socket: Socket;
  readonly server: string;
  /** Told what comes next: an answer, or the reason of the end. */
  hear: (what: string) => void;
}

const openAtOnce = 50;
const retryAfterMs = 100;
const config = stationConfig<HeldConfig>();
const held = new Set<Held>();
const ends: Record<string, number> = {};
const answer = 'answer';

/** Held is what has been served once; until then it is tried again, as any client would. */
async function open(): Promise<void> {
  while (!(await attempt())) await lasting(retryAfterMs);
}

function attempt(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: config.address, port: config.port, noDelay: true });
    let each: Held | null = null;
    let reason = 'end';
    socket.on('connect', () => socket.write('echo\n'));
    socket.on('data', (chunk) => {
      if (each !== null) {
        each.hear(answer);
        return;
      }
      each = { socket, server: chunk.toString().trim(), hear: () => undefined };
      held.add(each);
      resolve(true);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.code ?? error.message;
    });
    socket.on('close', () => {
      if (each === null) {
        resolve(false);
        return;
      }
      held.delete(each);
      const key = `${each.server} ${reason}`;
      ends[key] = (ends[key] ?? 0) + 1;
      each.hear(reason);
    });
  });
}

async function speak(waitMs: number): Promise<SpeakReport> {
  let slowestMs = 0;
  let answered = 0;
  let silent = 0;
  const ended: Record<string, number> = {};
  await Promise.all(
    [...held].map(async (each) => {
      const { promise, resolve } = Promise.withResolvers<string | null>();
      const timer = setTimeout(() => resolve(null), waitMs);
      each.hear = resolve;
      const said = monotonicMs();
      each.socket.write('?\n');
      const heard = await promise;
      clearTimeout(timer);
      each.hear = () => undefined;
      if (heard === null) silent += 1;
      else slowestMs = Math.max(slowestMs, monotonicMs() - said);
      if (heard === answer) answered += 1;
      else if (heard !== null) ended[heard] = (ended[heard] ?? 0) + 1;
    }),
  );
  return { answered, ended, silent, slowestMs };
}

takePrecedence();
for (let left = config.count; left > 0; left -= openAtOnce) {
  await Promise.all(Array.from({ length: Math.min(left, openAtOnce) }, open));
}
serveStation({
  speak: (waitMs) => speak(waitMs as number),
  report: (): HeldReport => ({ open: held.size, ends }),
});
