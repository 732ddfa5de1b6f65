/**
 * Carries HTTP: ends the clients' TLS, and passes each request on with word of who sent it.
 * Upgrades (exec and port-forward by SPDY or WebSocket, and whatever else two programs agree on)
 * become plain connections. Nothing is timed out that has begun: a watch may be silent for an hour.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { createProxyServer, type ServerOptions } from 'http-proxy-3';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { LaneCounters, LanePlan } from './carrier-protocol.ts';
import { HttpClient } from './http-client.ts';
import { forwardedHeaders, plainAddress, requestHead } from './http-headers.ts';
import { NoBackendError, Upstreams } from './http-upstreams.ts';
import type { Lane, LaneEvents } from './lane.ts';
import type { HttpOptions } from './ports.ts';
import type { Fd } from './sockets.ts';
import { trustReader } from './tls-trust.ts';

export interface HttpLaneParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly options: HttpOptions;
  readonly readFile: (path: string) => Promise<string>;
  /** For the certificate: a door without one cannot be opened. */
  readonly readFileNow: (path: string) => string;
  /** Clients of this lane; one more is turned away. */
  readonly maxClients: number;
  /** Sets on a connected socket what every connection has. */
  readonly tune: (socket: Socket) => void;
}

/** A changed certificate counts after this time at the latest. */
const CERTIFICATE_REREAD_MS: Millis = 10_000;
/** Handshakes that nobody goes on with, and heads that do not end, are given up. */
const GREETING_MS: Millis = 10_000;
const BACKLOG = 4_096;

/** Whatever is named here, the client's agent connects to the backend that was chosen. */
const ONWARD: ServerOptions = {
  target: { protocol: 'http:', host: 'backend', port: 80 },
  prependPath: false,
  toProxy: true,
};

export class HttpLane implements Lane {
  readonly #events: LaneEvents;
  readonly #parts: HttpLaneParts;
  readonly #upstreams: Upstreams;
  readonly #onward = createProxyServer(ONWARD);
  /** By the far end of their connections. */
  readonly #clients = new Map<string, HttpClient>();
  readonly #retried = new WeakSet<http.IncomingMessage>();
  readonly #requests = new WeakMap<http.IncomingMessage, http.ClientRequest>();
  #server: http.Server | null = null;
  #certificate: { readonly cert: string; readonly key: string } | null = null;
  #reread: Timer | null = null;
  readonly #counters: { -readonly [name in keyof LaneCounters]: number } = {
    accepted: 0,
    unserved: 0,
    overLimit: 0,
    connectFailures: 0,
  };

  constructor(events: LaneEvents, parts: HttpLaneParts) {
    const { clock, options, readFile, tune } = parts;
    const { backendTls } = options;
    this.#events = events;
    this.#parts = parts;
    this.#upstreams = new Upstreams({
      clock,
      tune,
      tls: backendTls && {
        serverName: backendTls.serverName,
        trust: trustReader(backendTls, { clock, readFile }),
      },
      onFailed: (backend, failure) => {
        const { kind, reason } = failure;
        if (kind === 'local') parts.log.warn('lb.cannot-connect', { backend, reason });
        this.#counters.connectFailures++;
        this.#tell();
        events.failed(backend, failure);
      },
      onCount: () => this.#tell(),
    });
    this.#onward.on('proxyReq', (onward, request) => void this.#requests.set(request, onward));
    this.#onward.on('proxyRes', (answer, request) => {
      // What is cut off must look cut off.
      answer.once('close', () => {
        if (!answer.complete) request.socket.destroy();
      });
    });
  }

  plan(plan: LanePlan): void {
    this.#upstreams.plan(plan);
  }

  /** @throws what keeps the certificate from being read. */
  open(door: Fd): void {
    this.shut();
    const server = this.#newServer();
    this.#server = server;
    server.maxConnections = this.#parts.maxClients;
    server.on('connection', (socket: Socket) => this.#arrived(socket));
    server.on('drop', () => {
      this.#counters.overLimit++;
      this.#tell();
    });
    server.on('request', (request, response) => this.#pass(request, response));
    server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    server.on('error', (error) =>
      this.#parts.log.warn('lb.http-failed', { reason: describeError(error) }),
    );
    server.listen({ fd: door, backlog: BACKLOG });
  }

  shut(): void {
    this.#reread?.cancel();
    this.#reread = null;
    this.#server?.close();
    this.#server = null;
  }

  resetClients(): void {
    for (const client of [...this.#clients.values()]) client.reset();
  }

  sever(backend: string): void {
    for (const client of [...this.#clients.values()]) {
      if (client.isServedBy(backend)) client.reset();
    }
  }

  leave(): void {
    this.shut();
    this.#tell();
  }

  #newServer(): http.Server {
    const common: http.ServerOptions = {
      keepAlive: true,
      noDelay: true,
      keepAliveInitialDelay: 20_000,
      // Silence between requests, and requests that last, are the clients' own affair.
      keepAliveTimeout: 0,
      requestTimeout: 0,
      headersTimeout: GREETING_MS,
    };
    const { tls } = this.#parts.options;
    if (tls === null) return http.createServer(common);
    this.#certificate = this.#read(tls);
    const server = https.createServer({
      ...common,
      ...this.#certificate,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: GREETING_MS,
      // As servers without encryption have it: upgrades are ended side by side.
      allowHalfOpen: true,
    });
    server.on('secureConnection', (socket) => this.#clientOf(socket)?.secure(socket));
    server.on('tlsClientError', (_error, socket) => void socket.destroy());
    this.#rereadLater(server);
    return server;
  }

  #read({ certFile, keyFile }: NonNullable<HttpOptions['tls']>): {
    readonly cert: string;
    readonly key: string;
  } {
    const { readFileNow } = this.#parts;
    return { cert: readFileNow(certFile), key: readFileNow(keyFile) };
  }

  #rereadLater(server: https.Server): void {
    this.#reread = this.#parts.clock.after(CERTIFICATE_REREAD_MS, () => {
      this.#rereadLater(server);
      const { tls } = this.#parts.options;
      if (tls === null) return;
      try {
        const fresh = this.#read(tls);
        const { cert, key } = this.#certificate ?? {};
        if (fresh.cert === cert && fresh.key === key) return;
        server.setSecureContext(fresh);
        this.#certificate = fresh;
        this.#parts.log.info('lb.certificate-renewed', { certFile: tls.certFile });
      } catch (error) {
        // The one that is there serves on; perhaps only one of the files was replaced so far.
        this.#parts.log.warn('lb.certificate-kept', { reason: describeError(error) });
      }
    });
  }

  #arrived(socket: Socket): void {
    this.#counters.accepted++;
    const address = plainAddress(socket.remoteAddress ?? '');
    const client = new HttpClient(socket, address, this.#upstreams);
    const end = endOf(socket);
    this.#clients.set(end, client);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (this.#clients.get(end) === client) this.#clients.delete(end);
      this.#tell();
    });
    this.#tell();
  }

  /** The client behind a socket that requests come by, encrypted or not. */
  #clientOf(socket: Socket): HttpClient | undefined {
    return this.#clients.get(endOf(socket));
  }

  #pass(request: http.IncomingMessage, response: http.ServerResponse): void {
    const client = this.#clientOf(request.socket);
    if (client === undefined) {
      request.socket.destroy();
      return;
    }
    const { address } = client;
    const encrypted = request.socket instanceof TLSSocket;
    Object.assign(request.headers, forwardedHeaders(request, { address, encrypted }));
    this.#send(client, request, response);
  }

  #send(client: HttpClient, request: http.IncomingMessage, response: http.ServerResponse): void {
    this.#onward.web(request, response, { agent: client.agent }, (error) =>
      this.#failed(client, request, response, error),
    );
  }

  #failed(
    client: HttpClient,
    request: http.IncomingMessage,
    response: http.ServerResponse,
    error: Error,
  ): void {
    if (response.headersSent || request.socket.destroyed) {
      request.socket.destroy();
      return;
    }
    // A backend may close a connection that it kept just as the next request is on its way.
    const wasStale = this.#requests.get(request)?.reusedSocket === true;
    if (wasStale && isRepeatable(request) && !this.#retried.has(request)) {
      this.#retried.add(request);
      this.#send(client, request, response);
      return;
    }
    const isUnserved = error instanceof NoBackendError;
    if (isUnserved) {
      this.#counters.unserved++;
      this.#tell();
    }
    const reason = isUnserved ? error.message : (errorCode(error) ?? error.message);
    response.writeHead(isUnserved ? 503 : 502, {
      'content-type': 'text/plain',
      connection: 'close',
    });
    response.end(`${reason}\n`);
  }

  /** From here on both sides speak what they like. */
  async #upgrade(request: http.IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const client = this.#clientOf(request.socket);
    socket.on('error', () => socket.destroy());
    if (client === undefined) {
      socket.destroy();
      return;
    }
    try {
      const upstream = await client.connect(true);
      const encrypted = request.socket instanceof TLSSocket;
      upstream.write(requestHead(request, { address: client.address, encrypted }));
      if (head.length > 0) upstream.write(head);
      socket.pipe(upstream).pipe(socket);
      upstream.once('close', (isFailure: boolean) => {
        if (isFailure) socket.destroy();
        else request.socket.destroySoon();
      });
    } catch (error) {
      this.#counters.unserved++;
      this.#tell();
      const body = `${describeError(error)}\n`;
      socket.end(
        `HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nconnection: close\r\n` +
          `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    }
  }

  #tell(): void {
    this.#events.counted({
      clients: this.#clients.size,
      counters: { ...this.#counters },
      backends: this.#upstreams.loads(),
    });
  }
}

/** May be sent twice: it changes nothing, and holds nothing that was read already. */
function isRepeatable({ method, headers }: http.IncomingMessage): boolean {
  const hasBody = headers['content-length'] !== undefined || 'transfer-encoding' in headers;
  return (method === 'GET' || method === 'HEAD') && !hasBody;
}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
