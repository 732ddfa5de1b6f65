/** One run of a fault on a settled cluster, and the verdict of the wire. */
import { prng } from '../../src/base/prng.ts';
import type { Fault } from './campaign-faults.ts';
import type { Scene } from './scene.ts';

/** Of a fault that consists of pauses; its 20 runs make 500. */
const pausesPerRun = 25;

export interface Verdict {
  readonly overlapMs: number;
  readonly silentMs: number;
  readonly figures: Readonly<Record<string, readonly number[]>>;
}

/** Plays, heals, waits until the cluster has settled, and judges; throws where it does not. */
export async function playFault(
  scene: Scene,
  fault: Fault,
  { seed, pauses = pausesPerRun }: { readonly seed: number; readonly pauses?: number },
): Promise<Verdict> {
  const figures: Record<string, number[]> = {};
  const note = (figure: string, value: number): void => {
    figures[figure] = [...(figures[figure] ?? []), value];
  };
  await scene.observer.forget();
  await fault.play({ scene, random: prng(seed), pauses, note });
  await scene.lab.switch.heal();
  await scene.cluster.settled();
  const dead = scene.cluster.hosts.filter((host) => !host.agentRuns).map(({ name }) => name);
  if (dead.length > 0) throw new Error(`the agent of ${dead.join(', ')} ended by itself`);
  return { ...(await judge(scene)), figures };
}

/** What the observer saw since it was told to forget. */
export async function judge({ lab, observer }: Scene): Promise<Omit<Verdict, 'figures'>> {
  let overlapMs = 0;
  let silentMs = 0;
  for (const vip of lab.vips) {
    const { records, overlaps } = await observer.report(vip);
    for (const { from, to } of overlaps) overlapMs += Math.max(to - from, 0.001);
    const times = records.map(({ at }) => at).sort((a, b) => a - b);
    for (const [i, at] of times.entries()) silentMs = Math.max(silentMs, at - (times[i - 1] ?? at));
  }
  return { overlapMs, silentMs };
}
