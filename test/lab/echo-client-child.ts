/** Clients of the lab that stay: connections that are held, and flows of datagrams. */
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import * as net from 'node:net';
import { serveStation } from './station-child.ts';

export interface Target {
  readonly address: string;
  readonly port: number;
}

export interface Held {
  readonly open: number;
  /** By the code of the error, or `end`. */
  readonly ended: Readonly<Record<string, number>>;
}

/** Nobody waits longer for an answer that does not come. */
const patienceMs = 5_000;
const held = new Set<net.Socket>();
const ended: Record<string, number> = {};

async function connect({ address, port }: Target): Promise<net.Socket> {
  const socket = net.connect({ host: address, port, allowHalfOpen: true });
  socket.setEncoding('utf8');
  await once(socket, 'connect');
  held.add(socket);
  const gone = (how: string): void => {
    if (held.delete(socket)) ended[how] = (ended[how] ?? 0) + 1;
    socket.destroy();
  };
  socket.on('error', (error: NodeJS.ErrnoException) => gone(error.code ?? error.message));
  socket.on('close', () => gone('end'));
  return socket;
}

/** Says `line` and waits for the answer to it; empty where there is none. */
async function ask(socket: net.Socket, line: string): Promise<string> {
  const answer = once(socket, 'data', { signal: AbortSignal.timeout(patienceMs) });
  socket.write(`${line}\n`);
  return answer.then(([text]) => String(text).trim()).catch(() => '');
}

async function hold(target: Target, count: number): Promise<string[]> {
  const sockets: net.Socket[] = [];
  for (let i = 0; i < count; i++) {
    const socket = await connect(target);
    socket.on('end', () => socket.destroy());
    sockets.push(socket);
  }
  return Promise.all(sockets.map((socket) => ask(socket, 'hello')));
}

async function halfClose(target: Target): Promise<string> {
  const socket = await connect(target);
  let text = '';
  socket.on('data', (chunk: string) => {
    text += chunk;
  });
  socket.end('last words\n');
  await once(socket, 'end', { signal: AbortSignal.timeout(patienceMs) });
  return text;
}

/** Two datagrams from each of `flows` sockets; one line `first | second` for each. */
async function datagrams({ address, port }: Target, flows: number): Promise<string[]> {
  const lines: string[] = [];
  for (let i = 0; i < flows; i++) {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    // Connected: an answer from anywhere else would not be heard.
    socket.connect(port, address);
    await once(socket, 'connect');
    const answers: string[] = [];
    for (const text of ['one', 'two']) {
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(patienceMs) });
      socket.send(text);
      answers.push(await answer.then(([bytes]) => String(bytes)).catch((error) => error.code));
    }
    lines.push(answers.join(' | '));
    socket.close();
  }
  return lines;
}

serveStation({
  hold: (argument) => {
    const { target, count } = argument as { target: Target; count: number };
    return hold(target, count);
  },
  held: (): Held => ({ open: held.size, ended }),
  /** What every held connection answers now. */
  askAll: () => Promise.all([...held].map((socket) => ask(socket, 'again'))),
  halfClose: (argument) => halfClose(argument as Target),
  datagrams: (argument) => {
    const { target, flows } = argument as { target: Target; flows: number };
    return datagrams(target, flows);
  },
});
