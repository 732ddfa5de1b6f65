/**
 * A stand-in API server. On one port, [::]:6443 as the real one, it speaks HTTPS (/readyz, /livez,
 * /whoami, /stream) and, to a client that does not begin with a TLS handshake, a line protocol that
 * costs next to nothing:
 *
 *     whoami\n  → the server's name, then the end
 *     stream\n  → a line every 100 ms for as long as the client stays
 *     sum\n…EOF → how many bytes came before the client's end (for half-closed connections)
 *     echo\n    → the server's name, now and for each further line; silence in between
 *     flood\n   → bytes without end, as fast as they are taken
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Socket } from 'node:net';
import { serveStation, stationConfig } from './station-child.ts';

export interface ApiServerConfig {
  readonly name: string;
  readonly port: number;
  readonly certificate: string;
  readonly key: string;
}

/**
 * `ok`; a number: what the HTTPS endpoints answer; `slow`: they take 5 s; `flap`: every second
 * answer to the same asker is 500; `hang`: takes connections and never answers; `refuse`: does not
 * listen; `deaf`: does not listen, but serves the connections that it has. The line protocol goes
 * on in all numeric modes, and while the endpoints are slow or flap.
 */
export type ApiServerMode = 'ok' | 401 | 403 | 500 | 'slow' | 'flap' | 'hang' | 'refuse' | 'deaf';

const streamEveryMs = 100;
const slowAnswerMs = 5_000;
const floodChunk = Buffer.alloc(64 * 1_024, 'f');
const tlsHandshakeByte = 0x16;

const config = stationConfig<ApiServerConfig>();
const sockets = new Set<Socket>();
let mode: ApiServerMode = 'ok';
let accepted = 0;
let floodedBytes = 0;
/** How often each asker has asked for each URL. */
const asked = new Map<string, number>();

const https = createHttpsServer({ cert: config.certificate, key: config.key }, respond);
https.on('tlsClientError', () => undefined);

const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  accepted += 1;
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => socket.destroy());
  if (mode === 'hang') return;
  socket.once('readable', () => {
    const first = socket.read() as Buffer | null;
    if (first === null) {
      socket.end();
      return;
    }
    if (first[0] === tlsHandshakeByte) {
      socket.unshift(first);
      socket.allowHalfOpen = false;
      https.emit('connection', socket);
      return;
    }
    converse(socket, first);
  });
});

function converse(socket: Socket, first: Buffer): void {
  const line = first.subarray(0, first.indexOf(10)).toString('latin1');
  if (line === 'whoami') {
    socket.resume();
    socket.end(`${config.name}\n`);
  } else if (line === 'stream') {
    socket.resume();
    stream(socket);
    socket.on('end', () => socket.end());
  } else if (line === 'sum') {
    let bytes = first.length - 4;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.on('end', () => socket.end(`${bytes}\n`));
  } else if (line === 'echo') {
    socket.write(`${config.name}\n`);
    socket.on('data', (chunk) => {
      for (const byte of chunk) if (byte === 10) socket.write(`${config.name}\n`);
    });
    socket.on('end', () => socket.end());
  } else if (line === 'flood') {
    socket.resume();
    flood(socket);
    socket.on('end', () => socket.destroy());
  } else {
    socket.end('what?\n');
  }
}

function stream(to: Socket | ServerResponse): void {
  let count = 0;
  const say = (): void => {
    count += 1;
    to.write(`${config.name} ${count}\n`);
  };
  say();
  const timer = setInterval(say, streamEveryMs);
  to.on('close', () => clearInterval(timer));
}

function flood(to: Socket): void {
  const pour = (): void => {
    while (to.writable) {
      floodedBytes += floodChunk.length;
      if (!to.write(floodChunk)) return;
    }
  };
  to.on('drain', pour);
  pour();
}

function respond(request: IncomingMessage, response: ServerResponse): void {
  if (mode === 'hang') return;
  const asker = `${request.socket.remoteAddress} ${request.url}`;
  const times = (asked.get(asker) ?? 0) + 1;
  asked.set(asker, times);
  if (mode === 'slow') {
    setTimeout(() => answer(request, response), slowAnswerMs);
  } else if (typeof mode === 'number' || (mode === 'flap' && times % 2 === 0)) {
    const status = mode === 'flap' ? 500 : mode;
    response.writeHead(status).end(`${status}\n`);
  } else {
    answer(request, response);
  }
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url?.split('?')[0];
  if (path === '/stream') {
    response.writeHead(200, { 'content-type': 'text/plain' });
    stream(response);
    return;
  }
  const known = path === '/readyz' || path === '/livez' || path === '/whoami';
  response.writeHead(known ? 200 : 404).end(path === '/whoami' ? `${config.name}\n` : 'ok\n');
}

function listen(): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ host: '::', port: config.port, backlog: 1_024 }, () => resolve());
  });
}

async function setMode(wanted: ApiServerMode): Promise<null> {
  mode = wanted;
  if (listener.listening && (wanted === 'refuse' || wanted === 'deaf')) listener.close();
  if (wanted === 'refuse') {
    for (const socket of sockets) {
      // One that is ending cannot be reset, and would then never be closed.
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
  // Handles are closed at the end of a turn.
  await new Promise((resolve) => setImmediate(resolve));
  if (!listener.listening && wanted !== 'refuse' && wanted !== 'deaf') await listen();
  return null;
}

await listen();
serveStation({
  mode: (wanted) => setMode(wanted as ApiServerMode),
  accepted: () => accepted,
  floodedBytes: () => floodedBytes,
  resetCount: () => {
    accepted = 0;
    return null;
  },
});
