/** What a node knows at one moment: the only thing that the rest of the agent sees of Raft. */
import type { Millis } from '../base/clock.ts';
import type { LeaseView, NodeId, Role, Term } from '../raft/types.ts';
import type { ClusterState } from './state.ts';
import type { StateMachine } from './state-machine.ts';

export interface ClusterView {
  readonly selfId: NodeId;
  readonly role: Role;
  readonly term: Term;
  /** Who leads as far as this node knows. */
  readonly leader: NodeId | null;
  /** The replicated state up to `appliedIndex`. */
  readonly state: ClusterState;
  readonly lease: LeaseView;
  /** As leader: has the lease. Else: heard the leader within the last E. */
  readonly quorum: boolean;
  readonly appliedIndex: number;
  /** Rule R5: as leader, an entry of this very term has been applied here. */
  readonly ownTermApplied: boolean;
  /** This node was a member and was removed: it must hold nothing and stop. */
  readonly removed: boolean;
  /** The instant of this view, on the node's clock. */
  readonly atMs: Millis;
}

export interface Vantage {
  readonly selfId: NodeId;
  readonly lease: LeaseView;
  readonly machine: StateMachine;
  readonly leaderHeardAt: Millis;
  /** E, within which a follower wants to have heard of its leader. */
  readonly promiseMs: Millis;
  readonly now: Millis;
}

/** What a node knows at `now`, given its lease and how far it has applied the log. */
export function viewOf(from: Vantage): ClusterView {
  const { selfId, lease, machine, leaderHeardAt, promiseMs, now } = from;
  const { role, term, leader, deadline } = lease;
  const { state, appliedIndex, appliedTerm } = machine;
  const hearsLeader = leader !== null && now - leaderHeardAt <= promiseMs;
  return {
    ...{ selfId, role, term, leader, state, lease, appliedIndex },
    quorum: role === 'leader' ? deadline > now : hearsLeader,
    ownTermApplied: role === 'leader' && appliedTerm === term,
    removed: state.removedIds.includes(selfId),
    atMs: now,
  };
}

/** Whether anything but the passing of time tells `left` from `right`. */
export function sameView(left: ClusterView, right: ClusterView): boolean {
  return (
    left.role === right.role &&
    left.term === right.term &&
    left.leader === right.leader &&
    left.state === right.state &&
    left.quorum === right.quorum &&
    left.ownTermApplied === right.ownTermApplied &&
    left.removed === right.removed &&
    left.lease.released === right.lease.released &&
    left.lease.claimNotBefore === right.lease.claimNotBefore &&
    left.lease.deadline > 0 === right.lease.deadline > 0
  );
}
