/** The traffic client from the test's side: starts it somewhere in the lab and reads its book. */
import { longestGap, tally } from './gaps.ts';
import type { Host } from './host.ts';
import { Station } from './station.ts';
import type { TrafficConfig, TrafficReport } from './traffic-child.ts';

export class Traffic {
  readonly #station: Station;

  private constructor(station: Station) {
    this.#station = station;
  }

  /** By default a connection every 5 ms, given up after 1 s, and no long-lived ones. */
  static async start(
    from: Pick<Host, 'namespace' | 'directory' | 'adopt'>,
    target: Pick<TrafficConfig, 'address' | 'port'> & Partial<TrafficConfig>,
  ): Promise<Traffic> {
    const config: TrafficConfig = { everyMs: 5, giveUpMs: 1_000, streams: 0, ...target };
    const station = await Station.start({
      namespace: from.namespace,
      program: 'traffic-child.ts',
      config,
      logFile: `${from.directory}/traffic.log`,
    });
    from.adopt(station.child);
    return new Traffic(station);
  }

  async report(): Promise<TrafficReport> {
    return (await this.#station.request('report', null)) as TrafficReport;
  }

  async forget(): Promise<void> {
    await this.#station.request('forget', null);
  }

  async stop(): Promise<TrafficReport> {
    const report = await this.report();
    await this.#station.stop();
    return report;
  }
}

/**
 * The longest time between two successes of those that reach past `since`. Without `since` the
 * whole report counts from its first success on: starting up is no gap.
 */
export function clientGap(
  report: TrafficReport,
  since?: number,
): { readonly lengthMs: number; readonly at: number } {
  const instants = report.successes.map(({ at }) => at).sort((a, b) => a - b);
  const before = instants.findLast((at) => since !== undefined && at <= since);
  const from = before ?? since ?? instants[0] ?? report.since;
  // Attempts still open at the end have not failed: only a real silence reaches to the end.
  const last = instants.at(-1) ?? report.since;
  const to = report.until - last < stillOpenMs ? last : report.until;
  return longestGap(instants, { from, to });
}

/** An attempt younger than this is not missed yet. */
const stillOpenMs = 100;

export function perServer(report: TrafficReport): ReadonlyMap<string, number> {
  return tally(report.successes.map(({ server }) => server));
}

export function perFailure(report: TrafficReport): ReadonlyMap<string, number> {
  return tally(report.failures.map(({ reason }) => reason));
}
