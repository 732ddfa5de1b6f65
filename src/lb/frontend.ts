/**
 * One balanced frontend inside a worker: its door, its proxy, the probes of its backends and the
 * picker, kept in agreement. Every change of health, spec or draining goes through one function
 * (`#judge`), which draws all conclusions anew: who stands how, who is picked, whether the door is
 * open.
 */
import { defined } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import {
  type Backend,
  newBackend,
  sameEndpoint,
  stopProbing,
  takesNothing,
  viewOf,
} from './backend.ts';
import {
  afterConnect,
  afterConnectFailure,
  afterProbe,
  type ConnectFailure,
  type Health,
  type Standing,
  standings,
  type Thresholds,
} from './health.ts';
import { Door } from './listener.ts';
import type { DesiredFrontend, HealthCheck } from './ports.ts';
import type { Prober } from './probe.ts';
import type { FrontendReport } from './protocol.ts';
import { type Budget, TcpProxy } from './proxy.ts';
import { createPicker, type Picker, pick, withCandidates } from './scheduler.ts';

export interface FrontendParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly budget: Budget;
  readonly createProber: (check: HealthCheck) => Prober;
  /** A state, a reason or the port changed. */
  readonly onChange: () => void;
  /** Only counters changed. */
  readonly onCount: () => void;
}

/** Wait before the door is tried again after it could not be opened. */
const REOPEN_MS: Millis = 500;
/** Whatever interval is asked for, a fast backend must not make the probes spin. */
const MIN_INTERVAL_MS: Millis = 10;
/** However many clients fail, a backend is not probed more often than this. */
const PROBE_SPACING_MS: Millis = 100;

export class Frontend {
  readonly #parts: FrontendParts;
  readonly #door: Door;
  readonly #proxy: TcpProxy<Backend>;
  readonly #log: Logger;
  #desired: DesiredFrontend;
  #prober: Prober;
  #backends = new Map<string, Backend>();
  #picker: Picker;
  #doorError: string | null = null;
  #reopen: Timer | null = null;
  #closed = false;

  /** @param preferredPort see {@link Door}. */
  constructor(desired: DesiredFrontend, preferredPort: number, parts: FrontendParts) {
    this.#parts = parts;
    this.#desired = desired;
    this.#prober = parts.createProber(desired.healthCheck);
    this.#picker = createPicker(desired.scheduler, []);
    this.#log = parts.log.child({ frontend: desired.name });
    this.#proxy = new TcpProxy(parts.clock, parts.budget, {
      choose: (client, tried) => this.#choose(client, tried),
      connected: (backend) => this.#connected(backend),
      closed: (backend) => {
        backend.connections--;
        parts.onCount();
      },
      failed: (backend, failure) => this.#failed(backend, failure),
    });
    this.#door = new Door({
      preferredPort,
      onSocket: (socket) => {
        parts.onCount();
        this.#proxy.serve(socket);
      },
      onError: (error) => this.#doorFailed(error),
    });
    // A port now, before any backend is known to be up, so that the redirect can be set already.
    this.#door.claim();
    this.#reconcile();
  }

  get desired(): DesiredFrontend {
    return this.#desired;
  }

  /** Follows a new wish; idempotent. Health, connections and the port survive. */
  update(desired: DesiredFrontend): void {
    const before = this.#desired;
    this.#desired = desired;
    if (desired.scheduler !== before.scheduler) {
      this.#picker = createPicker(desired.scheduler, this.#picker.candidates);
    }
    const probeAnew = !sameCheck(desired.healthCheck, before.healthCheck);
    if (probeAnew) this.#prober = this.#parts.createProber(desired.healthCheck);
    this.#reconcile();
    if (probeAnew) for (const backend of this.#backends.values()) this.#probeNow(backend);
  }

  report(): FrontendReport {
    const backends = [...this.#backends.values()].map(viewOf);
    return {
      name: this.#desired.name,
      port: this.#door.port,
      serving: this.#door.isOpen,
      error: this.#doorError,
      clients: this.#proxy.clients,
      counters: this.#proxy.counters,
      backends,
    };
  }

  /** Resets the clients of `address`, if it is this frontend's; returns how many. */
  releaseClients(address: string): number {
    return address === this.#desired.address ? this.#proxy.resetClients() : 0;
  }

  /** No new client, no more probes; resolves when the last client has gone. */
  drain(): Promise<void> {
    this.#closed = true;
    this.#reopen?.cancel();
    this.#door.close();
    for (const backend of this.#backends.values()) stopProbing(backend);
    return this.#proxy.emptied();
  }

  /** Ends everything at once; clients are reset. */
  close(): void {
    void this.drain();
    this.#proxy.resetClients();
  }

  #reconcile(): void {
    const backends = new Map<string, Backend>();
    const fresh: Backend[] = [];
    for (const desired of this.#desired.backends) {
      const known = this.#backends.get(desired.name);
      if (known !== undefined && sameEndpoint(known, desired)) {
        known.desired = desired;
        backends.set(desired.name, known);
      } else {
        const backend = newBackend(desired, this.#parts.clock.wallNow());
        backends.set(desired.name, backend);
        fresh.push(backend);
      }
    }
    for (const [name, backend] of this.#backends) {
      if (backends.get(name) !== backend) stopProbing(backend);
    }
    this.#backends = backends;
    this.#judge();
    for (const backend of fresh) this.#probeNow(backend);
  }

  /** Draws every conclusion from the health of the backends as it is now. */
  #judge(): void {
    const all = [...this.#backends.values()];
    const judged = standings(
      all.map(({ desired, health }) => ({ draining: takesNothing(desired), health })),
    );
    for (const [index, backend] of all.entries()) {
      this.#stand(backend, defined(judged[index], 'the standing of a backend'));
    }
    const candidates = all
      .filter((backend) => backend.standing.usable)
      .map(({ name, desired, standing }) => ({
        name,
        weight: desired.weight,
        preferred: standing.preferred,
      }));
    this.#picker = withCandidates(this.#picker, candidates);
    this.#moveDoor(candidates.length > 0);
    this.#parts.onChange();
  }

  #stand(backend: Backend, standing: Standing): void {
    const from = backend.standing.state;
    backend.standing = standing;
    if (standing.state === from) return;
    backend.sinceWallMs = this.#parts.clock.wallNow();
    const { name } = backend;
    this.#log.info('lb.backend', {
      backend: name,
      from,
      to: standing.state,
      reason: standing.reason,
    });
  }

  #moveDoor(open: boolean): void {
    if (this.#closed) return;
    if (!open) {
      if (this.#door.isOpen) this.#log.warn('lb.refusing', { reason: 'no backend accepts TCP' });
      this.#door.shut();
    } else if (!this.#door.isOpen) this.#openDoor();
  }

  #openDoor(): void {
    this.#door.open();
    if (!this.#door.isOpen) return;
    this.#doorError = null;
    this.#log.info('lb.serving', { localPort: this.#door.port });
  }

  #doorFailed(error: Error): void {
    this.#doorError = error.message;
    this.#log.warn('lb.cannot-listen', { reason: error.message });
    this.#reopen?.cancel();
    this.#reopen = this.#parts.clock.after(REOPEN_MS, () => this.#judge());
    this.#parts.onChange();
  }

  #choose(
    client: () => string,
    tried: ReadonlySet<string>,
  ): { upstream: Backend; final: boolean } | null {
    const connections = (name: string): number => this.#backends.get(name)?.connections ?? 0;
    const choice = pick(this.#picker, { client, connections, tried });
    if (choice === null) return null;
    this.#picker = choice.next;
    const upstream = defined(this.#backends.get(choice.name), 'the backend of a candidate');
    return { upstream, final: choice.final };
  }

  #connected(backend: Backend): void {
    backend.connections++;
    backend.totalConnections++;
    this.#parts.onCount();
    this.#know(backend, afterConnect(backend.health));
  }

  #failed(backend: Backend, failure: ConnectFailure): void {
    this.#know(backend, afterConnectFailure(backend.health, failure, this.#thresholds()));
    // What a client has just seen, the probe verifies now instead of in its turn; unless it knows
    // nothing, and would only clear the suspicion.
    const verifiable = this.#desired.healthCheck.type !== 'none' && failure.kind !== 'local';
    if (verifiable) this.#probeNow(backend);
  }

  #know(backend: Backend, health: Health): void {
    if (health === backend.health) return;
    backend.health = health;
    // The backend may have left the spec while a connection to it was under way.
    if (this.#backends.get(backend.name) === backend) this.#judge();
  }

  /** Probes as soon as that is decent, without waiting for the backend's turn. */
  #probeNow(backend: Backend): void {
    if (this.#closed || backend.probe !== null) return;
    if (this.#backends.get(backend.name) !== backend) return;
    this.#probeAt(backend, backend.probedAt + PROBE_SPACING_MS);
  }

  #probeAt(backend: Backend, at: Millis): void {
    const { clock } = this.#parts;
    backend.timer?.cancel();
    backend.timer = clock.after(Math.max(0, at - clock.now()), () => void this.#probe(backend));
  }

  async #probe(backend: Backend): Promise<void> {
    const { clock } = this.#parts;
    backend.probedAt = clock.now();
    const probe = new AbortController();
    backend.probe = probe;
    const result = await this.#prober(backend, probe.signal);
    if (probe.signal.aborted) return;
    backend.probe = null;
    this.#know(backend, afterProbe(backend.health, result, this.#thresholds()));
    const intervalMs = Math.max(MIN_INTERVAL_MS, this.#desired.healthCheck.intervalMs);
    this.#probeAt(backend, backend.probedAt + intervalMs);
  }

  #thresholds(): Thresholds {
    const { type, rise, fall } = this.#desired.healthCheck;
    // Unchecked backends are never taken out: nothing would ever take them in again.
    return type === 'none' ? { rise: 1, fall: Number.POSITIVE_INFINITY } : { rise, fall };
  }
}

function sameCheck(a: HealthCheck, b: HealthCheck): boolean {
  return (Object.keys(a) as (keyof HealthCheck)[]).every((key) => a[key] === b[key]);
}
