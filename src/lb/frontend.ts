/**
 * One balanced frontend inside a worker: its door (always shut for a path in the kernel), its lane
 * through the carrier and the probes of its backends, kept in agreement. Every change of health,
 * spec or draining goes through one function (`#judge`), which draws all conclusions anew: who
 * stands how, who may be chosen, whether the door is open.
 */
import { defined } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import {
  type Backend,
  newBackend,
  sameEndpoint,
  stopProbing,
  takesNothing,
  viewOf,
} from './backend.ts';
import type { CarrierLink, Lane } from './carrier-link.ts';
import type { LaneCounts } from './carrier-protocol.ts';
import {
  afterConnect,
  afterConnectFailure,
  afterProbe,
  afterSilence,
  type ConnectFailure,
  type Health,
  type LateAnswer,
  type Standing,
  standings,
  type Thresholds,
} from './health.ts';
import { Door } from './listener.ts';
import type { DesiredFrontend, HealthCheck } from './ports.ts';
import { connectReason, type Prober } from './probe.ts';
import type { Assignment, FrontendReport } from './protocol.ts';
import type { DoorSockets } from './sockets.ts';

export interface FrontendParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly carrier: CarrierLink;
  readonly doors: DoorSockets;
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

const NO_COUNTS: LaneCounts = {
  clients: 0,
  counters: { accepted: 0, unserved: 0, overLimit: 0, connectFailures: 0 },
  backends: new Map(),
};

export class Frontend {
  readonly #parts: FrontendParts;
  readonly #door: Door;
  readonly #lane: Lane;
  readonly #log: Logger;
  #desired: DesiredFrontend;
  #carries: boolean;
  #prober: Prober;
  #backends = new Map<string, Backend>();
  #counts: LaneCounts = NO_COUNTS;
  readonly #emptied: (() => void)[] = [];
  #doorError: string | null = null;
  #reopen: Timer | null = null;
  #closed = false;

  constructor({ frontend: desired, carries, preferredPort }: Assignment, parts: FrontendParts) {
    this.#parts = parts;
    this.#desired = desired;
    this.#carries = carries;
    this.#prober = parts.createProber(desired.healthCheck);
    this.#log = parts.log.child({ frontend: desired.name });
    this.#lane = parts.carrier.createLane({
      failed: (name, failure) => this.#failed(name, failure),
      counted: (counts) => this.#counted(counts),
    });
    this.#lane.plan({ scheduler: desired.scheduler, backends: [] });
    this.#door = new Door({
      preferredPort,
      sockets: parts.doors,
      lane: this.#lane,
      onError: (error) => this.#doorFailed(error),
    });
    // A port now, before any backend is known to be up, so that the redirect can be set already.
    if (carries) this.#door.claim();
    this.#reconcile();
  }

  get desired(): DesiredFrontend {
    return this.#desired;
  }

  /** Follows a new wish; idempotent. Health, connections and the port survive. */
  update({ frontend: desired, carries }: Assignment): void {
    const before = this.#desired;
    this.#desired = desired;
    this.#carries = carries;
    if (carries) this.#door.claim();
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
      clients: this.#counts.clients,
      counters: this.#counts.counters,
      backends,
    };
  }

  /** Resets the clients of `address`, if it is this frontend's; returns how many there were. */
  releaseClients(address: string): number {
    if (address !== this.#desired.address) return 0;
    this.#lane.resetClients();
    return this.#counts.clients;
  }

  /** No new client, no more probes; resolves when the last client has gone. */
  drain(): Promise<void> {
    this.#closed = true;
    this.#reopen?.cancel();
    this.#door.close();
    for (const backend of this.#backends.values()) stopProbing(backend);
    return new Promise((resolve) => {
      this.#emptied.push(resolve);
      this.#lane.leave();
    });
  }

  /** Ends everything at once; clients are reset. */
  close(): void {
    void this.drain();
    this.#lane.resetClients();
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
    const usable = all.filter((backend) => backend.standing.usable);
    this.#lane.plan({
      scheduler: this.#desired.scheduler,
      backends: usable.map(({ name, address, port, desired, standing }) => ({
        name,
        address,
        port,
        weight: desired.weight,
        preferred: standing.preferred,
      })),
    });
    this.#moveDoor(this.#carries, usable.length > 0);
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

  #moveDoor(carries: boolean, usable: boolean): void {
    if (this.#closed) return;
    if (!carries) this.#door.shut();
    else if (!usable) {
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

  #doorFailed(error: unknown): void {
    this.#doorError = describeError(error);
    this.#log.warn('lb.cannot-listen', { reason: this.#doorError });
    this.#reopen?.cancel();
    this.#reopen = this.#parts.clock.after(REOPEN_MS, () => this.#judge());
    this.#parts.onChange();
  }

  #counted(counts: LaneCounts): void {
    const before = this.#counts;
    this.#counts = counts;
    for (const backend of [...this.#backends.values()]) {
      const { open = 0, total = 0 } = counts.backends.get(backend.name) ?? {};
      const known = before.backends.get(backend.name)?.total ?? 0;
      const served = total < known ? total : total - known;
      backend.connections = open;
      backend.totalConnections += served;
      if (served > 0) this.#know(backend, afterConnect(backend.health));
    }
    this.#parts.onCount();
    if (counts.clients > 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }

  #failed(name: string, { kind, reason }: ConnectFailure): void {
    const backend = this.#backends.get(name);
    if (backend === undefined) return;
    const failure = { kind, reason: connectReason(reason) };
    this.#know(backend, afterConnectFailure(backend.health, failure, this.#thresholds()));
    // What a client has just seen, the probe verifies now instead of in its turn; unless it knows
    // nothing, and would only clear the suspicion.
    const verifiable = this.#desired.healthCheck.type !== 'none' && kind !== 'local';
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
    if (probe.signal.aborted) {
      result.late?.giveUp();
      return;
    }
    backend.probe = null;
    if (result.late !== undefined) this.#waitFor(backend, result.late);
    this.#know(backend, afterProbe(backend.health, result, this.#thresholds()));
    const intervalMs = Math.max(MIN_INTERVAL_MS, this.#desired.healthCheck.intervalMs);
    this.#probeAt(backend, backend.probedAt + intervalMs);
  }

  /** One such wait is enough, and all that a server in trouble is asked to bear. */
  #waitFor(backend: Backend, late: LateAnswer): void {
    if (backend.late !== null) {
      late.giveUp();
      return;
    }
    backend.late = late;
    void late.came.then((came) => {
      backend.late = null;
      if (!came) this.#know(backend, afterSilence(backend.health));
    });
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
