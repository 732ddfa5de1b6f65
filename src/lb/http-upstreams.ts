/**
 * Connections to the backends of one HTTP lane: chosen by the scheduler; where one fails, the next
 * is tried, each once. A client is never kept waiting for a backend that is known to be dead.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { defined } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { CONNECT_TIMEOUT_MS, FINAL_CONNECT_TIMEOUT_MS } from './carrier.ts';
import type { LaneBackend, LanePlan } from './carrier-protocol.ts';
import type { ConnectFailure } from './health.ts';
import { afterReading } from './patience.ts';
import { createPicker, type Picker, pick, withCandidates } from './scheduler.ts';
import type { TrustOptions } from './tls-trust.ts';

export interface UpstreamParts {
  readonly clock: Clock;
  /** Null where backends speak plain HTTP. */
  readonly tls: BackendTls | null;
  /** Sets on a connected socket what every connection has. */
  readonly tune: (socket: Socket) => void;
  readonly onFailed: (backend: string, failure: ConnectFailure) => void;
  /** Connections of a backend have changed. */
  readonly onCount: () => void;
}

export interface BackendTls {
  readonly serverName: string | null;
  readonly trust: () => Promise<TrustOptions>;
}

/** There is nobody to serve the request; `tried` are those that could not be connected. */
export class NoBackendError extends Error {
  readonly code = 'NO_BACKEND';

  constructor(tried: ReadonlySet<string>) {
    const whom = tried.size === 0 ? 'is up' : `of ${[...tried].join(', ')} could be connected`;
    super(`no backend ${whom}`);
  }
}

/** A backend that is up completes a handshake in this time, or is not asked again soon. */
const HANDSHAKE_MS: Millis = 5_000;
/** Silence after which a peer is asked whether it lives; `tune` sets what follows. */
const KEEP_ALIVE_MS: Millis = 20_000;

export class Upstreams {
  readonly #parts: UpstreamParts;
  #picker: Picker = createPicker('round-robin', []);
  #targets: ReadonlyMap<string, LaneBackend> = new Map();
  readonly #loads = new Map<string, { open: number; total: number }>();

  constructor(parts: UpstreamParts) {
    this.#parts = parts;
  }

  plan({ scheduler, backends }: LanePlan): void {
    this.#targets = new Map(backends.map((backend) => [backend.name, backend]));
    const { candidates } = this.#picker;
    const same = this.#picker.scheduler === scheduler;
    const picker = same ? this.#picker : createPicker(scheduler, candidates);
    this.#picker = withCandidates(picker, backends);
  }

  loads(): ReadonlyMap<string, { readonly open: number; readonly total: number }> {
    return new Map([...this.#loads].map(([name, load]) => [name, { ...load }]));
  }

  /**
   * A connection for `client` (an address), encrypted where the backends want it.
   *
   * @param allowHalfOpen whether one side may end long before the other.
   * @throws NoBackendError
   */
  async connect(
    client: string,
    allowHalfOpen: boolean,
  ): Promise<{ readonly backend: string; readonly socket: Socket }> {
    const tried = new Set<string>();
    for (;;) {
      const choice = pick(this.#picker, {
        client: () => client,
        connections: (name) => this.#loads.get(name)?.open ?? 0,
        tried,
      });
      if (choice === null) throw new NoBackendError(tried);
      this.#picker = choice.next;
      const target = defined(this.#targets.get(choice.name), 'the backend of a candidate');
      const timeoutMs = choice.final ? FINAL_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
      const outcome = await this.#attempt(target, timeoutMs, allowHalfOpen);
      if ('socket' in outcome) {
        this.#counted(target.name, outcome.socket);
        return { backend: target.name, socket: outcome.socket };
      }
      tried.add(target.name);
      this.#parts.onFailed(target.name, outcome.failure);
    }
  }

  #counted(name: string, socket: Socket): void {
    const load = this.#loads.get(name) ?? { open: 0, total: 0 };
    this.#loads.set(name, load);
    load.open++;
    load.total++;
    socket.once('close', () => {
      load.open--;
      if (load.open === 0 && !this.#targets.has(name)) this.#loads.delete(name);
      this.#parts.onCount();
    });
    this.#parts.onCount();
  }

  async #attempt(
    { address, port }: LaneBackend,
    timeoutMs: Millis,
    allowHalfOpen: boolean,
  ): Promise<{ readonly socket: Socket } | { readonly failure: ConnectFailure }> {
    const plain = connect({
      host: address,
      port,
      allowHalfOpen,
      autoSelectFamily: false,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const failure = await this.#settled(plain, 'connect', timeoutMs);
    if (failure !== null) return { failure };
    this.#parts.tune(plain);
    const { tls } = this.#parts;
    if (tls === null) return { socket: plain };
    try {
      return await this.#encrypted(plain, address, tls);
    } catch (error) {
      plain.destroy();
      const reason = error instanceof Error ? error.message : String(error);
      return { failure: { kind: 'local', reason } };
    }
  }

  async #encrypted(
    socket: Socket,
    address: string,
    { trust, serverName }: BackendTls,
  ): Promise<{ readonly socket: Socket } | { readonly failure: ConnectFailure }> {
    const encrypted = connectTls({
      socket,
      ...(await trust()),
      // An address is nothing to ask for, but it is to be found in the certificate.
      ...(serverName === null ? { host: address } : { servername: serverName }),
      ALPNProtocols: ['http/1.1'],
    });
    const failure = await this.#settled(encrypted, 'secureConnect', HANDSHAKE_MS);
    if (failure === null) return { socket: encrypted };
    // It accepts connections: that it is not whom it should be is for the probes to judge.
    return { failure: { kind: 'timeout', reason: `TLS: ${failure.reason}` } };
  }

  /** Null once `event` has come; else the socket is destroyed. */
  #settled(socket: Socket, event: string, timeoutMs: Millis): Promise<ConnectFailure | null> {
    const { promise, resolve } = Promise.withResolvers<ConnectFailure | null>();
    const timer = afterReading(this.#parts.clock, timeoutMs, () => {
      resolve({ kind: 'timeout', reason: `connect timed out after ${timeoutMs} ms` });
      socket.destroy();
    });
    socket.once(event, () => {
      timer.cancel();
      resolve(null);
    });
    // Stays for as long as the socket does: whoever uses it watches for its close.
    socket.on('error', (error) => {
      timer.cancel();
      resolve(failureOf(error));
    });
    return promise;
  }
}

/** Errors of this host, which say nothing about the backend. */
const LOCAL_ERRORS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EADDRNOTAVAIL',
]);

function failureOf(error: Error): ConnectFailure {
  const reason = errorCode(error) ?? error.message;
  if (LOCAL_ERRORS.has(reason)) return { kind: 'local', reason };
  return { kind: reason === 'ETIMEDOUT' ? 'timeout' : 'refused', reason };
}
