/**
 * The worker processes as one: each carries a share of the clients, because the kernel spreads new
 * connections over all sockets that listen on one port (SO_REUSEPORT), and one of them leads. The
 * leader chooses the ports, probes the backends and judges; what it finds is told to the others, so
 * that backends are not probed by each, and whoever leads next begins with its verdicts.
 *
 * A worker that dies takes its own connections with it and no others. Where it led, another one
 * leads at once.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { WorkerHost } from './ports.ts';
import type {
  Assignment,
  FromWorker,
  FrontendReport,
  FrontendVerdicts,
  ToWorker,
} from './protocol.ts';
import { mergedReport } from './report.ts';
import { Tally } from './tally.ts';
import { WorkerLink } from './worker-link.ts';

export interface WorkerCrewParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly host: WorkerHost;
  /** How many processes share the clients. */
  readonly count: number;
  /** The first worker has started, and knows nothing yet. */
  readonly onStart: () => void;
  /** All frontends that any worker reports, each as all workers together see it. */
  readonly onReport: (frontends: readonly FrontendReport[]) => void;
  /** No worker is left, and no connection; others follow. */
  readonly onLoss: (reason: string) => void;
}

/** One place in the crew, whoever fills it. */
interface Seat {
  readonly link: WorkerLink;
  alive: boolean;
  /** What its present worker said last of each frontend. */
  readonly reports: Map<string, FrontendReport>;
}

export class WorkerCrew {
  readonly #parts: WorkerCrewParts;
  readonly #seats: readonly Seat[];
  /** What workers that are gone had counted, while others live. */
  readonly #tally = new Tally();
  readonly #verdicts = new Map<string, FrontendVerdicts>();
  #assignments: readonly Assignment[] = [];
  /** The port of each frontend, as the leader has it. */
  readonly #ports = new Map<string, number>();
  #leader: Seat | null = null;

  constructor(parts: WorkerCrewParts) {
    this.#parts = parts;
    this.#seats = Array.from({ length: parts.count }, () => this.#newSeat());
  }

  /** Workers that were started to replace one that was lost. */
  get restarts(): number {
    return this.#seats.reduce((sum, { link }) => sum + link.restarts, 0);
  }

  /**
   * Spawns the first worker; false where that has been done already. The others follow when there
   * are clients to share.
   */
  start(): boolean {
    return this.#seats[0]?.link.start() ?? false;
  }

  /** To every worker that runs now; if there is none, `onStart` will ask again. */
  send(message: Exclude<ToWorker, { kind: 'assign' }>): void {
    for (const { link } of this.#seats) link.send(message);
  }

  /** Run these, and only these. */
  assign(assignments: readonly Assignment[]): void {
    this.#assignments = assignments;
    const names = new Set(assignments.map(({ frontend }) => frontend.name));
    const forgotten = [this.#verdicts, this.#ports, ...this.#seats.map(({ reports }) => reports)];
    for (const map of forgotten) {
      for (const name of map.keys()) if (!names.has(name)) map.delete(name);
    }
    this.#tally.keepOnly(assignments.map(({ frontend }) => frontend));
    for (const { frontend, preferredPort } of assignments) {
      if (!this.#ports.has(frontend.name)) this.#ports.set(frontend.name, preferredPort);
    }
    for (const seat of this.#seats) this.#brief(seat);
    if (!assignments.some(({ carries }) => carries)) return;
    for (const { link } of this.#seats) link.start();
  }

  /** Lets the workers drain for `graceMs` and resolves when all are gone; no others follow. */
  async stop(graceMs: Millis): Promise<void> {
    await Promise.all(this.#seats.map(({ link }) => link.stop(graceMs)));
  }

  #newSeat(): Seat {
    const { clock, random, log, host } = this.#parts;
    const link = new WorkerLink({
      clock,
      random,
      log,
      host,
      onStart: () => this.#started(seat),
      onMessage: (message) => this.#heard(seat, message),
      onLoss: (reason) => this.#lost(seat, reason),
    });
    const seat: Seat = { link, alive: false, reports: new Map() };
    return seat;
  }

  #started(seat: Seat): void {
    const isFirst = this.#leader === null;
    seat.alive = true;
    this.#leader ??= seat;
    if (isFirst) this.#parts.onStart();
    else this.#brief(seat);
  }

  /**
   * Those who follow are told of a frontend once the leader has a port for it, and with it what is
   * known of its backends.
   */
  #brief(seat: Seat): void {
    if (!seat.alive) return;
    const leads = seat === this.#leader;
    const all = this.#assignments.map((assignment) => ({
      ...assignment,
      preferredPort: this.#ports.get(assignment.frontend.name) ?? 0,
    }));
    const assignments = leads ? all : all.filter(({ preferredPort }) => preferredPort > 0);
    seat.link.send({ kind: 'assign', leads, assignments });
    const verdicts = [...this.#verdicts.values()];
    if (!leads && verdicts.length > 0) seat.link.send({ kind: 'verdicts', verdicts });
  }

  #heard(seat: Seat, message: FromWorker): void {
    switch (message.kind) {
      case 'report':
        for (const report of message.frontends) seat.reports.set(report.name, report);
        if (seat === this.#leader) this.#followPorts(message.frontends);
        this.#tell();
        return;
      case 'verdicts':
        if (seat === this.#leader) this.#passOn(seat, message.verdicts);
        return;
      case 'failed':
        if (seat !== this.#leader) this.#leader?.link.send(message);
        return;
      default:
        return;
    }
  }

  #followPorts(reports: readonly FrontendReport[]): void {
    let changed = false;
    for (const { name, port } of reports) {
      if (port === 0 || !this.#ports.has(name) || this.#ports.get(name) === port) continue;
      this.#ports.set(name, port);
      changed = true;
    }
    if (!changed) return;
    for (const seat of this.#seats) if (seat !== this.#leader) this.#brief(seat);
  }

  #passOn(from: Seat, verdicts: readonly FrontendVerdicts[]): void {
    const known = verdicts.filter(({ frontend }) => this.#ports.has(frontend));
    for (const verdict of known) this.#verdicts.set(verdict.frontend, verdict);
    for (const { link } of this.#seats) {
      if (link !== from.link) link.send({ kind: 'verdicts', verdicts: known });
    }
  }

  #lost(seat: Seat, reason: string): void {
    seat.alive = false;
    const heir = this.#seats.find(({ alive }) => alive) ?? null;
    if (heir === null) {
      // What the owner was told last holds all that is counted: it begins anew as we do.
      this.#leader = null;
      this.#forgetCounts();
      this.#parts.onLoss(reason);
      return;
    }
    this.#tally.fold(seat.reports.values());
    seat.reports.clear();
    if (seat === this.#leader) {
      this.#leader = heir;
      this.#brief(heir);
    }
    this.#tell();
  }

  #forgetCounts(): void {
    this.#tally.keepOnly([]);
    for (const { reports } of this.#seats) reports.clear();
  }

  #tell(): void {
    const first = this.#leader === null ? [] : [this.#leader];
    const seats = [...first, ...this.#seats.filter((seat) => seat !== this.#leader)];
    const merged: FrontendReport[] = [];
    for (const { frontend } of this.#assignments) {
      const reports = seats.flatMap(({ reports: all }) => all.get(frontend.name) ?? []);
      const report = mergedReport(reports);
      if (report !== null) merged.push(this.#withFormer(report));
    }
    this.#parts.onReport(merged);
  }

  #withFormer(report: FrontendReport): FrontendReport {
    return {
      ...report,
      counters: this.#tally.counters(report.name, report),
      backends: report.backends.map((backend) => ({
        ...backend,
        totalConnections: this.#tally.connections(
          report.name,
          backend.name,
          backend.totalConnections,
        ),
      })),
    };
  }
}
