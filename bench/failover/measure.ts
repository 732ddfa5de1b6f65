/** One fault at the holder of the VIP, and what the client and the wire saw of it. */
import { ApiServer, apiServerPort } from '../../test/lab/api-server.ts';
import { lasting, monotonicMs, until } from '../../test/lab/clock.ts';
import { createLab, type Lab } from '../../test/lab/lab.ts';
import { Observer } from '../../test/lab/observer.ts';
import { firstClaimAfter } from '../../test/lab/tenures.ts';
import { clientGap, Traffic } from '../../test/lab/traffic.ts';
import type { Contender, Contestants, FaultKind } from './contender.ts';

export interface Measurement {
  readonly contender: string;
  readonly fault: FaultKind;
  /** The client's longest time between two successes. */
  readonly gapMs: number;
  /** From the fault to the first claim of another host; null when none came. */
  readonly takeoverMs: number | null;
  /** The time in which two hosts held the VIP. */
  readonly overlapMs: number;
  /** Whether two hosts still did when the observation ended. */
  readonly overlapStands: boolean;
}

/** How long after the take-over (or its absence) the wire is watched. */
const aftermathMs = 1_000;
/** keepalived's default needs a little over three seconds. */
const patienceMs = 6_000;

/** These faults, one after the other, on one lab of this contender. */
export async function measureAll(
  contender: Contender,
  faults: readonly FaultKind[],
  onResult: (measurement: Measurement) => void,
): Promise<void> {
  await using lab = await createLab();
  await ApiServer.startAll(lab.hosts);
  const observer = await Observer.start(lab);
  const contestants = await contender.start(lab);
  for (const [at, fault] of faults.entries()) {
    const holder = await observer.waitForQuiet(lab.vip);
    const measurement = await measure({ lab, observer, contestants, fault, holder });
    onResult({ contender: contender.name, fault, ...measurement });
    if (at < faults.length - 1) await contestants.recover(fault, holder);
  }
}

interface Scene {
  readonly lab: Lab;
  readonly observer: Observer;
  readonly contestants: Contestants;
  readonly fault: FaultKind;
  readonly holder: string;
}

async function measure(scene: Scene): Promise<Omit<Measurement, 'contender' | 'fault'>> {
  const { lab, observer, holder } = scene;
  const traffic = await Traffic.start(lab.client, { address: lab.vip, port: apiServerPort });
  await until(async () => (await traffic.report()).successes.length > 100, {
    timeoutMs: 10_000,
    what: 'traffic before the fault',
  });
  await observer.forget();
  const faultAt = monotonicMs();
  await strike(scene);
  await observer
    .waitForHolder(lab.vip, patienceMs, (host) => host !== holder)
    .catch(() => undefined);
  await lasting(aftermathMs);
  const report = await traffic.stop();
  const wire = await observer.report(lab.vip);
  const heir = firstClaimAfter(wire.records, faultAt, holder);
  const overlapMs = wire.overlaps.reduce((sum, { from, to }) => sum + to - from, 0);
  const last = wire.records.at(-1)?.at ?? faultAt;
  return {
    gapMs: clientGap(report, faultAt).lengthMs,
    takeoverMs: heir === null ? null : heir.at - faultAt,
    overlapMs,
    overlapStands: wire.overlaps.some(({ to }) => last - to < 100),
  };
}

async function strike({ lab, contestants, fault, holder }: Scene): Promise<void> {
  switch (fault) {
    case 'SIGTERM':
      return contestants.daemon(holder).signal('SIGTERM');
    case 'transfer':
      return contestants.transfer(holder);
    case 'SIGKILL':
    case 'SIGSTOP':
      return contestants.daemon(holder).signalGroup(fault);
    case 'unplug':
      return lab.switch.unplug(holder);
    case 'cut':
      return lab.switch.cut(holder);
  }
}
