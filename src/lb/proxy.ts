/**
 * The userspace TCP proxy of one frontend, from an accepted client to a spliced connection: choose
 * a backend, connect, on failure try the next, each once; when none is left, reset the client. A
 * client is never kept waiting for a backend that is known to be dead, and never dropped while
 * another one could serve it.
 *
 * It does not know why a backend may be chosen, only whom to ask ({@link Upstreams}).
 */
import { connect, Socket } from 'node:net';
import type { Clock, Millis } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import type { ConnectFailure } from './health.ts';
import { KEEP_ALIVE_MS } from './listener.ts';
import { afterReading } from './patience.ts';
import { connectErrorReason } from './probe.ts';
import { reset, splice } from './splice.ts';

export interface Upstream {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** Whoever decides about backends, and hears how it went. */
export interface Upstreams<U extends Upstream> {
  /** Null when none is left; `final` when no other would be. `client` is the address. */
  choose(
    client: () => string,
    tried: ReadonlySet<string>,
  ): { readonly upstream: U; readonly final: boolean } | null;
  connected(upstream: U): void;
  /** Once for each {@link connected}, when the connection is over. */
  closed(upstream: U): void;
  failed(upstream: U, failure: ConnectFailure): void;
}

/** How many connections all frontends of a process may hold together. */
export interface Budget {
  open: number;
  readonly max: number;
}

/**
 * A connection costs two descriptors, and some hosts cap a process at 20,000. Above this the answer
 * is a reset at once.
 */
export const MAX_CONNECTIONS = 8_000;
/** For a backend while another one could be tried: silence costs the client no more than this. */
export const CONNECT_TIMEOUT_MS: Millis = 300;
/** For the last one left: long enough for one lost SYN to be sent again (RFC 6298: 1 s). */
export const FINAL_CONNECT_TIMEOUT_MS: Millis = 1_500;

/** Errors of this host, which say nothing about the backend. */
const LOCAL_ERRORS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EADDRNOTAVAIL',
]);

export interface ProxyCounters {
  /** Clients that were accepted. */
  readonly accepted: number;
  /** Of those, clients that were reset because no backend could be connected. */
  readonly unserved: number;
  /** Of those, clients that were reset because the process holds as many as it may. */
  readonly overLimit: number;
  /** Attempts to connect to a backend that failed. */
  readonly connectFailures: number;
}

export class TcpProxy<U extends Upstream> {
  readonly #clock: Clock;
  readonly #budget: Budget;
  readonly #upstreams: Upstreams<U>;
  readonly #clients = new Set<Socket>();
  readonly #emptied: (() => void)[] = [];
  #accepted = 0;
  #unserved = 0;
  #overLimit = 0;
  #connectFailures = 0;

  constructor(clock: Clock, budget: Budget, upstreams: Upstreams<U>) {
    this.#clock = clock;
    this.#budget = budget;
    this.#upstreams = upstreams;
  }

  get counters(): ProxyCounters {
    return {
      accepted: this.#accepted,
      unserved: this.#unserved,
      overLimit: this.#overLimit,
      connectFailures: this.#connectFailures,
    };
  }

  /** Clients that are connected now, served or waiting for a backend. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Takes charge of an accepted client, which must be paused. */
  serve(client: Socket): void {
    client.on('error', () => undefined);
    this.#accepted++;
    if (this.#budget.open >= this.#budget.max) {
      this.#overLimit++;
      reset(client);
      return;
    }
    this.#budget.open++;
    this.#clients.add(client);
    client.on('close', () => this.#forget(client));
    this.#attempt(client, new Set());
  }

  /** Resets every client; they reconnect wherever the address leads them now. */
  resetClients(): number {
    const count = this.#clients.size;
    for (const client of this.#clients) reset(client);
    return count;
  }

  /** Resolves when the last client is gone. */
  emptied(): Promise<void> {
    if (this.#clients.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptied.push(resolve));
  }

  #attempt(client: Socket, tried: Set<string>): void {
    const chosen = this.#upstreams.choose(() => client.remoteAddress ?? '', tried);
    if (chosen === null) {
      this.#unserved++;
      reset(client);
      return;
    }
    const { upstream, final } = chosen;
    const timeoutMs = final ? FINAL_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    const cancel = dial(this.#clock, upstream, timeoutMs, (outcome) => {
      client.removeListener('close', cancel);
      if (outcome instanceof Socket) {
        this.#upstreams.connected(upstream);
        splice(client, outcome, () => this.#upstreams.closed(upstream));
        return;
      }
      this.#connectFailures++;
      tried.add(upstream.name);
      this.#upstreams.failed(upstream, outcome);
      this.#attempt(client, tried);
    });
    client.on('close', cancel);
  }

  #forget(client: Socket): void {
    this.#budget.open--;
    this.#clients.delete(client);
    if (this.#clients.size > 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }
}

/**
 * Connects once. `onOutcome` is called once, later, with the connected socket or with the reason
 * why there is none; never after the returned function has cancelled the attempt.
 */
function dial(
  clock: Clock,
  upstream: Upstream,
  timeoutMs: Millis,
  onOutcome: (outcome: Socket | ConnectFailure) => void,
): () => void {
  let pending = true;
  const socket = connect({
    host: upstream.address,
    port: upstream.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    autoSelectFamily: false,
  });
  const settle = (outcome: Socket | ConnectFailure): void => {
    if (!pending) return;
    pending = false;
    timer.cancel();
    if (outcome !== socket) socket.destroy();
    onOutcome(outcome);
  };
  const timer = afterReading(clock, timeoutMs, () =>
    settle({ kind: 'timeout', reason: `connect timed out after ${timeoutMs} ms` }),
  );
  socket.on('connect', () => settle(socket));
  // Stays for the socket's life: a later error is followed by its `close`, which is acted upon.
  socket.on('error', (error) => settle(classify(error)));
  return () => {
    pending = false;
    timer.cancel();
    socket.destroy();
  };
}

function classify(error: Error): ConnectFailure {
  const code = errorCode(error) ?? '';
  const reason = connectErrorReason(error);
  if (LOCAL_ERRORS.has(code)) return { kind: 'local', reason };
  return { kind: code === 'ETIMEDOUT' ? 'timeout' : 'refused', reason };
}
