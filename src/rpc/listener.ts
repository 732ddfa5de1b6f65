/**
 * The one port of a node: members with their certificate and joiners without one arrive here, and a
 * finished handshake is handed to whoever serves its kind. Everybody else is closed, counted, and
 * logged now and then.
 */
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import type { Clock, Millis } from '../base/clock.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import { type GateLimits, HandshakeGate } from './gate.ts';
import { type Judgement, judgeClient, type StandingOf } from './identity.ts';
import type { NodeTls } from './node-tls.ts';
import type { Refusals } from './refusals.ts';

const handshakeTimeoutMs: Millis = 2_000;

/** Connections waiting for accept; the kernel cuts it to net.core.somaxconn. */
const backlog = 512;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: NodeTls;
  readonly clock: Clock;
  readonly gate: GateLimits;
  readonly refusals: Refusals;
  readonly standingOf: StandingOf;
  readonly onMember: (socket: TLSSocket, judged: Extract<Judgement, { ok: true }>) => void;
  readonly onJoiner: (socket: TLSSocket) => void;
}

export interface Listener {
  readonly port: number;
  /** Addresses from which members come: they are not throttled together with strangers. */
  setMemberAddresses(addresses: Iterable<string>): void;
  /** Accepts no more; what was handed out belongs to whoever got it. */
  close(): Promise<void>;
}

/** @throws OperatingError `port-in-use`, `address-not-here`, `listen-failed` */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const gate = new HandshakeGate(options.gate, options.clock.now());
  const pending: Pending = new Map();
  const tls = tlsServer(options, pending);
  const open = new Set<Socket>();
  const tcp = createTcpServer({ noDelay: true, keepAlive: true }, (socket) => {
    const { remoteAddress } = socket;
    // Gone before it was accepted: half a port scan looks like that.
    if (remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const entered = gate.enter(remoteAddress, options.clock.now());
    if (!entered.ok) {
      options.refusals.note(entered.reason, { from: remoteAddress });
      socket.destroy();
      return;
    }
    options.tls.tune(socket);
    open.add(socket);
    begin({ socket, done: entered.done, clock: options.clock, pending });
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    tls.emit('connection', socket);
  });
  options.tls.onUpdate((material) => tls.setSecureContext(material));
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', (error) => reject(listenError(error, options)));
    tcp.listen({ host: options.host, port: options.port, backlog }, () => resolve());
  });
  tcp.on('error', () => options.refusals.note('accept-failed'));
  return {
    port: (tcp.address() as AddressInfo).port,
    setMemberAddresses: (addresses) => gate.setMembers(addresses),
    close: () =>
      new Promise((resolve) => {
        tcp.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** Handshakes under way, by remote address and port: how each ends. */
type Pending = Map<string, { readonly succeed: () => void; readonly fail: () => void }>;

function begin(handshake: {
  readonly socket: Socket;
  readonly done: () => void;
  readonly clock: Clock;
  readonly pending: Pending;
}): void {
  const { socket, pending } = handshake;
  const key = keyOf(socket);
  const succeed = (): void => {
    timer.cancel();
    handshake.done();
    if (pending.get(key)?.succeed === succeed) pending.delete(key);
  };
  // A TLS server that is handed its connections gives up on them without closing them.
  const timer = handshake.clock.after(handshakeTimeoutMs, () => socket.destroy());
  pending.set(key, { succeed, fail: () => socket.destroy() });
  socket.once('close', succeed);
}

function tlsServer(options: ListenerOptions, pending: Pending): TlsServer {
  const server = createTlsServer(
    {
      ...options.tls.options,
      requestCert: true,
      // Judged below: joiners have none, and OpenSSL cannot know a member by its pinned key.
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: handshakeTimeoutMs,
    },
    (socket) => {
      pending.get(keyOf(socket))?.succeed();
      socket.on('error', () => undefined);
      const refusal = admit(socket, options);
      if (refusal === null) return;
      options.refusals.note(refusal, { from: socket.remoteAddress });
      socket.destroy();
    },
  );
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const why = errorCode(error) ?? error.message;
    // Whoever only looks whether somebody is there hangs up: port checks do, and so do our peers.
    if (why === 'ECONNRESET') options.refusals.count('hung-up');
    else options.refusals.note('handshake-failed', { from: socket.remoteAddress, why });
    pending.get(keyOf(socket))?.fail();
  });
  return server;
}

/** Hands the connection on, or says why not. */
function admit(socket: TLSSocket, options: ListenerOptions): string | null {
  if (socket.alpnProtocol !== 'h2') return 'no-http2';
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    options.onJoiner(socket);
    return null;
  }
  const judged = judgeClient(
    certificate,
    {
      clusterId: options.tls.clusterId,
      authorities: options.tls.authorities,
      wallNowMs: options.clock.wallNow(),
    },
    options.standingOf,
  );
  if (!judged.ok) return judged.reason;
  options.onMember(socket, judged);
  return null;
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function listenError(error: Error, options: ListenerOptions): OperatingError {
  const code = errorCode(error);
  const where = `${options.host}:${options.port}`;
  const facts = { host: options.host, port: options.port };
  if (code === 'EADDRINUSE') {
    return new OperatingError({
      code: 'port-in-use',
      message: `${where} is in use by another process`,
      hint: `see which with \`ss -ltnp sport = :${options.port}\`, or choose another port`,
      facts,
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL') {
    return new OperatingError({
      code: 'address-not-here',
      message: `cannot listen on ${where}: no interface of this host has that address`,
      hint: 'correct `listen` in agent.yaml, or configure the address',
      facts,
      cause: error,
    });
  }
  return new OperatingError({
    code: 'listen-failed',
    message: `cannot listen on ${where} (${code ?? error.message})`,
    facts,
    cause: error,
  });
}
