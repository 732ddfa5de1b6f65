/**
 * The observer on the wire, from the test's side: who claimed the VIP when, whether two hosts ever
 * did at once, and a way to wait for the next holder.
 */
import { lasting, until } from './clock.ts';
import type { Lab } from './lab.ts';
import type { ObserverConfig, Record } from './observer-child.ts';
import { Station } from './station.ts';
import {
  describeTenures,
  type Overlap,
  overlapsOf,
  type Seen,
  type Tenure,
  tenuresOf,
} from './tenures.ts';

export interface HolderChange {
  readonly vip: string;
  readonly host: string | null;
  readonly at: number;
}

export interface WireReport {
  readonly records: readonly Record[];
  readonly tenures: readonly Tenure[];
  readonly overlaps: readonly Overlap[];
}

/** One and the same holder for so long counts as quiet. */
const quietMs = 700;

export class Observer {
  readonly #station: Station;
  readonly #holders = new Map<string, string | null>();
  readonly #changes: HolderChange[] = [];

  private constructor(station: Station) {
    this.#station = station;
  }

  /** Watches `vips` (the lab's own unless told otherwise) until the lab is closed. */
  static async start(lab: Lab, vips: readonly string[] = lab.vips): Promise<Observer> {
    const config: ObserverConfig = { vips, ...(await lab.observationPost()) };
    let observer: Observer | undefined;
    const station = await Station.start({
      namespace: lab.switchNamespace,
      program: 'observer-child.ts',
      config,
      logFile: lab.logFile('observer'),
      onEvent: (_name, value) => observer?.note(value as HolderChange),
    });
    observer = new Observer(station);
    return observer;
  }

  /** The host that claimed the VIP last, null when nobody does now. */
  holder(vip: string): string | null {
    return this.#holders.get(vip) ?? null;
  }

  /** Every change of holder, in order. */
  get changes(): readonly HolderChange[] {
    return this.#changes;
  }

  note(change: HolderChange): void {
    this.#holders.set(change.vip, change.host);
    this.#changes.push(change);
  }

  /** Resolves with the holder as soon as it is a host that `accept` wants (default: any host). */
  waitForHolder(
    vip: string,
    timeoutMs: number,
    accept: (host: string) => boolean = () => true,
  ): Promise<string> {
    return until(
      () => {
        const host = this.holder(vip);
        return host !== null && accept(host) ? host : undefined;
      },
      { timeoutMs, everyMs: 5, what: `a holder of ${vip} (now: ${this.holder(vip)})` },
    );
  }

  /** The holder, once nobody else was seen for a while; forgets what came before. */
  waitForQuiet(vip: string, timeoutMs = 30_000): Promise<string> {
    return until(
      async () => {
        await this.forget();
        await lasting(quietMs);
        const { tenures } = await this.report(vip);
        return tenures.length === 1 ? tenures[0]?.host : undefined;
      },
      { timeoutMs, what: `a single holder of ${vip}` },
    );
  }

  /** Everything seen of one VIP since the observer started or was told to forget. */
  async report(vip: string): Promise<WireReport> {
    const all = (await this.#station.request('records', null)) as readonly Record[];
    const records = all.filter((record) => record.vip === vip);
    const tenures = tenuresOf(records);
    return { records, tenures, overlaps: overlapsOf(tenures) };
  }

  async forget(): Promise<void> {
    await this.#station.request('forget', null);
  }

  async stop(): Promise<void> {
    await this.#station.stop();
  }
}

/** Throws with the whole story when two hosts held the VIP at one instant. */
export function assertNeverTwo(report: WireReport): void {
  if (report.overlaps.length === 0) return;
  const origin = report.tenures[0]?.from ?? 0;
  const first = report.overlaps[0];
  const near = report.records.filter(
    ({ at }: Seen) => first !== undefined && Math.abs(at - first.from) < 250,
  );
  const story = near.map(
    ({ at, host, kind }) => `${((at - origin) / 1e3).toFixed(4)} ${host} ${kind}`,
  );
  throw new Error(
    `two holders at once: ${JSON.stringify(report.overlaps)}\n` +
      `${describeTenures(report.tenures, origin)}\n${story.join('\n')}`,
  );
}
