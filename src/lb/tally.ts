/**
 * Counters that outlive the processes that count: a worker starts at zero, the sum over all workers
 * goes on growing.
 */

import type { LaneCounters } from './carrier-protocol.ts';
import type { FrontendReport } from './protocol.ts';

const ZERO: LaneCounters = { accepted: 0, unserved: 0, overLimit: 0, connectFailures: 0 };

export class Tally {
  /** What the kernel and workers that are gone had counted, by frontend, and by its backends. */
  readonly #frontends = new Map<string, LaneCounters>();
  readonly #backends = new Map<string, number>();

  /** Adds the last report of a worker that is gone. */
  fold(reports: Iterable<FrontendReport>): void {
    for (const report of reports) {
      this.#frontends.set(report.name, this.counters(report.name, report));
      for (const { name, totalConnections } of report.backends) {
        const total = this.connections(report.name, name, totalConnections);
        this.#backends.set(key(report.name, name), total);
      }
    }
  }

  /** Adds what a path in the kernel has led to a backend since it was last asked. */
  led(frontend: string, backend: string, connections: number): void {
    const before = this.#frontends.get(frontend) ?? ZERO;
    this.#frontends.set(frontend, { ...before, accepted: before.accepted + connections });
    this.#backends.set(key(frontend, backend), this.connections(frontend, backend, connections));
  }

  /** The counters of a frontend: by the kernel, earlier workers and the present one's report. */
  counters(frontend: string, report: FrontendReport | undefined): LaneCounters {
    const before = this.#frontends.get(frontend) ?? ZERO;
    const now = report?.counters ?? ZERO;
    return {
      accepted: before.accepted + now.accepted,
      unserved: before.unserved + now.unserved,
      overLimit: before.overLimit + now.overLimit,
      connectFailures: before.connectFailures + now.connectFailures,
    };
  }

  /** Connections ever sent to a backend: by the kernel and earlier workers, and `now` since. */
  connections(frontend: string, backend: string, now: number): number {
    return (this.#backends.get(key(frontend, backend)) ?? 0) + now;
  }

  /** Forgets what is no longer desired. */
  keepOnly(frontends: readonly { name: string; backends: readonly { name: string }[] }[]): void {
    const names = new Set(frontends.map(({ name }) => name));
    const keys = new Set(
      frontends.flatMap(({ name, backends }) => backends.map((backend) => key(name, backend.name))),
    );
    for (const name of this.#frontends.keys()) if (!names.has(name)) this.#frontends.delete(name);
    for (const each of this.#backends.keys()) if (!keys.has(each)) this.#backends.delete(each);
  }
}

function key(frontend: string, backend: string): string {
  return JSON.stringify([frontend, backend]);
}
