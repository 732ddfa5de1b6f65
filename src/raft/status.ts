/** Where one core stands: for people and metrics, and for whoever chooses a successor. */
import type { Core } from './core.ts';
import { hasPendingConfChange } from './membership.ts';
import type { ProgressState } from './progress.ts';
import type { Eligibility, Index, MemberConfig, Millis, NodeId, Role, Term } from './types.ts';

export interface PeerStatus {
  readonly id: NodeId;
  readonly match: Index;
  readonly next: Index;
  readonly state: ProgressState;
  readonly isLearner: boolean;
  /** Heard within the last E. */
  readonly recentlyActive: boolean;
  /** Ms since its last echo of a heartbeat, on this node's clock; null for none in this term. */
  readonly lastEchoMs: Millis | null;
  readonly eligibility: Eligibility | null;
}

export interface RaftStatus {
  readonly id: NodeId;
  readonly term: Term;
  readonly vote: NodeId | null;
  readonly role: Role;
  readonly leader: NodeId | null;
  readonly commit: Index;
  /** The last index that was handed out to be applied. */
  readonly applied: Index;
  readonly firstIndex: Index;
  readonly lastIndex: Index;
  readonly config: MemberConfig;
  readonly promiseRemainingMs: Millis;
  readonly leaseRemainingMs: Millis;
  readonly transferTarget: NodeId | null;
  readonly pendingConfChange: boolean;
  /** Every other member, by id; empty unless this node leads. */
  readonly peers: readonly PeerStatus[];
}

/** The status at `core.now`. */
export function statusOf(core: Core): RaftStatus {
  const { leadership, log, tracker } = core;
  return {
    id: core.id,
    term: core.term,
    vote: core.vote,
    role: core.role,
    leader: core.leader,
    commit: log.committed,
    applied: log.handed,
    firstIndex: log.firstIndex(),
    lastIndex: log.lastIndex(),
    config: tracker.config,
    promiseRemainingMs: core.promise.remaining(core.now),
    leaseRemainingMs: Math.max(0, (leadership?.lease.deadline ?? 0) - core.now),
    transferTarget: leadership?.transfer?.to ?? null,
    pendingConfChange: leadership !== null && hasPendingConfChange(core, leadership),
    peers: leadership === null ? [] : peerStatuses(core),
  };
}

function peerStatuses(core: Core): PeerStatus[] {
  const { now, timing, tracker } = core;
  return tracker.all
    .filter((peer) => peer.id !== core.id)
    .map((peer) => ({
      id: peer.id,
      match: peer.match,
      next: peer.next,
      state: peer.state,
      isLearner: peer.isLearner,
      recentlyActive: peer.lastHeardAt !== null && now - peer.lastHeardAt <= timing.promiseMs,
      lastEchoMs: peer.lastEchoAt === null ? null : now - peer.lastEchoAt,
      eligibility: peer.eligibility,
    }));
}
