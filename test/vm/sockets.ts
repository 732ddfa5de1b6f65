/**
 * TCP in any namespace from one process: the socket is made in the namespace by the system calls
 * themselves, and given to Node then. A process for each call would cost seconds in an emulated
 * machine.
 */
import { createServer, type Server, Socket } from 'node:net';
import { parseIp } from '../../src/base/ip.ts';
import {
  bind,
  check,
  closeFd,
  connectSocket,
  lastErrno,
  listenSocket,
  setSocketOption,
  socket,
} from '../../src/linux/libc.ts';
import { inNamespace } from '../conformance/netns.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_CLOEXEC = 1 | 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_SNDTIMEO = 21;
const ECONNREFUSED = 111;
const BACKLOG = 1_024;
const CONNECT_SECONDS = 2;

/** `null` is the namespace of this process. */
export type Place = string | null;

function within<T>(place: Place, action: () => T): T {
  return place === null ? action() : inNamespace(place, action);
}

function socketAddress(address: string, port: number): Buffer {
  const bytes = parseIp(address) ?? new Uint8Array(4);
  const isV4 = bytes.length === 4;
  const result = Buffer.alloc(isV4 ? 16 : 28);
  result.writeUInt16LE(isV4 ? AF_INET : AF_INET6, 0);
  result.writeUInt16BE(port, 2);
  result.set(bytes, isV4 ? 4 : 8);
  return result;
}

/** Says who it is and whom it sees, then sends back whatever it gets. */
export function serve(place: Place, name: string, port: number): Server {
  const fd = within(place, () => {
    const listener = check(socket(AF_INET6, SOCK_STREAM_CLOEXEC, 0), 'make a socket');
    const yes = Uint8Array.of(1, 0, 0, 0);
    check(setSocketOption(listener, SOL_SOCKET, SO_REUSEADDR, yes, 4), 'reuse an address');
    const address = socketAddress('::', port);
    check(bind(listener, address, address.length), `bind port ${port}`);
    check(listenSocket(listener, BACKLOG), `listen on port ${port}`);
    return listener;
  });
  const server = createServer((connection) => {
    connection.on('error', () => undefined);
    const saw = connection.remoteAddress?.replace('::ffff:', '') ?? '';
    connection.write(`${name} saw ${saw}\n`);
    connection.pipe(connection);
  });
  server.listen({ fd });
  return server;
}

/** Connected when it returns; `refused` and `silent` are answers, too. */
export function dial(place: Place, address: string, port: number): Socket | 'refused' | 'silent' {
  const fd = within(place, () => {
    const family = address.includes(':') ? AF_INET6 : AF_INET;
    const made = check(socket(family, SOCK_STREAM_CLOEXEC, 0), 'make a socket');
    const timeout = Buffer.alloc(16);
    timeout.writeUInt32LE(CONNECT_SECONDS, 0);
    check(setSocketOption(made, SOL_SOCKET, SO_SNDTIMEO, timeout, 16), 'set a time-out');
    const to = socketAddress(address, port);
    if (connectSocket(made, to, to.length) === 0) return made;
    const errno = lastErrno();
    closeFd(made);
    return errno === ECONNREFUSED ? ('refused' as const) : ('silent' as const);
  });
  if (typeof fd === 'string') return fd;
  const connection = new Socket({ fd, readable: true, writable: true });
  connection.setEncoding('utf8').on('error', () => undefined);
  return connection;
}

/** One line that the other end says, or `reset`, or `silence` after so long. */
export function line(connection: Socket, timeoutMs = 5_000): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const end = (what: string): void => {
      clearTimeout(timer);
      connection.off('data', onData).off('error', onError).off('close', onClose);
      connection.pause();
      resolve(what);
    };
    const onData = (chunk: string): void => {
      text += chunk;
      if (text.endsWith('\n')) end(text.trim());
    };
    const onError = (): void => end('reset');
    const onClose = (): void => end(connection.errored === null ? 'closed' : 'reset');
    const timer = setTimeout(() => end('silence'), timeoutMs);
    connection.on('data', onData).on('error', onError).on('close', onClose);
    connection.resume();
  });
}
