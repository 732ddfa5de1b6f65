/**
 * All frontends of one worker: makes those that run agree with those that are assigned, and reports
 * what became of them; at once when a state changed, and at most twice a second when only counters
 * did. A report holds what has changed and no more: a thousand idle frontends cost nothing.
 */
import type { Socket } from 'node:net';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import { CarrierLink, type CarrierThread } from './carrier-link.ts';
import { Frontend, type FrontendParts } from './frontend.ts';
import { HttpLane } from './http-lane.ts';
import type { LaneEvents } from './lane.ts';
import type { DesiredFrontend } from './ports.ts';
import { createProber } from './probe.ts';
import type { Assignment, Failed, FrontendReport, FrontendVerdicts } from './protocol.ts';
import type { DoorSockets } from './sockets.ts';
import { UdpLane } from './udp-lane.ts';

export interface BalancerParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly readFile: (path: string) => Promise<string>;
  /** Of the frontends that changed. */
  readonly onReport: (frontends: readonly FrontendReport[]) => void;
  /** While this worker leads: of the frontends that changed, before their report. */
  readonly onVerdicts: (verdicts: readonly FrontendVerdicts[]) => void;
  /** While another worker leads: for that one. */
  readonly onFailure: (failed: Failed) => void;
  readonly doors: DoorSockets;
  readonly createDatagramDoors: (address: string) => DoorSockets;
  /** Clients that each UDP frontend may have at a time. */
  readonly maxFlows: number;
  /** Clients that each HTTP frontend may have at a time. */
  readonly maxHttpClients: number;
  readonly readFileNow: (path: string) => string;
  /** Sets on a connected socket what every connection has. */
  readonly tune: (socket: Socket) => void;
  /** Carries the connections; it is ended with the balancer. */
  readonly carrier: CarrierThread;
}

/** Several changes within this time make one report. */
const CHANGE_REPORT_MS: Millis = 5;
const COUNT_REPORT_MS: Millis = 500;

export class Balancer {
  readonly #parts: BalancerParts;
  readonly #carrier: CarrierLink;
  readonly #frontends = new Map<string, Frontend>();
  /** Frontends that serve their last clients by a way that they do not take any more. */
  readonly #leaving = new Map<Frontend, Promise<void>>();
  #leads = false;
  /** Frontends of which something is to be reported, and those of which more than counters is. */
  readonly #counted = new Set<string>();
  readonly #changed = new Set<string>();
  /** The report that is due, and when. */
  #due: { readonly at: Millis; readonly timer: Timer } | null = null;
  #lastReportAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(parts: BalancerParts) {
    this.#parts = parts;
    this.#carrier = new CarrierLink(parts.carrier);
  }

  /** Runs these frontends and no others; idempotent. */
  assign(assignments: readonly Assignment[], leads: boolean): void {
    this.#leads = leads;
    const names = new Set(assignments.map(({ frontend }) => frontend.name));
    for (const [name, running] of this.#frontends) {
      if (names.has(name)) continue;
      running.close();
      this.#frontends.delete(name);
    }
    for (const assignment of assignments) {
      const { frontend } = assignment;
      const running = this.#frontends.get(frontend.name);
      if (running === undefined) {
        const started = new Frontend(assignment, leads, this.#partsOf(frontend));
        this.#frontends.set(frontend.name, started);
        continue;
      }
      if (wayOf(running.desired) !== wayOf(frontend)) {
        // Who came in by the old way goes on by it.
        const leaving = running.drain().then(() => void this.#leaving.delete(running));
        this.#leaving.set(running, leaving);
        this.#frontends.set(
          frontend.name,
          new Frontend(assignment, leads, this.#partsOf(frontend)),
        );
        continue;
      }
      const { address, port } = running.desired;
      // Nothing reaches the old clients any more: VIP:port, which they know, has moved.
      if (address !== frontend.address || port !== frontend.port) running.releaseClients(address);
      running.update(assignment, leads);
    }
  }

  /** What the worker that leads found. */
  learn(verdicts: readonly FrontendVerdicts[]): void {
    for (const { frontend, backends } of verdicts) this.#frontends.get(frontend)?.learn(backends);
  }

  /** A client of another worker could not be connected. */
  hear({ frontend, backend, failure }: Failed): void {
    this.#frontends.get(frontend)?.hear(backend, failure);
  }

  /** Resets every client of `address`. */
  release(address: string): void {
    let clients = 0;
    for (const frontend of this.#all()) clients += frontend.releaseClients(address);
    if (clients > 0) this.#parts.log.info('lb.released', { vip: address, clients });
  }

  /** Lets connections end by themselves for `graceMs`, then resets the rest. */
  async drain(graceMs: Millis): Promise<void> {
    const frontends = this.#all();
    const timer = this.#parts.clock.after(graceMs, () => {
      for (const frontend of frontends) frontend.close();
    });
    await Promise.all([
      ...[...this.#frontends.values()].map((frontend) => frontend.drain()),
      ...this.#leaving.values(),
    ]);
    timer.cancel();
    this.close();
  }

  /** Ends everything at once. */
  close(): void {
    for (const frontend of this.#all()) frontend.close();
    this.#frontends.clear();
    this.#carrier.close();
    this.#due?.timer.cancel();
    this.#due = null;
  }

  #all(): Frontend[] {
    return [...this.#frontends.values(), ...this.#leaving.keys()];
  }

  #partsOf(frontend: DesiredFrontend): FrontendParts {
    const { clock, random, log, readFile, doors } = this.#parts;
    const { name, address, protocol } = frontend;
    return {
      clock,
      random,
      log,
      doors: protocol === 'tcp' ? doors : this.#parts.createDatagramDoors(address),
      createLane: (events) => this.#createLane(frontend, events),
      createProber: (check) => createProber(check, { clock, readFile }),
      onChange: () => {
        this.#changed.add(name);
        this.#reportAt(clock.now() + CHANGE_REPORT_MS);
      },
      onCount: () => {
        this.#counted.add(name);
        this.#reportAt(this.#lastReportAt + COUNT_REPORT_MS);
      },
      onFailure: (backend, failure) =>
        this.#parts.onFailure({ kind: 'failed', frontend: name, backend, failure }),
    };
  }

  #createLane({ name, address, protocol, dataPath, http }: DesiredFrontend, events: LaneEvents) {
    const { clock, log, readFile, readFileNow, maxFlows, maxHttpClients, tune } = this.#parts;
    if (protocol === 'udp') return new UdpLane(events, { clock, address, maxFlows });
    if (dataPath !== 'http') return this.#carrier.createLane(events);
    return new HttpLane(events, {
      clock,
      log: log.child({ frontend: name }),
      options: http ?? { tls: null, backendTls: null },
      readFile,
      readFileNow,
      maxClients: maxHttpClients,
      tune,
    });
  }

  #reportAt(at: Millis): void {
    if (this.#due !== null) {
      if (this.#due.at <= at) return;
      this.#due.timer.cancel();
    }
    const { clock } = this.#parts;
    const timer = clock.after(Math.max(0, at - clock.now()), () => this.#report());
    this.#due = { at, timer };
  }

  #report(): void {
    this.#due = null;
    this.#lastReportAt = this.#parts.clock.now();
    if (this.#leads) {
      const verdicts = [...this.#changed].flatMap(
        (name) => this.#frontends.get(name)?.verdicts() ?? [],
      );
      if (verdicts.length > 0) this.#parts.onVerdicts(verdicts);
    }
    const names = new Set([...this.#changed, ...this.#counted]);
    this.#changed.clear();
    this.#counted.clear();
    this.#parts.onReport([...names].flatMap((name) => this.#frontends.get(name)?.report() ?? []));
  }
}

/** What a lane cannot change while it has clients. */
function wayOf({ protocol, address, dataPath, http }: DesiredFrontend): string {
  if (protocol === 'udp') return `udp ${address}`;
  return dataPath === 'http' ? `http ${JSON.stringify(http)}` : 'tcp';
}
