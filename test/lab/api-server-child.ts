/**
 * A stand-in API server. On one port, [::]:6443 as the real one, it speaks HTTPS (/readyz, /livez,
 * /whoami, /stream) and, to a client that does not begin with a TLS handshake, a line protocol that
 * costs next to nothing:
 *
 *     whoami\n  → the server's name, then the end
 *     stream\n  → a line every 100 ms for as long as the client stays
 *     sum\n…EOF → how many bytes came before the client's end (for half-closed connections)
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
 * `ok`; a number: what the HTTPS endpoints answer; `slow`: they answer after 5 s; `hang`: takes
 * connections and never answers; `refuse`: does not listen. The line protocol goes on in all but
 * the last two, and streams do so in all but the last.
 */
export type ApiServerMode = 'ok' | 401 | 403 | 500 | 'slow' | 'hang' | 'refuse';

const streamEveryMs = 100;
const slowAfterMs = 5_000;
const tlsHandshakeByte = 0x16;

const config = stationConfig<ApiServerConfig>();
const sockets = new Set<Socket>();
let mode: ApiServerMode = 'ok';
let accepted = 0;

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

function respond(request: IncomingMessage, response: ServerResponse): void {
  if (mode === 'hang') return;
  if (mode === 'slow') {
    setTimeout(() => response.writeHead(200).end('ok\n'), slowAfterMs);
    return;
  }
  if (typeof mode === 'number') {
    response.writeHead(mode).end(`${mode}\n`);
    return;
  }
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
  const former = mode;
  mode = wanted;
  if (wanted === 'refuse' && former !== 'refuse') {
    const closed = new Promise((resolve) => listener.close(resolve));
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  }
  if (former === 'refuse' && wanted !== 'refuse') await listen();
  return null;
}

await listen();
serveStation({
  mode: (wanted) => setMode(wanted as ApiServerMode),
  accepted: () => accepted,
  resetCount: () => {
    accepted = 0;
    return null;
  },
});
