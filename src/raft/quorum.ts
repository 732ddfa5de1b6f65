/**
 * Majority arithmetic for one configuration or two at once (joint consensus). One question is asked
 * in three places: which log index, which heartbeat round, which read a quorum has acknowledged.
 * Knows nothing of logs, leases or messages.
 */
import type { Index, MemberConfig, NodeId } from './types.ts';

/** Whose agreement counts. `outgoing` is empty unless the configuration is joint. */
export interface QuorumConfig {
  readonly incoming: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
}

export type VoteResult = 'won' | 'lost' | 'pending';

/** The voters of `config`, as the arithmetic wants them. */
export function quorumConfig(config: MemberConfig): QuorumConfig {
  return { incoming: config.voters, outgoing: config.votersOutgoing };
}

/**
 * The largest index that a majority of every configuration in force has acknowledged; a voter who
 * is missing from `acked` has acknowledged 0. Infinity for the empty configuration, so that an
 * empty half of a joint one never holds the other back.
 */
export function committedIndex(config: QuorumConfig, acked: ReadonlyMap<NodeId, Index>): Index {
  return committedIndexBy(config, (id) => acked.get(id) ?? 0);
}

/** {@link committedIndex} with the acknowledged index looked up by `ackedOf`. */
export function committedIndexBy(config: QuorumConfig, ackedOf: (id: NodeId) => Index): Index {
  return Math.min(majorityIndex(config.incoming, ackedOf), majorityIndex(config.outgoing, ackedOf));
}

/**
 * The state of an election; an empty configuration is won, so that it never blocks the other half.
 */
export function voteResult(config: QuorumConfig, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  const incoming = majorityVote(config.incoming, votes);
  const outgoing = majorityVote(config.outgoing, votes);
  if (incoming === outgoing) return incoming;
  if (incoming === 'lost' || outgoing === 'lost') return 'lost';
  return 'pending';
}

function majoritySize(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

function majorityIndex(voters: readonly NodeId[], ackedOf: (id: NodeId) => Index): Index {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  const acked = voters.map(ackedOf);
  // Voters are few: insertion beats a general sort and its comparator.
  for (let i = 1; i < acked.length; i++) {
    const value = acked[i] ?? 0;
    let j = i - 1;
    for (; j >= 0 && (acked[j] ?? 0) > value; j--) acked[j + 1] = acked[j] ?? 0;
    acked[j + 1] = value;
  }
  return acked[voters.length - majoritySize(voters.length)] ?? 0;
}

function majorityVote(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  if (voters.length === 0) return 'won';
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing += 1;
    else if (vote) granted += 1;
  }
  const needed = majoritySize(voters.length);
  if (granted >= needed) return 'won';
  return granted + missing >= needed ? 'pending' : 'lost';
}
