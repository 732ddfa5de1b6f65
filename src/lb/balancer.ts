/**
 * All frontends of one worker: makes those that run agree with those that are assigned, and reports
 * what became of it; at once when a state changed, and at most twice a second when only counters
 * did.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { CarrierLink, type CarrierThread } from './carrier-link.ts';
import { Frontend, type FrontendParts } from './frontend.ts';
import { createProber } from './probe.ts';
import type { Assignment, FrontendReport } from './protocol.ts';
import type { DoorSockets } from './sockets.ts';

export interface BalancerParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly readFile: (path: string) => Promise<string>;
  readonly onReport: (frontends: readonly FrontendReport[]) => void;
  readonly doors: DoorSockets;
  /** Carries the connections; it is ended with the balancer. */
  readonly carrier: CarrierThread;
}

/** Several changes within this time make one report. */
const CHANGE_REPORT_MS: Millis = 5;
const COUNT_REPORT_MS: Millis = 500;

export class Balancer {
  readonly #parts: BalancerParts;
  readonly #frontendParts: FrontendParts;
  readonly #carrier: CarrierLink;
  readonly #frontends = new Map<string, Frontend>();
  /** The report that is due, and when. */
  #due: { readonly at: Millis; readonly timer: Timer } | null = null;
  #lastReportAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(parts: BalancerParts) {
    this.#parts = parts;
    const { clock, log, readFile, doors } = parts;
    this.#carrier = new CarrierLink(parts.carrier);
    this.#frontendParts = {
      clock,
      log,
      carrier: this.#carrier,
      doors,
      createProber: (check) => createProber(check, { clock, readFile }),
      onChange: () => this.#reportAt(clock.now() + CHANGE_REPORT_MS),
      onCount: () => this.#reportAt(this.#lastReportAt + COUNT_REPORT_MS),
    };
  }

  /** Runs these frontends and no others; idempotent. */
  assign(assignments: readonly Assignment[]): void {
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
        const started = new Frontend(assignment, this.#frontendParts);
        this.#frontends.set(frontend.name, started);
        continue;
      }
      const { address, port } = running.desired;
      // Nothing reaches the old clients any more: VIP:port, which they know, has moved.
      if (address !== frontend.address || port !== frontend.port) running.releaseClients(address);
      running.update(assignment);
    }
    this.#frontendParts.onChange();
  }

  /** Resets every client of `address`. */
  release(address: string): void {
    let clients = 0;
    for (const frontend of this.#frontends.values()) clients += frontend.releaseClients(address);
    if (clients > 0) this.#parts.log.info('lb.released', { vip: address, clients });
  }

  /** Lets connections end by themselves for `graceMs`, then resets the rest. */
  async drain(graceMs: Millis): Promise<void> {
    const frontends = [...this.#frontends.values()];
    const timer = this.#parts.clock.after(graceMs, () => {
      for (const frontend of frontends) frontend.close();
    });
    await Promise.all(frontends.map((frontend) => frontend.drain()));
    timer.cancel();
    this.close();
  }

  /** Ends everything at once. */
  close(): void {
    for (const frontend of this.#frontends.values()) frontend.close();
    this.#frontends.clear();
    this.#carrier.close();
    this.#due?.timer.cancel();
    this.#due = null;
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
    this.#parts.onReport([...this.#frontends.values()].map((frontend) => frontend.report()));
  }
}
