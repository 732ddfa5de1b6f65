/**
 * A small world on loopback for the balancing room's tests: backends that can be told how to
 * behave, a balancer in this process, and clients. Everything is awaited by event; nothing sleeps.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { Balancer } from '../../../src/lb/balancer.ts';
import { startCarrier } from '../../../src/lb/carrier-start.ts';
import type { DesiredBackend, DesiredFrontend, HealthCheck } from '../../../src/lb/ports.ts';
import type { FrontendReport } from '../../../src/lb/protocol.ts';
import { createDatagramDoors } from '../../../src/linux/datagram-sockets.ts';
import { createDoorSockets, tuneConnection } from '../../../src/linux/stream-sockets.ts';

const HOST = '127.0.0.1';
const PATIENCE_MS = 5_000;

export const TCP_CHECK: HealthCheck = {
  type: 'tcp',
  path: '/readyz',
  intervalMs: 20,
  timeoutMs: 500,
  rise: 2,
  fall: 2,
  expectStatus: 200,
  caFile: null,
  systemTrust: false,
  serverName: null,
};

/** A TCP server that greets each connection with its name, unless told otherwise. */
export class Backend {
  readonly name: string;
  readonly sockets = new Set<net.Socket>();
  handle: (socket: net.Socket) => void;
  #server: net.Server | null = null;
  #port = 0;

  constructor(name: string, handle?: (socket: net.Socket) => void) {
    this.name = name;
    this.handle = handle ?? ((socket) => void socket.end(name));
  }

  get port(): number {
    return this.#port;
  }

  /** Listens on its port, which stays the same after {@link stop}. */
  async start(): Promise<this> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => undefined);
      this.handle(socket);
    });
    server.listen(this.#port, HOST);
    await once(server, 'listening');
    this.#server = server;
    this.#port = (server.address() as net.AddressInfo).port;
    return this;
  }

  /** Refuses connections from now on; those it has go on. */
  refuse(): void {
    this.#server?.close();
    this.#server = null;
  }

  /** Refuses connections from now on, and drops those it has. */
  stop(): void {
    this.refuse();
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  desired(more: Partial<DesiredBackend> = {}): DesiredBackend {
    return {
      name: this.name,
      address: HOST,
      port: this.port,
      weight: 1,
      draining: false,
      mode: 'masquerade',
      ...more,
    };
  }
}

/** An HTTP server whose answer to everything is `status`. */
export class HttpBackend {
  readonly name: string;
  status = 200;
  readonly #server: http.Server;

  constructor(name: string) {
    this.name = name;
    this.#server = http.createServer((_, response) => {
      response.writeHead(this.status, { connection: 'close' });
      response.end(name);
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, HOST);
    await once(this.#server, 'listening');
    return this;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  desired(): DesiredBackend {
    const { port } = this.#server.address() as net.AddressInfo;
    return { name: this.name, address: HOST, port, weight: 1, draining: false, mode: 'masquerade' };
  }
}

export function frontendOf(
  backends: readonly DesiredBackend[],
  more: Partial<DesiredFrontend> = {},
): DesiredFrontend {
  return {
    name: 'api',
    address: '192.0.2.10',
    port: 6443,
    protocol: 'tcp',
    dataPath: 'proxy',
    scheduler: 'round-robin',
    prefer: 'any',
    backends,
    healthCheck: TCP_CHECK,
    http: null,
    ...more,
  };
}

export interface BalanceOptions {
  readonly maxConnections?: number;
  readonly maxFlows?: number;
  readonly maxHttpClients?: number;
  readonly readFileNow?: (path: string) => string;
}

/** A balancer in this process, with one frontend. */
export class Balance {
  readonly #balancer: Balancer;
  readonly frontend: DesiredFrontend;
  readonly #waiting = new Set<() => void>();
  #reports: readonly FrontendReport[] = [];

  constructor(frontend: DesiredFrontend, options: BalanceOptions = {}) {
    this.frontend = frontend;
    this.#balancer = new Balancer({
      clock: systemClock(),
      random: prng(1),
      log: silentLogger,
      readFile: () => Promise.reject(new Error('no such file')),
      onReport: (reports) => {
        if (reports.length > 0) this.#reports = reports;
        for (const check of this.#waiting) check();
      },
      onVerdicts: () => undefined,
      onFailure: () => undefined,
      doors: createDoorSockets(),
      createDatagramDoors,
      maxFlows: options.maxFlows ?? 100,
      maxHttpClients: options.maxHttpClients ?? 100,
      readFileNow: options.readFileNow ?? (() => assert.fail('no file was named')),
      tune: tuneConnection,
      carrier: startCarrier({
        maxConnections: options.maxConnections ?? 1_000,
        onEnd: (reason) => {
          throw new Error(`the carrier ended: ${reason}`);
        },
      }),
    });
    this.assign(frontend);
  }

  assign(frontend: DesiredFrontend, favoured: readonly string[] = []): void {
    this.#balancer.assign([{ frontend, carries: true, preferredPort: 0, favoured }], true);
  }

  release(address: string): void {
    this.#balancer.release(address);
  }

  drain(graceMs: number): Promise<void> {
    return this.#balancer.drain(graceMs);
  }

  close(): void {
    this.#balancer.close();
  }

  /** Resolves with the first report that fits. */
  report(fits: (report: FrontendReport) => boolean): Promise<FrontendReport> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(new Error(`no such report; the last one: ${JSON.stringify(this.#reports)}`));
      }, PATIENCE_MS);
      const check = (): void => {
        const [report] = this.#reports;
        if (report === undefined || !fits(report)) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(report);
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves when the backends' states are these, in the frontend's order. */
  async states(...wanted: readonly string[]): Promise<FrontendReport> {
    return this.report(
      ({ backends }) => backends.map(({ state }) => state).join() === wanted.join(),
    );
  }

  /** A client's open connection; half-open sockets are allowed. */
  async connect(): Promise<net.Socket> {
    const { port } = await this.report((report) => report.serving);
    const socket = net.connect({ host: HOST, port, allowHalfOpen: true });
    await once(socket, 'connect');
    return socket;
  }

  /** Connects, reads to the end; resolves with what came, or the code of the error. */
  async ask(): Promise<string> {
    const { port } = await this.report((report) => report.port > 0);
    return ask(port);
  }
}

/** Everything that a connection to `port` says until its end, or the code of its error. */
export function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: HOST, port });
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

/** The code of the error by which `socket` ends. */
export async function errorOf(socket: net.Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? error.message;
}

/** A port of loopback that refuses connections. */
export async function closedPort(): Promise<number> {
  const backend = await new Backend('nobody').start();
  backend.stop();
  return backend.port;
}
