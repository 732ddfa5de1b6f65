/**
 * The agent's side of balancing: turns what is desired into work for the worker process and
 * redirects for the kernel, and says what became of it. It carries no traffic itself, and no state
 * that matters: a worker that dies is told everything again, and finds its port free.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import { resolveDataPath } from './data-path.ts';
import type {
  BackendView,
  DesiredBackend,
  DesiredFrontend,
  FrontendView,
  LbCounters,
  LbDesired,
  Redirect,
  Steering,
  WorkerHost,
} from './ports.ts';
import type { FrontendReport } from './protocol.ts';
import { Steerer } from './steerer.ts';
import { Tally } from './tally.ts';
import { WorkerLink } from './worker-link.ts';

export interface LbControllerParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly workers: WorkerHost;
  readonly steering: Steering;
}

export class LbController {
  readonly #clock: Clock;
  readonly #link: WorkerLink;
  readonly #steerer: Steerer;
  readonly #tally = new Tally();
  readonly #listeners = new Set<() => void>();
  /** The local port of each frontend, kept while it is desired: the next worker takes it over. */
  readonly #ports = new Map<string, number>();
  #desired: LbDesired = { frontends: [] };
  #reports: ReadonlyMap<string, FrontendReport> = new Map();
  /** Why there are no reports, and since when. */
  #absence: string;
  #absentSinceWallMs: number;
  #started = false;

  constructor(parts: LbControllerParts) {
    this.#clock = parts.clock;
    this.#absence = 'the proxy worker is starting';
    this.#absentSinceWallMs = parts.clock.wallNow();
    const { clock, random, log } = parts;
    this.#steerer = new Steerer({
      clock,
      random,
      log,
      steering: parts.steering,
      onChange: () => this.#changed(),
    });
    this.#link = new WorkerLink({
      clock,
      random,
      log,
      host: parts.workers,
      onStart: () => this.#assign(),
      onReport: (frontends) => this.#reported(frontends),
      onLoss: (reason) => this.#lost(reason),
    });
  }

  /** Begins to act on what is desired; redirects that a former agent left behind go. */
  start(): void {
    this.#started = true;
    this.#act();
  }

  /** What is desired from now on; idempotent. Before {@link start} it is only remembered. */
  set(desired: LbDesired): void {
    // Both are plain data; whoever calls often costs nothing while nothing changes.
    if (JSON.stringify(desired) === JSON.stringify(this.#desired)) return;
    this.#desired = desired;
    const names = new Set(desired.frontends.map(({ name }) => name));
    for (const name of this.#ports.keys()) if (!names.has(name)) this.#ports.delete(name);
    this.#tally.keepOnly(desired.frontends);
    if (this.#started) this.#act();
    this.#changed();
  }

  /** Every desired frontend as it is on this host now. */
  view(): FrontendView[] {
    return this.#desired.frontends.map((frontend) => this.#viewOf(frontend));
  }

  counters(): LbCounters {
    const frontends = this.#desired.frontends.map(({ name }) => {
      const report = this.#reports.get(name);
      return { name, clients: report?.clients ?? 0, ...this.#tally.counters(name, report) };
    });
    return {
      workerRestarts: this.#link.restarts,
      steeringFailures: this.#steerer.failures,
      frontends,
    };
  }

  /**
   * Calls `listener` after each change of {@link view}, at most a few times a second when only
   * counters change; returns how to stop that.
   */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resets the clients of a VIP that this host has lost, so that they reconnect to its new holder
   * within their next packet instead of waiting for a timeout. Harmless when there are none.
   */
  releaseClients(address: string): void {
    this.#link.send({ kind: 'release', address });
  }

  /**
   * No new client from now on; resolves when the last connection has ended, or was reset after
   * `graceMs`, and no redirect of ours is left. Rejects when a redirect could not be removed.
   */
  async stop(graceMs: Millis): Promise<void> {
    this.#started = false;
    await this.#link.stop(graceMs);
    await this.#steerer.stop();
  }

  #act(): void {
    // A worker that starts now asks by itself.
    if (this.#proxied().length === 0 || !this.#link.start()) this.#assign();
    this.#steer();
  }

  #proxied(): DesiredFrontend[] {
    return this.#desired.frontends.filter(
      (frontend) => resolveDataPath(frontend).dataPath === 'proxy',
    );
  }

  #assign(): void {
    const assignments = this.#proxied().map((frontend) => ({
      frontend: {
        ...frontend,
        backends: frontend.backends.filter((each) => !this.#loops(each)),
      },
      carries: true,
      preferredPort: this.#ports.get(frontend.name) ?? 0,
    }));
    this.#link.send({ kind: 'assign', assignments });
  }

  /** A backend that is itself a frontend would send each connection round in circles. */
  #loops({ address, port }: DesiredBackend): boolean {
    return this.#desired.frontends.some(
      (frontend) => frontend.address === address && frontend.port === port,
    );
  }

  #steer(): void {
    const redirects: Redirect[] = [];
    for (const { name, address, port, protocol } of this.#proxied()) {
      const toPort = this.#ports.get(name);
      if (toPort !== undefined) redirects.push({ address, port, protocol, toPort });
    }
    if (this.#started) this.#steerer.want(redirects);
  }

  #reported(frontends: readonly FrontendReport[]): void {
    this.#reports = new Map(frontends.map((report) => [report.name, report]));
    const desired = new Set(this.#desired.frontends.map(({ name }) => name));
    for (const { name, port } of frontends) {
      if (port > 0 && desired.has(name)) this.#ports.set(name, port);
    }
    this.#steer();
    this.#changed();
  }

  #lost(reason: string): void {
    this.#tally.fold(this.#reports.values());
    this.#reports = new Map();
    this.#absence = `the proxy worker ${reason}; it is restarted`;
    this.#absentSinceWallMs = this.#clock.wallNow();
    this.#changed();
  }

  #viewOf(frontend: DesiredFrontend): FrontendView {
    const { name, address, port } = frontend;
    const { dataPath, reason } = resolveDataPath(frontend);
    const base = { name, address, port, dataPath };
    if (dataPath !== 'proxy') return { ...base, dataPathReason: reason, backends: [] };
    const report = this.#reports.get(name);
    const trouble = this.#trouble(report);
    const dataPathReason = trouble === null ? reason : `${reason}; ${trouble}`;
    const backends = frontend.backends.map((each) => {
      const view = this.#backendView(name, each, report);
      return this.#loops(each) ? { ...view, reason: 'is a frontend itself: never used' } : view;
    });
    return { ...base, dataPathReason, backends };
  }

  /** What keeps clients from being served, other than a backend. */
  #trouble(report: FrontendReport | undefined): string | null {
    if (report === undefined) return this.#absence;
    if (report.error !== null) return `cannot listen: ${report.error}`;
    const steering = this.#steerer.error;
    if (steering !== null) return `the VIP is not steered to the proxy, retrying: ${steering}`;
    return report.serving ? null : 'connections are refused: no backend accepts TCP';
  }

  #backendView(
    frontend: string,
    { name, address, port, weight }: DesiredBackend,
    report: FrontendReport | undefined,
  ): BackendView {
    const seen = report?.backends.find(
      (each) => each.name === name && each.address === address && each.port === port,
    );
    const totalConnections = this.#tally.connections(frontend, name, seen?.totalConnections ?? 0);
    if (seen !== undefined) {
      const { gone: _, ...view } = seen;
      return { ...view, weight, totalConnections };
    }
    return {
      name,
      address,
      port,
      weight,
      state: 'down',
      sinceWallMs: this.#absentSinceWallMs,
      reason: report === undefined ? this.#absence : 'no probe has ended yet',
      connections: 0,
      totalConnections,
    };
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
