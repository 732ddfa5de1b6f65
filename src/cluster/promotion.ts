/**
 * Which learners become voters, and who inherits the leadership: pure decisions from what the
 * leader sees of its peers.
 */
import type { PeerStatus, RaftStatus } from '../raft/rawnode.ts';
import type { NodeId } from '../raft/types.ts';
import { type ClusterState, type Member, memberById } from './state.ts';

/** More voters make every commit slower and no control plane safer. */
export const maxVoters = 5;

/** Who is this close behind catches up within the round that promotes it or hands over to it. */
const maxLagEntries = 16;

/**
 * The learners to promote now, none for "wait". Two voters survive no failure and are worse than
 * one voter and a learner (rule R14), so promotion goes from one odd number to the next: 1 → 3 → 5.
 * Only where no voter may hold a VIP (a witness alone), an even number is better than none.
 */
export function learnersToPromote(status: RaftStatus, state: ClusterState): readonly NodeId[] {
  if (status.role !== 'leader' || status.pendingConfChange || status.transferTarget !== null) {
    return [];
  }
  const { voters, votersOutgoing } = status.config;
  if (votersOutgoing.length > 0 || voters.length >= maxVoters) return [];
  const ready = status.peers
    .filter((peer) => isReady(peer, status))
    .map((peer) => memberById(state, peer.id))
    .filter((member) => member?.role === 'learner')
    .sort((left, right) => joinedAt(left) - joinedAt(right));
  const holders = voters.map((id) => memberById(state, id)).filter((member) => mayHold(member));
  const missing = voters.length % 2 === 0 || holders.length === 0 ? 1 : 2;
  if (ready.length < missing) return [];
  return ready.slice(0, missing).map((member) => member?.id ?? '');
}

function mayHold(member: Member | undefined): boolean {
  return member?.role === 'voter' && !member.draining;
}

/** Whether the learner `id` would be of use as a voter at once. */
export function isCaughtUp(status: RaftStatus, id: NodeId): boolean {
  return status.peers.some((peer) => peer.id === id && isReady(peer, status));
}

function joinedAt(member: Member | undefined): number {
  return member?.joinedIndex ?? 0;
}

function isReady(peer: PeerStatus, status: RaftStatus): boolean {
  return peer.isLearner && peer.recentlyActive && isLevel(peer, status);
}

/** Whether a peer follows the log so closely that the rest takes a round trip. */
export function isLevel(peer: PeerStatus, status: RaftStatus): boolean {
  return peer.state === 'replicate' && peer.match + maxLagEntries >= status.lastIndex;
}

/** Whether this peer could lead and hold the VIP now. */
export function ableToLead(peer: PeerStatus, status: RaftStatus, state: ClusterState): boolean {
  const member = memberById(state, peer.id);
  return (
    member?.role === 'voter' &&
    !member.draining &&
    peer.recentlyActive &&
    peer.eligibility?.eligible === true &&
    status.config.voters.includes(peer.id)
  );
}

/** The best voter to lead next, null where none may: preferred first, then the fullest log. */
export function bestSuccessor(status: RaftStatus, state: ClusterState): NodeId | null {
  const able = status.peers.filter((peer) => ableToLead(peer, status, state));
  able.sort(
    (left, right) =>
      (memberById(state, right.id)?.priority ?? 0) - (memberById(state, left.id)?.priority ?? 0) ||
      right.match - left.match ||
      (left.lastEchoMs ?? Number.POSITIVE_INFINITY) -
        (right.lastEchoMs ?? Number.POSITIVE_INFINITY) ||
      (left.id < right.id ? -1 : 1),
  );
  return able[0]?.id ?? null;
}

/** Whether the voters that are left without `gone` still have a quorum of active ones. */
export function quorumWithout(status: RaftStatus, gone: NodeId, shrinks: boolean): boolean {
  const { voters } = status.config;
  const left = voters.filter((id) => id !== gone);
  const active = left.filter(
    (id) => id === status.id || status.peers.some((peer) => peer.id === id && peer.recentlyActive),
  );
  const size = shrinks ? left.length : voters.length;
  return active.length > size / 2;
}
