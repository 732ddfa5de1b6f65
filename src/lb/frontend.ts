/**
 * One balanced frontend inside a worker: its door (for a path in the kernel always shut), its lane
 * and the health of its backends, kept in agreement. Every change of health, spec or draining goes
 * through one function (`#judge`), which draws all conclusions anew: who stands how, who may be
 * chosen, whether the door is open.
 *
 * In the worker that leads, health comes from probes and from everybody's clients; in the others,
 * it is what the leader says, and suspicions of their own until it has spoken.
 */
import { defined } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import {
  type Backend,
  newBackend,
  sameEndpoint,
  takesNothing,
  verdictOf,
  viewOf,
} from './backend.ts';
import type { LaneCounts } from './carrier-protocol.ts';
import {
  afterConnect,
  afterConnectFailure,
  afterProbe,
  afterSilence,
  type ConnectFailure,
  type Health,
  type Standing,
  standings,
  type Thresholds,
} from './health.ts';
import type { Lane, LaneEvents } from './lane.ts';
import { Door } from './listener.ts';
import type { DesiredFrontend, HealthCheck } from './ports.ts';
import { firstChoice } from './preference.ts';
import { connectReason, type Prober } from './probe.ts';
import { ProbeSchedule } from './probe-schedule.ts';
import type { Assignment, BackendVerdict, FrontendReport, FrontendVerdicts } from './protocol.ts';
import type { DoorSockets } from './sockets.ts';

export interface FrontendParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly doors: DoorSockets;
  readonly createLane: (events: LaneEvents) => Lane;
  readonly createProber: (check: HealthCheck) => Prober;
  /** A state, a reason or the port changed. */
  readonly onChange: () => void;
  /** Only counters changed. */
  readonly onCount: () => void;
  /** For the worker that leads: a client of a worker that does not could not be connected. */
  readonly onFailure: (backend: string, failure: ConnectFailure) => void;
}

/** Wait before the door is tried again after it could not be opened. */
const REOPEN_MS: Millis = 500;
/** A suspicion that no probe can clear is forgotten after this time. */
const FORGIVE_MS: Millis = 5_000;

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
  readonly #probes: ProbeSchedule;
  #desired: DesiredFrontend;
  #carries: boolean;
  #favoured: readonly string[];
  #leads: boolean;
  #backends = new Map<string, Backend>();
  #counts: LaneCounts = NO_COUNTS;
  readonly #emptied: (() => void)[] = [];
  #doorError: string | null = null;
  #reopen: Timer | null = null;
  #closed = false;

  constructor(assignment: Assignment, leads: boolean, parts: FrontendParts) {
    const { frontend: desired, carries, preferredPort, favoured } = assignment;
    this.#parts = parts;
    this.#desired = desired;
    this.#leads = leads;
    this.#carries = carries && this.#shares(desired);
    this.#favoured = favoured;
    this.#probes = new ProbeSchedule(desired.healthCheck, {
      clock: parts.clock,
      random: parts.random,
      createProber: parts.createProber,
      onResult: (backend, result) =>
        this.#know(backend, afterProbe(backend.health, result, this.#thresholds())),
      onSilence: (backend) => this.#know(backend, afterSilence(backend.health)),
    });
    this.#log = parts.log.child({ frontend: desired.name });
    this.#lane = parts.createLane({
      failed: (name, failure) => this.#failed(name, failure),
      counted: (counts) => this.#counted(counts),
    });
    this.#lane.plan({ scheduler: desired.scheduler, backends: [] });
    this.#door = new Door({
      preferredPort,
      mayMove: leads,
      sockets: parts.doors,
      lane: this.#lane,
      onError: (error) => this.#doorFailed(error),
    });
    // A port now, before any backend is known to be up, so that the redirect can be set already.
    if (this.#carries) this.#door.claim();
    this.#reconcile();
  }

  get desired(): DesiredFrontend {
    return this.#desired;
  }

  /** Follows a new wish; idempotent. Health and connections survive, and so does a port agreed. */
  update(assignment: Assignment, leads: boolean): void {
    const { frontend: desired, carries, preferredPort, favoured } = assignment;
    const takesOver = leads && !this.#leads;
    this.#desired = desired;
    this.#leads = leads;
    this.#carries = carries && this.#shares(desired);
    this.#favoured = favoured;
    this.#door.follow(leads ? 0 : preferredPort, leads);
    if (this.#carries) this.#door.claim();
    const probeAnew = this.#probes.follow(desired.healthCheck) || takesOver;
    if (probeAnew || !leads) for (const each of this.#backends.values()) this.#probes.stop(each);
    this.#reconcile();
    if (probeAnew) for (const backend of this.#backends.values()) this.#probeNow(backend);
  }

  /** What the worker that leads found. */
  learn(verdicts: readonly BackendVerdict[]): void {
    if (this.#leads) return;
    for (const verdict of verdicts) {
      const backend = this.#backends.get(verdict.name);
      if (backend === undefined || !sameEndpoint(backend, verdict)) continue;
      this.#know(backend, verdict.health);
      backend.sinceWallMs = verdict.sinceWallMs;
    }
  }

  /** A client of another worker could not be connected. */
  hear(backend: string, failure: ConnectFailure): void {
    if (this.#leads) this.#failed(backend, failure);
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

  verdicts(): FrontendVerdicts {
    return {
      frontend: this.#desired.name,
      backends: [...this.#backends.values()].map(verdictOf),
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
    for (const backend of this.#backends.values()) this.#probes.stop(backend);
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

  /**
   * Datagrams are the leader's alone: the kernel spreads them anew over the sockets of a port
   * whenever one comes or goes, and flows would change their backends.
   */
  #shares({ protocol }: DesiredFrontend): boolean {
    return protocol === 'tcp' || this.#leads;
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
      if (backends.get(name) !== backend) this.#probes.stop(backend);
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
    // The others stay in the lane's plan: they make a connection good that a favoured one refused.
    const trusted = usable.filter((backend) => backend.standing.preferred);
    const first = new Set(firstChoice(trusted, this.#favoured));
    this.#lane.plan({
      scheduler: this.#desired.scheduler,
      backends: usable.map((backend) => ({
        name: backend.name,
        address: backend.address,
        port: backend.port,
        weight: backend.desired.weight,
        preferred: first.has(backend),
      })),
    });
    this.#moveDoor(usable.length > 0);
    this.#parts.onChange();
  }

  #stand(backend: Backend, standing: Standing): void {
    const from = backend.standing.state;
    backend.standing = standing;
    if (standing.state === from) return;
    backend.sinceWallMs = this.#parts.clock.wallNow();
    // Once for all workers: what the others know, they have from here.
    if (!this.#leads) return;
    const { name } = backend;
    this.#log.info('lb.backend', {
      backend: name,
      from,
      to: standing.state,
      reason: standing.reason,
    });
  }

  #moveDoor(usable: boolean): void {
    if (this.#closed) return;
    if (!this.#carries) this.#door.shut();
    else if (!usable) {
      const isNews = this.#door.isOpen && this.#leads;
      if (isNews) this.#log.warn('lb.refusing', { reason: 'no backend accepts TCP' });
      this.#door.shut();
    } else if (!this.#door.isOpen) this.#openDoor();
  }

  #openDoor(): void {
    this.#door.open();
    if (!this.#door.isOpen) return;
    this.#doorError = null;
    if (this.#leads) this.#log.info('lb.serving', { localPort: this.#door.port });
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
      // A datagram that was sent proves nothing.
      const isProof = served > 0 && this.#desired.protocol === 'tcp';
      if (isProof) this.#know(backend, afterConnect(backend.health));
    }
    this.#parts.onCount();
    if (counts.clients > 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }

  #failed(name: string, failure: ConnectFailure): void {
    const backend = this.#backends.get(name);
    if (backend === undefined || failure.kind === 'local') return;
    if (!this.#leads) {
      // Whom to try last is decided at once, everything else by those who see more.
      this.#know(backend, { ...backend.health, suspect: true });
      this.#parts.onFailure(name, failure);
      return;
    }
    const told = { ...failure, reason: connectReason(failure.reason) };
    this.#know(backend, afterConnectFailure(backend.health, told, this.#thresholds()));
    // What a client has just seen, the probe verifies now instead of in its turn.
    if (this.#desired.healthCheck.type !== 'none') this.#probeNow(backend);
    else this.#forgiveLater(backend);
  }

  #forgiveLater(backend: Backend): void {
    backend.timer?.cancel();
    backend.timer = this.#parts.clock.after(FORGIVE_MS, () =>
      this.#know(backend, afterConnect(backend.health)),
    );
  }

  #know(backend: Backend, health: Health): void {
    if (health === backend.health) return;
    const isLost = health.gone && !backend.health.gone;
    backend.health = health;
    // The backend may have left the spec while a connection to it was under way.
    if (this.#backends.get(backend.name) !== backend) return;
    this.#judge();
    if (isLost) this.#lane.sever(backend.name);
  }

  #probeNow(backend: Backend): void {
    if (!this.#leads || this.#closed || this.#backends.get(backend.name) !== backend) return;
    this.#probes.probeNow(backend);
  }

  #thresholds(): Thresholds {
    const { type, rise, fall } = this.#desired.healthCheck;
    // Unchecked backends are never taken out: nothing would ever take them in again.
    return type === 'none' ? { rise: 1, fall: Number.POSITIVE_INFINITY } : { rise, fall };
  }
}
