/**
 * The admin service on the local socket. The kernel says which user connected; root and our own
 * user may do everything, the group may read, and everybody else is told so.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { errorCode, OperatingError } from '../base/errors.ts';
import { adminService, type Caller } from './admin-service.ts';
import type { Forwarder } from './forwarder.ts';
import { maxAdminBytes } from './limits.ts';
import type { Refusals } from './refusals.ts';

/** Commands at one time; more are closed. */
const maxConnections = 64;

/** sockaddr_un of sys/un.h, less the final NUL. */
const maxPathBytes = 107;

/** What the kernel says of a connected process. */
export interface LocalPeer {
  readonly uid: number;
  /** `all`: root or our own user. `read`: the group. */
  readonly access: 'all' | 'read' | 'none';
}

/** Null where the kernel would not say. */
export type LocalPeerOf = (socket: Socket) => LocalPeer | null;

export interface LocalServerOptions {
  readonly path: string;
  readonly forwarder: Forwarder;
  readonly peerOf: LocalPeerOf;
  /** The group that may connect; null for the owner alone. */
  readonly gid: number | null;
  readonly refusals: Refusals;
}

export interface LocalServer {
  close(): Promise<void>;
}

/** @throws OperatingError `agent-running`, `socket-path-too-long`, `socket-failed` */
export async function openLocalServer(options: LocalServerOptions): Promise<LocalServer> {
  const { path, refusals } = options;
  if (Buffer.byteLength(path) > maxPathBytes) throw pathTooLong(path);
  const servers = grpcServers(options.forwarder);
  const open = new Set<Socket>();
  const listener = createServer((socket) => {
    socket.on('error', () => undefined);
    if (open.size >= maxConnections) {
      refusals.note('too-many-local');
      socket.destroy();
      return;
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const peer = options.peerOf(socket);
    if (peer === null || peer.access === 'none') refusals.note('local-user', { uid: peer?.uid });
    servers[peer?.access ?? 'none'].injector.injectConnection(socket);
  });
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  await removeStale(path);
  await new Promise<void>((resolve, reject) => {
    listener.once('error', (error) => reject(listenError(path, error)));
    listener.listen({ path }, () => resolve());
  });
  listener.on('error', () => refusals.note('local-accept-failed'));
  grant(path, options.gid);
  return {
    close: async () => {
      await new Promise<void>((resolve) => {
        // Node removes the socket's file with the listener.
        listener.close(() => resolve());
        for (const socket of open) socket.destroy();
      });
      for (const { server } of Object.values(servers)) server.forceShutdown();
    },
  };
}

function grpcServers(forwarder: Forwarder) {
  const serve = (caller: Caller) => {
    const server = new Server({
      'grpc.max_receive_message_length': maxAdminBytes,
      'grpc.enable_channelz': 0,
    });
    const { definition, implementation } = adminService(forwarder, caller);
    server.addService(definition, implementation);
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    return { server, injector };
  };
  return {
    all: serve({ kind: 'local', readOnly: false }),
    read: serve({ kind: 'local', readOnly: true }),
    none: serve({ kind: 'stranger' }),
  };
}

/**
 * Between listening and this, only the owner could connect, and whoever did was asked for its user.
 */
function grant(path: string, gid: number | null): void {
  if (gid === null) {
    chmodSync(path, 0o600);
    return;
  }
  chownSync(path, lstatSync(path).uid, gid);
  chmodSync(path, 0o660);
}

/** A socket that nobody listens on is what an agent leaves that was killed. */
async function removeStale(path: string): Promise<void> {
  const found = await knock(path);
  if (found === 'ENOENT') return;
  if (found === 'ECONNREFUSED' && lstatSync(path).isSocket()) {
    unlinkSync(path);
    return;
  }
  if (found !== 'connected') throw listenError(path, new Error(found));
  throw new OperatingError({
    code: 'agent-running',
    message: `another agent already answers on ${path}`,
    hint: 'stop it (`systemctl stop holdfast`), or give this one another --data-dir',
    facts: { path },
  });
}

function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error) => resolve(errorCode(error) ?? error.message));
  });
}

function pathTooLong(path: string): OperatingError {
  return new OperatingError({
    code: 'socket-path-too-long',
    message: `${path} is too long for a Unix socket (${maxPathBytes} bytes at most)`,
    hint: 'choose a shorter --data-dir',
    facts: { path },
  });
}

function listenError(path: string, error: Error): OperatingError {
  return new OperatingError({
    code: 'socket-failed',
    message: `cannot listen on ${path} (${errorCode(error) ?? error.message})`,
    hint: 'see that the folder is there and belongs to the user that runs the agent',
    facts: { path },
    cause: error,
  });
}
