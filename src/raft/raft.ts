/**
 * Every input of the core passes here: the rules about terms first, the same for all roles, then
 * the role. A higher term always wins, with two exceptions that keep a lease exclusive and a term
 * from growing for nothing: a vote request adopts its term only if it is answered at all (R1), and
 * a pre-vote or its grant speaks of a term that nobody is in yet.
 */
import { assert, unreachable } from '../base/assert.ts';
import { campaignSoftly, handleVoteReply, mayCampaign, noteOwed } from './candidate.ts';
import type { Core } from './core.ts';
import { retrySpreadMs } from './election.ts';
import { stepFollower } from './follower.ts';
import { leaderDeadline, stepLeader, tickLeader } from './leader.ts';
import type { Message } from './message.ts';
import type { Millis, NodeId } from './types.ts';
import { handleVoteRequest } from './voter.ts';

/** Handles one message from a peer. */
export function step(core: Core, m: Message): void {
  assert(m.to === core.id && m.from !== core.id, 'a message for somebody else');
  if ('release' in m && m.release !== null) core.heardRelease(m.release);
  if (m.type === 'vote' || m.type === 'pre-vote') {
    handleVoteRequest(core, m);
    return;
  }
  if (m.type === 'pre-vote-reply' && m.granted) {
    if (m.term === core.term + 1) handleVoteReply(core, m);
    return;
  }
  if (m.term < core.term) {
    answerStale(core, m);
    return;
  }
  if (m.term > core.term) followTerm(core, m);
  stepRole(core, m);
}

/** Does whatever is due at `core.now`. */
export function tick(core: Core): void {
  if (core.leadership !== null) {
    tickLeader(core, core.leadership);
    return;
  }
  if (core.now < core.electionDueAt()) return;
  // Only a change that waits to be applied can stand in the way: the driver is about to do it.
  if (mayCampaign(core)) campaignSoftly(core);
  else core.holdElection(core.timing.heartbeatMs);
}

/** When {@link tick} is next due; Infinity for never. */
export function nextDeadline(core: Core): Millis {
  if (core.leadership !== null) return leaderDeadline(core, core.leadership);
  return core.electionDueAt();
}

function stepRole(core: Core, m: Message): void {
  switch (core.role) {
    case 'leader':
      if (core.leadership !== null) stepLeader(core, core.leadership, m);
      return;
    case 'candidate':
    case 'pre-candidate':
      if (m.type === 'vote-reply' || m.type === 'pre-vote-reply') handleVoteReply(core, m);
      else stepFollower(core, m);
      return;
    case 'follower':
      stepFollower(core, m);
      return;
    default:
      unreachable(core.role);
  }
}

function followTerm(core: Core, m: Message): void {
  const asked = core.role === 'pre-candidate' && m.type === 'pre-vote-reply';
  core.becomeFollower(m.term, leaderOf(m));
  // Asked in too low a term: asks again in the right one without waiting out a timeout.
  if (asked) core.retryElectionIn(core.config.rng() * retrySpreadMs);
}

/** Whom the message proves to lead its term. */
function leaderOf(m: Message): NodeId | null {
  switch (m.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
    case 'timeout-now':
    case 'lease-release':
      return m.from;
    case 'vote':
    case 'pre-vote':
    case 'vote-reply':
    case 'pre-vote-reply':
    case 'append-reply':
    case 'heartbeat-reply':
      return null;
    default:
      return unreachable(m);
  }
}

/**
 * A message of an older term. Its sender must hear of the newer one: else a leader would go on
 * heartbeating to a node that may not follow it and is never elected either. Nothing is promised
 * to it, so its round is not echoed: once it leads again, that number would be one of its new term.
 */
function answerStale(core: Core, m: Message): void {
  const head = { from: core.id, to: m.from, term: core.term };
  switch (m.type) {
    case 'heartbeat':
      core.sendReply({
        ...head,
        type: 'heartbeat-reply',
        round: 0,
        eligibility: core.eligibility,
      });
      return;
    case 'append':
    case 'snapshot':
      core.sendReply({
        ...head,
        type: 'append-reply',
        index: 0,
        rejected: true,
        hintIndex: 0,
        hintTerm: 0,
      });
      return;
    case 'vote-reply':
    case 'pre-vote-reply':
      noteOwed(core, m);
      return;
    case 'vote':
    case 'pre-vote':
    case 'append-reply':
    case 'heartbeat-reply':
    case 'timeout-now':
    case 'lease-release':
      return;
    default:
      unreachable(m);
  }
}
