/**
 * The agent's side of balancing: turns what is desired into work for the worker process and
 * redirects for the kernel, and says what became of it. It carries no traffic itself, and no state
 * that matters: a worker that dies is told everything again, and finds its port free.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import { sameMembers } from '../base/sets.ts';
import {
  endpoint,
  isUserspace,
  kernelChoice,
  type ResolvedDataPath,
  resolveDataPath,
} from './data-path.ts';
import { type KernelParts, KernelPaths } from './kernel-paths.ts';
import { planOf } from './plans.ts';
import type {
  BackendView,
  DesiredBackend,
  DesiredFrontend,
  Forwarder,
  ForwardPlan,
  FrontendView,
  LbCounters,
  LbDesired,
  Redirect,
  Steering,
  WorkerHost,
} from './ports.ts';
import { favouredBy, type HomeAddresses, preferenceInWords, preferring } from './preference.ts';
import type { FrontendReport } from './protocol.ts';
import { Tally } from './tally.ts';
import { Upkeep } from './upkeep.ts';
import { WorkerCrew } from './worker-crew.ts';

export interface LbControllerParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly workers: WorkerHost;
  /** How many worker processes share the clients. */
  readonly workerCount: number;
  readonly steering: Steering;
  readonly kernel: KernelParts;
  /** The addresses of this host now. */
  readonly localAddresses: () => HomeAddresses;
}

export class LbController {
  readonly #clock: Clock;
  readonly #link: WorkerCrew;
  readonly #steering: Upkeep<Redirect>;
  readonly #kernel: KernelPaths;
  readonly #localAddresses: () => HomeAddresses;
  readonly #tally = new Tally();
  readonly #listeners = new Set<() => void>();
  /** The local port of each frontend, kept while it is desired: the next worker takes it over. */
  readonly #ports = new Map<string, number>();
  /** The VIPs that were desired at some time. */
  readonly #known = new Set<string>();
  #desired: LbDesired = { frontends: [] };
  #endpoints: ReadonlySet<string> = new Set();
  /** This host's own addresses, as long as somebody prefers what is at home. */
  #home: HomeAddresses = new Set();
  /** The path in force of each desired frontend. */
  #paths: ReadonlyMap<string, ResolvedDataPath> = new Map();
  /** The frontends whose redirect stands. */
  #steered: ReadonlySet<string> = new Set();
  /**
   * Who may be chosen in the kernel for each frontend, whomever it prefers: it outlives the worker
   * that judged.
   */
  readonly #plans = new Map<string, ForwardPlan>();
  /** Backends whose established connections were ended, as `frontend backend`. */
  readonly #gone = new Set<string>();
  /** What the workers were told last. */
  #assigned: { readonly desired: LbDesired | null; readonly carried: string } = {
    desired: null,
    carried: '',
  };
  #reports: ReadonlyMap<string, FrontendReport> = new Map();
  /** Why there are no reports, and since when. */
  #absence: string;
  #absentSinceWallMs: number;
  #started = false;

  constructor(parts: LbControllerParts) {
    this.#clock = parts.clock;
    this.#localAddresses = parts.localAddresses;
    this.#absence = 'the proxy worker is starting';
    this.#absentSinceWallMs = parts.clock.wallNow();
    const { clock, random, log } = parts;
    this.#steering = new Upkeep({
      clock,
      random,
      log,
      events: { failed: 'lb.not-steered', again: 'lb.steered' },
      declare: (redirects) => this.#declare(parts.steering, redirects),
      clear: () => parts.steering.clear(),
      onChange: () => this.#changed(),
    });
    this.#kernel = new KernelPaths({
      ...parts.kernel,
      ...{ clock, random, log },
      onChange: () => this.#arrange(),
      onCount: () => this.#changed(),
      onLed: (frontend, backend, led) => this.#tally.led(frontend, backend, led),
    });
    this.#link = new WorkerCrew({
      clock,
      random,
      log,
      host: parts.workers,
      count: parts.workerCount,
      onStart: () => this.#assign(true),
      onReport: (frontends) => this.#reported(frontends),
      onLoss: (reason) => this.#lost(reason),
    });
  }

  /** Begins to act on what is desired; redirects that a former agent left behind go. */
  start(): void {
    this.#started = true;
    this.#home = this.#lookHome();
    this.#arrange();
  }

  /** What is desired from now on; idempotent. Before {@link start} it is only remembered. */
  set(desired: LbDesired): void {
    // Both are plain data; whoever calls often costs nothing while nothing changes.
    if (JSON.stringify(desired) === JSON.stringify(this.#desired)) return;
    this.#desired = desired;
    this.#endpoints = new Set(
      desired.frontends.map(({ address, port }) => endpoint(address, port)),
    );
    this.#forgetFormer(desired);
    const names = new Set(desired.frontends.map(({ name }) => name));
    for (const known of [this.#ports, this.#plans]) {
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    }
    this.#tally.keepOnly(desired.frontends);
    if (!this.#started) {
      this.#changed();
      return;
    }
    this.#home = this.#lookHome();
    this.#arrange();
  }

  /** What the kernel tracks of a VIP that is new here is of a process that was killed with it. */
  #forgetFormer({ frontends }: LbDesired): void {
    for (const { address } of frontends) {
      if (this.#known.has(address)) continue;
      this.#known.add(address);
      this.#kernel.release(address);
    }
  }

  /** Every desired frontend as it is on this host now. */
  view(): FrontendView[] {
    return this.#desired.frontends.map((frontend) => this.#viewOf(frontend));
  }

  counters(): LbCounters {
    const frontends = this.#desired.frontends.map(({ name }) => {
      const report = this.#reports.get(name);
      const clients = (report?.clients ?? 0) + this.#forwarded(name);
      return { name, clients, ...this.#tally.counters(name, report) };
    });
    return {
      workerRestarts: this.#link.restarts,
      steeringFailures: this.#steering.failures + this.#kernel.failures,
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
    this.#kernel.release(address);
  }

  /** Rules or routes of this host have changed: what is ours may be gone, or of no use. */
  hostChanged(): void {
    if (!this.#started) return;
    this.#kernel.look();
    const home = this.#lookHome();
    if (sameMembers(home, this.#home)) return;
    this.#home = home;
    this.#arrange();
  }

  /** Asks the kernel, so not for each report. Addresses that are VIPs are at home nowhere. */
  #lookHome(): HomeAddresses {
    const { frontends } = this.#desired;
    if (!frontends.some(({ prefer }) => prefer === 'local')) return new Set();
    const vips = new Set(frontends.map(({ address }) => address));
    return new Set([...this.#localAddresses()].filter((address) => !vips.has(address)));
  }

  /**
   * No new client from now on; resolves when the last connection has ended, or was reset after
   * `graceMs`, and no redirect of ours is left. Rejects when a redirect could not be removed.
   */
  async stop(graceMs: Millis): Promise<void> {
    this.#started = false;
    await this.#link.stop(graceMs);
    await this.#steering.stop();
    await this.#kernel.stop();
  }

  /**
   * Draws every conclusion from what is desired and known. A frontend changes its path without a
   * gap: the new one stands before the old one goes.
   */
  #arrange(): void {
    if (!this.#started) return;
    const { frontends } = this.#desired;
    this.#paths = new Map(
      frontends.map((frontend) => [frontend.name, resolveDataPath(frontend, this.#kernel)]),
    );
    const isAnyBalanced = frontends.some(({ name }) => this.#pathOf(name) !== 'none');
    // A worker that starts now asks by itself.
    if (!isAnyBalanced || !this.#link.start()) this.#assign();
    this.#steer();
    this.#forward();
    this.#try();
    this.#changed();
  }

  #pathOf(name: string): ResolvedDataPath['dataPath'] {
    return this.#paths.get(name)?.dataPath ?? 'none';
  }

  /** Whether the worker takes clients in: until the kernel does, where it is to do so. */
  #isCarried({ name }: DesiredFrontend): boolean {
    const path = this.#pathOf(name);
    if (isUserspace(path)) return true;
    return isKernel(path) && this.#steered.has(name) && !this.#kernel.stands(name);
  }

  /** The path in the kernel on which it is, or from which the proxy has not taken over yet. */
  #kindOf({ name }: DesiredFrontend): Forwarder['kind'] | null {
    const path = this.#pathOf(name);
    if (isKernel(path)) return path;
    if (!isUserspace(path) || !this.#kernel.stands(name)) return null;
    const isTakenOver = this.#steered.has(name) && this.#reports.get(name)?.serving === true;
    return isTakenOver ? null : 'nftables';
  }

  /** @param anew the worker knows nothing yet */
  #assign(anew = false): void {
    const balanced = this.#desired.frontends.filter(({ name }) => this.#pathOf(name) !== 'none');
    // The port is only where a new worker begins: that it has one now is no news to it.
    const carried = balanced
      .map((each) => [each.name, this.#isCarried(each), ...favouredBy(each, this.#home)].join(' '))
      .join();
    const { desired, carried: before } = this.#assigned;
    if (!anew && desired === this.#desired && carried === before) return;
    this.#assigned = { desired: this.#desired, carried };
    const assignments = balanced.map((frontend) => ({
      frontend: {
        ...frontend,
        backends: frontend.backends.filter((each) => !this.#loops(each)),
      },
      carries: this.#isCarried(frontend),
      preferredPort: this.#ports.get(frontend.name) ?? 0,
      favoured: favouredBy(frontend, this.#home),
    }));
    this.#link.assign(assignments);
  }

  /** A backend that is itself a frontend would send each connection round in circles. */
  #loops({ address, port }: DesiredBackend): boolean {
    return this.#endpoints.has(endpoint(address, port));
  }

  #steer(): void {
    const redirects: Redirect[] = [];
    for (const frontend of this.#desired.frontends) {
      const { name, address, port, protocol } = frontend;
      const toPort = this.#ports.get(name);
      if (toPort === undefined || !this.#isCarried(frontend)) continue;
      redirects.push({ address, port, protocol, toPort });
    }
    this.#steering.want(redirects);
  }

  async #declare(steering: Steering, redirects: readonly Redirect[]): Promise<void> {
    await steering.set(redirects);
    const before = this.#steered;
    const steered = this.#desired.frontends.filter(({ address, port, protocol }) =>
      redirects.some(
        (each) => each.address === address && each.port === port && each.protocol === protocol,
      ),
    );
    this.#steered = new Set(steered.map(({ name }) => name));
    if (!sameMembers(before, this.#steered)) this.#arrange();
  }

  /** Sets the plans of the kernel's paths, and ends what nobody answers any more. */
  #forward(): void {
    const plans = new Map<Forwarder['kind'], ForwardPlan[]>();
    for (const frontend of this.#desired.frontends) {
      const kind = this.#kindOf(frontend);
      if (kind === null) {
        this.#plans.delete(frontend.name);
        continue;
      }
      const { name } = frontend;
      const plan = planOf(frontend, this.#reports.get(name), this.#plans.get(name));
      this.#plans.set(name, plan);
      const wanted = preferring(plan, favouredBy(frontend, this.#home));
      plans.set(kind, [...(plans.get(kind) ?? []), wanted]);
    }
    this.#kernel.want(plans);
    for (const [kind, all] of plans) for (const plan of all) this.#letGo(kind, plan);
  }

  #letGo(kind: Forwarder['kind'], plan: ForwardPlan): void {
    for (const backend of this.#reports.get(plan.name)?.backends ?? []) {
      const key = JSON.stringify([plan.name, backend.name, backend.address, backend.port]);
      if (!backend.gone) this.#gone.delete(key);
      if (!backend.gone || this.#gone.has(key)) continue;
      this.#gone.add(key);
      this.#kernel.sever(kind, plan, { ...backend, mode: 'masquerade' });
    }
  }

  /** Has the kernel's path tried for those that would take it. */
  #try(): void {
    const eager = this.#desired.frontends.filter(
      (frontend) =>
        frontend.dataPath === 'auto' &&
        this.#pathOf(frontend.name) !== 'none' &&
        'kind' in kernelChoice(frontend, this.#kernel),
    );
    const candidates = eager.map((frontend) => {
      const { name } = frontend;
      const { backends } = planOf(frontend, this.#reports.get(name), this.#plans.get(name));
      return { name, backends };
    });
    this.#kernel.consider(candidates);
  }

  #reported(frontends: readonly FrontendReport[]): void {
    this.#reports = new Map(frontends.map((report) => [report.name, report]));
    const desired = new Set(this.#desired.frontends.map(({ name }) => name));
    for (const { name, port } of frontends) {
      if (port > 0 && desired.has(name)) this.#ports.set(name, port);
    }
    this.#arrange();
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
    const { dataPath, reason } = this.#paths.get(name) ?? resolveDataPath(frontend, this.#kernel);
    const base = { name, address, port, dataPath };
    if (dataPath === 'none') return { ...base, dataPathReason: reason, backends: [] };
    const report = this.#reports.get(name);
    const trouble = isKernel(dataPath)
      ? this.#kernelTrouble(name, dataPath)
      : this.#trouble(report);
    const preference = this.#preferenceOf(frontend, report);
    const dataPathReason = [reason, preference, trouble].filter((said) => said !== null).join('; ');
    const backends = frontend.backends.map((each) => {
      const view = this.#backendView(name, each, report);
      return this.#loops(each) ? { ...view, reason: 'is a frontend itself: never used' } : view;
    });
    return { ...base, dataPathReason, backends };
  }

  #preferenceOf(frontend: DesiredFrontend, report: FrontendReport | undefined): string | null {
    const serving = report?.backends
      .filter(({ state }) => state === 'up' || state === 'degraded')
      .map(({ name }) => name);
    return preferenceInWords(frontend, favouredBy(frontend, this.#home), serving ?? null);
  }

  /** What keeps clients from being served, other than a backend. */
  #trouble(report: FrontendReport | undefined): string | null {
    if (report === undefined) return this.#absence;
    if (report.error !== null) return `cannot listen: ${report.error}`;
    const steering = this.#steering.error;
    if (steering !== null) return `the VIP is not steered to the proxy, retrying: ${steering}`;
    return report.serving ? null : REFUSED;
  }

  #kernelTrouble(name: string, kind: Forwarder['kind']): string | null {
    const error = this.#kernel.error(kind);
    if (error !== null) return `the VIP is not forwarded, retrying: ${error}`;
    if (this.#plans.get(name)?.backends.length === 0) return REFUSED;
    // Connections go on, and so do new ones, by the last verdicts.
    return this.#reports.has(name) ? null : this.#absence;
  }

  #backendView(
    frontend: string,
    { name, address, port, weight }: DesiredBackend,
    report: FrontendReport | undefined,
  ): BackendView {
    const seen = report?.backends.find(
      (each) => each.name === name && each.address === address && each.port === port,
    );
    const forwarded = this.#kernel.connections(frontend, name);
    const connections = forwarded + (seen?.connections ?? 0);
    const totalConnections = this.#tally.connections(frontend, name, seen?.totalConnections ?? 0);
    const counts = { connections, totalConnections };
    if (seen !== undefined) {
      const { gone: _gone, judged: _judged, ...view } = seen;
      return { ...view, weight, ...counts };
    }
    return {
      ...{ name, address, port, weight },
      state: 'down',
      sinceWallMs: this.#absentSinceWallMs,
      reason: report === undefined ? this.#absence : 'no probe has ended yet',
      ...counts,
    };
  }

  /** Connections that the kernel carries for a frontend. */
  #forwarded(name: string): number {
    const frontend = this.#desired.frontends.find((each) => each.name === name);
    const backends = frontend?.backends ?? [];
    return backends.reduce((sum, each) => sum + this.#kernel.connections(name, each.name), 0);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

const REFUSED = 'connections are refused: no backend accepts TCP';

function isKernel(path: ResolvedDataPath['dataPath']): path is Forwarder['kind'] {
  return path === 'nftables' || path === 'ipvs';
}
