/**
 * What the seed's hosts are to each other besides members: preferred as leader, or a witness. From
 * a stream of chance of its own, so that these leave the rest of a seed's world as it was.
 */
import type { Millis } from '../../src/base/clock.ts';
import { pick } from '../../src/base/prng.ts';
import type { HoldDown } from '../../src/cluster/preference.ts';
import type { NodeId } from '../../src/raft/types.ts';
import type { World } from './world.ts';

export interface Ranks {
  /** Of the first hosts, in their order; 0 for the others. */
  readonly priorities: readonly number[];
  /** One of the first hosts, though not the very first; null for none. */
  readonly witness: NodeId | null;
  readonly holdDown: HoldDown;
}

/** Short, so that a run sees many; the longest still ends within the time to recover. */
const LONGEST_HOLD_MS: Millis = 3_000;

export function ranksOf(world: World, nodes: number): Ranks {
  const random = world.random('ranks');
  const ranked = random() < 0.3;
  const witnessed = nodes >= 3 && random() < 0.2;
  return {
    priorities: Array.from({ length: nodes }, () => (ranked ? pick(random, [-3, 0, 0, 5, 10]) : 0)),
    witness: witnessed ? `n${pick(random, [2, 3])}` : null,
    holdDown: { holdMs: pick(random, [100, 400, 1_500]), maxHoldMs: LONGEST_HOLD_MS },
  };
}

/** One phrase for a person, and for the trace's hash. */
export function describeRanks({ priorities, witness, holdDown }: Ranks): string {
  const ranked = priorities.some((priority) => priority !== 0);
  const preferred = ranked ? `priorities ${priorities.join(' ')} after ${holdDown.holdMs}` : '';
  return [preferred, witness === null ? '' : `${witness} a witness`].filter(Boolean).join(', ');
}
