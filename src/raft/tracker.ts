/**
 * The members in force, what the leader knows of each, and the votes of the current campaign.
 * Iteration always goes by sorted id, so that the same input gives the same output.
 */
import { assert } from '../base/assert.ts';
import { isJoint } from './confchange.ts';
import { Progress, type ProgressLimits } from './progress.ts';
import {
  committedIndexBy,
  type QuorumConfig,
  quorumConfig,
  type VoteResult,
  voteResult,
} from './quorum.ts';
import type { Index, MemberConfig, NodeId } from './types.ts';

export class ProgressTracker {
  readonly votes = new Map<NodeId, boolean>();
  readonly #limits: ProgressLimits;
  readonly #progress = new Map<NodeId, Progress>();
  #config: MemberConfig;
  #quorum: QuorumConfig;
  #all: readonly Progress[] = [];

  constructor(config: MemberConfig, limits: ProgressLimits) {
    this.#limits = limits;
    this.#config = config;
    this.#quorum = quorumConfig(config);
    this.setConfig(config, 0);
  }

  get config(): MemberConfig {
    return this.#config;
  }

  get quorum(): QuorumConfig {
    return this.#quorum;
  }

  /** Every member, sorted by id. */
  get all(): readonly Progress[] {
    return this.#all;
  }

  get(id: NodeId): Progress | undefined {
    return this.#progress.get(id);
  }

  /** Puts `config` in force; newcomers are probed from the end of a log of `lastIndex`. */
  setConfig(config: MemberConfig, lastIndex: Index): void {
    this.#config = config;
    this.#quorum = quorumConfig(config);
    const learners = new Set(config.learners);
    const ids = new Set([...config.voters, ...config.votersOutgoing, ...config.learners]);
    for (const id of [...this.#progress.keys()]) if (!ids.has(id)) this.#progress.delete(id);
    for (const id of ids) {
      const known = this.#progress.get(id);
      if (known === undefined) this.#add(id, learners.has(id), 0, lastIndex);
      else known.isLearner = learners.has(id);
    }
    this.#sort();
  }

  /** Forgets what an earlier leadership knew; `own` is durable up to `stableIndex`. */
  resetProgress(own: NodeId, stableIndex: Index, lastIndex: Index): void {
    for (const { id, isLearner } of this.#all) {
      this.#add(id, isLearner, id === own ? stableIndex : 0, lastIndex);
    }
    this.#sort();
  }

  isVoter(id: NodeId): boolean {
    return this.#quorum.incoming.includes(id) || this.#quorum.outgoing.includes(id);
  }

  /** Whether `id` alone is every quorum there is. */
  isSoleVoter(id: NodeId): boolean {
    return !isJoint(this.#config) && this.#config.voters.length === 1 && this.isVoter(id);
  }

  /** The largest index that a quorum is known to hold. */
  committed(): Index {
    return committedIndexBy(this.#quorum, (id) => this.#progress.get(id)?.match ?? 0);
  }

  /** The newest heartbeat round that a quorum has echoed; 0 for none. */
  echoedRound(): number {
    return committedIndexBy(this.#quorum, (id) => this.#progress.get(id)?.echoedRound ?? 0);
  }

  /** Counts a vote once: who has voted cannot vote again. */
  recordVote(id: NodeId, granted: boolean): void {
    if (!this.votes.has(id)) this.votes.set(id, granted);
  }

  resetVotes(): void {
    this.votes.clear();
  }

  voteResult(): VoteResult {
    return voteResult(this.#quorum, this.votes);
  }

  #add(id: NodeId, isLearner: boolean, match: Index, lastIndex: Index): void {
    assert(match <= lastIndex, 'nothing matches beyond the end of the log');
    this.#progress.set(id, new Progress(id, isLearner, match, lastIndex + 1, this.#limits));
  }

  #sort(): void {
    this.#all = [...this.#progress.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}
