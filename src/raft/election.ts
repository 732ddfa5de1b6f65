/**
 * When to campaign: pure arithmetic on draws that the caller made. The timer is E + U(0, jitter)
 * after the last heartbeat; nodes that may not hold a VIP wait E/2 longer, so that one that may
 * goes first, and a preferred node draws from an earlier part of the jitter.
 */
import { type QuorumConfig, voteResult } from './quorum.ts';
import type { Millis, NodeId } from './types.ts';

/**
 * Priorities beyond this change nothing more: the delay that they cause is bounded by the jitter.
 */
export const priorityLimit = 10;

/**
 * After a refusal that named a time, candidates spread over this much, so that one of them wins.
 */
export const retrySpreadMs: Millis = 20;

export interface TimeoutInput {
  /** E of the last heartbeat, or the node's own before the first. */
  readonly promiseMs: Millis;
  readonly jitterMs: Millis;
  /** A draw from [0, 1). */
  readonly draw: number;
  readonly eligible: boolean;
  /** 0 is normal, higher is preferred. */
  readonly priority: number;
}

/** How long a node waits for a heartbeat before it campaigns. */
export function electionTimeout(input: TimeoutInput): Millis {
  const preference =
    Math.min(Math.max(input.priority, -priorityLimit), priorityLimit) / priorityLimit;
  // Preferred: the earlier half of the jitter at most. Not preferred: up to a whole jitter later.
  const spread = preference > 0 ? input.draw * (1 - preference / 2) : input.draw - preference;
  const handicap = input.eligible ? 0 : input.promiseMs / 2;
  return input.promiseMs + spread * input.jitterMs + handicap;
}

/**
 * How long until enough of those who refused only because of a promise could grant instead;
 * undefined if that would not be a majority. `owed` maps such voters to the ms of their promise.
 */
export function retryAfter(
  config: QuorumConfig,
  votes: ReadonlyMap<NodeId, boolean>,
  owed: ReadonlyMap<NodeId, Millis>,
): Millis | undefined {
  const hoped = new Map(votes);
  const byTime = [...owed].sort(([, a], [, b]) => a - b);
  for (const [id, remaining] of byTime) {
    hoped.set(id, true);
    if (voteResult(config, hoped) === 'won') return remaining;
  }
  return undefined;
}
