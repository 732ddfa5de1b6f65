/**
 * One place in the network, as a process: it serves, and it is a client. It is told what to do over
 * its IPC channel, each request with a number that its answer bears.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import * as net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { askHttp, openHttp, serveHttp } from './forwarder-http-station.ts';
import type { Answer } from './forwarder-suite.ts';

/** Connections that are under way at the same time. */
const AT_ONCE = Number(process.argv[2]);
/** Whether what is said is said in HTTP. */
const IN_HTTP = process.argv[3] === 'http';
/** Who has not been answered for so long is not going to be. */
const PATIENCE_MS = Number(process.argv[4]);

interface Target {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
}

const connections = new Map<number, net.Socket>();
let lastConnection = 0;

const actions = {
  /** Tells each client its name and the client's address and port, then echoes. */
  async serve({ name, port }: { name: string; port: number }): Promise<void> {
    const greeting = ({ remoteAddress, remotePort }: net.Socket): string =>
      `${name} ${plain(remoteAddress)} ${remotePort}\n`;
    if (IN_HTTP) return serveHttp(port, greeting);
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      socket.write(greeting(socket));
      socket.pipe(socket, { end: false });
      socket.on('end', () => socket.end('bye\n'));
    });
    const udp = createSocket({ type: 'udp6' });
    udp.on('message', (_, { address, port: to }) => {
      udp.send(`${name} ${plain(address)}\n`, to, address);
    });
    udp.bind(port);
    server.listen({ port, backlog: 1024 });
    await once(server, 'listening');
  },

  ask: (target: Target): Promise<Answer> => ask(target),

  async askMany(targets: readonly Target[]): Promise<Answer[]> {
    const answers: Answer[] = [];
    const next = targets.entries();
    const lane = async (): Promise<void> => {
      for (const [index, target] of next) answers[index] = await ask(target);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    return answers;
  },

  askUdp({ host, port }: Target): Promise<Answer> {
    const began = performance.now();
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const heard = new Promise<Answer>((resolve) => {
      socket.on('message', (line) => resolve(parse(String(line))));
      socket.on('error', (error) => resolve(failure(error, began)));
    });
    socket.connect(port, host, () => socket.send('who?'));
    const silence = delay(PATIENCE_MS, { silent: true } as const, { ref: false });
    return Promise.race([heard, silence]).finally(() => socket.close());
  },

  async open({ host, port }: Target): Promise<{ id: number; server: string }> {
    const socket = IN_HTTP
      ? await openHttp({ host, port })
      : net.connect({ host, port, allowHalfOpen: true });
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    const { server } = parse(await line(socket)) as { server: string };
    connections.set(++lastConnection, socket);
    return { id: lastConnection, server };
  },

  async echo({ id, text }: { id: number; text: string }): Promise<string> {
    const socket = connections.get(id);
    if (socket === undefined || socket.destroyed) return 'reset';
    const heard = line(socket);
    socket.write(`${text}\n`);
    return heard;
  },

  /** `reset` once the connection has ended without a word of ours; `silence` where it has not. */
  async ended({ id }: { id: number }): Promise<string> {
    const socket = connections.get(id);
    return socket === undefined || socket.destroyed ? 'reset' : line(socket);
  },

  async halfClose({ id }: { id: number }): Promise<string> {
    const socket = connections.get(id) as net.Socket;
    const heard = line(socket);
    socket.end();
    return heard;
  },

  close({ id }: { id: number }): void {
    connections.get(id)?.destroy();
    connections.delete(id);
  },
};

async function ask(target: Target): Promise<Answer> {
  const began = performance.now();
  if (IN_HTTP) {
    const outcome = await askHttp(target, PATIENCE_MS);
    if (outcome === null) return { silent: true };
    return 'said' in outcome ? parse(outcome.said) : failure(outcome.error, began);
  }
  return new Promise((resolve) => {
    const socket = net.connect({ ...target, timeout: PATIENCE_MS });
    const end = (answer: Answer): void => {
      resolve(answer);
      // No memory of it is left in either kernel: a test makes many.
      socket.resetAndDestroy();
    };
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => end(parse(text, socket.localPort)));
    socket.on('timeout', () => end({ silent: true }));
    socket.on('error', (error) => end(failure(error, began)));
  });
}

function failure({ code = '' }: NodeJS.ErrnoException, began: number): Answer {
  const isRefusal = code === 'ECONNREFUSED' || code === 'ECONNRESET';
  return isRefusal ? { refusedAfterMs: performance.now() - began } : { failed: code };
}

/** The next line; `reset` where the connection ends instead, `silence` where nothing comes. */
async function line(socket: net.Socket): Promise<string> {
  const heard = new Promise<string>((resolve) => {
    socket.once('data', (text: string) => resolve(text.trimEnd()));
    socket.once('error', () => resolve('reset'));
  });
  return Promise.race([heard, delay(PATIENCE_MS, 'silence', { ref: false })]);
}

/** @param localPort of the client, where the server tells which port it saw. */
function parse(text: string, localPort?: number): Answer {
  const [server = '', saw = '', port] = text.trim().split(' ');
  if (localPort === undefined) return { server, saw };
  return { server, saw, keptPort: Number(port) === localPort };
}

function plain(address = ''): string {
  return address.replace(/^::ffff:/, '');
}

type Action = keyof typeof actions;

process.on('message', async ([id, action, argument]: [number, Action, never]) => {
  process.send?.([id, await actions[action](argument)]);
});
process.on('disconnect', () => process.exit(0));
