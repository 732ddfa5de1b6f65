/**
 * The station's conversation where HTTP is carried: a request for a connection from its beginning
 * to its end, and an upgrade, as exec and port-forward make it, for one that is kept.
 */
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { text } from 'node:stream/consumers';

export interface HttpTarget {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
}

/** @param greeting what each client is told first */
export async function serveHttp(
  port: number,
  greeting: (socket: net.Socket) => string,
): Promise<void> {
  const server = http.createServer((request, response) => {
    response.end(greeting(request.socket));
  });
  server.on('upgrade', (_request, socket: net.Socket) => {
    socket.on('error', () => undefined);
    const head =
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: lines\r\n\r\n';
    socket.write(`${head}${greeting(socket)}`);
    socket.pipe(socket, { end: false });
    socket.on('end', () => socket.end('bye\n'));
  });
  server.listen({ port, backlog: 1024 });
  await once(server, 'listening');
}

/** What the server said to one request, on a connection of its own that is then reset. */
export async function askHttp(
  target: HttpTarget,
  patienceMs: number,
): Promise<{ readonly said: string } | { readonly error: NodeJS.ErrnoException } | null> {
  const socket = net.connect({ ...target, timeout: patienceMs });
  const { host, port } = target;
  const request = http.get({ host, port, createConnection: () => socket });
  const outcome = await new Promise<{ said: string } | { error: NodeJS.ErrnoException } | null>(
    (resolve) => {
      socket.on('timeout', () => resolve(null));
      request.on('error', (error) => resolve({ error }));
      request.on('response', (response) => {
        if (response.statusCode !== 200) resolve({ error: new Error(`${response.statusCode}`) });
        else
          text(response).then(
            (said) => resolve({ said }),
            (error) => resolve({ error }),
          );
      });
    },
  );
  socket.resetAndDestroy();
  return outcome;
}

/** A connection on which both sides may say what they like, and end their halves apart. */
export async function openHttp({ host, port }: HttpTarget): Promise<net.Socket> {
  const request = http.request({
    host,
    port,
    headers: { connection: 'upgrade', upgrade: 'lines' },
    createConnection: () => net.connect({ host, port, allowHalfOpen: true }),
  });
  request.end();
  const [, socket, head] = (await once(request, 'upgrade')) as [unknown, net.Socket, Buffer];
  if (head.length > 0) socket.unshift(head);
  return socket;
}
