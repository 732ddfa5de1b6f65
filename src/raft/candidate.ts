/**
 * Asking for votes. First a pre-vote, which changes nothing anywhere, so that a node that cannot
 * win disturbs nobody; then the vote itself in a new term. A transfer's target skips the pre-vote
 * and shows the old leader's release instead.
 *
 * A candidate claims only as much log as its disk holds, and takes office only once its own vote is
 * on disk: granted votes then stay true of whatever it comes back with after a crash.
 */
import { defined } from '../base/assert.ts';
import type { Core } from './core.ts';
import { retryAfter, retrySpreadMs } from './election.ts';
import { becomeLeader } from './leader.ts';
import type { VoteReply, VoteRequest } from './message.ts';

/** Whether this node may campaign now; the election timer is not asked. */
export function mayCampaign(core: Core): boolean {
  return (
    core.role !== 'leader' &&
    core.isPromotable() &&
    core.owedMs() === 0 &&
    !core.hasUnappliedConfChange()
  );
}

/** Asks whether an election could be won. Needs {@link mayCampaign}. */
export function campaignSoftly(core: Core): void {
  begin(core);
  core.role = 'pre-candidate';
  // What the disk holds does not matter for an answer that binds nobody.
  core.tracker.recordVote(core.id, true);
  sendRequests(core, 'pre-vote');
  countVotes(core);
}

/** Starts an election in the next term. Needs {@link mayCampaign}. */
export function campaign(core: Core): void {
  core.adoptTerm(core.term + 1);
  begin(core);
  core.role = 'candidate';
  // Its own vote counts when it is on disk.
  core.vote = core.id;
  sendRequests(core, 'vote');
}

function begin(core: Core): void {
  core.leader = null;
  core.tracker.resetVotes();
  core.restartElectionTimer();
  // Its own vote is only a matter of time.
  core.campaign = { since: core.now, owed: new Map([[core.id, 0]]), grantedOwed: 0 };
}

function sendRequests(core: Core, type: VoteRequest['type']): void {
  const lastIndex = core.log.stableIndex;
  const lastTerm = defined(core.log.term(lastIndex), 'the term of the last durable entry');
  const term = type === 'pre-vote' ? core.term + 1 : core.term;
  const { priority, release } = core;
  for (const { id } of core.tracker.all) {
    if (id === core.id || !core.tracker.isVoter(id)) continue;
    core.messages.push({
      type,
      from: core.id,
      to: id,
      term,
      lastIndex,
      lastTerm,
      release,
      priority,
    });
  }
}

/** The node's own vote of this term is on disk. */
export function ownVoteDurable(core: Core): void {
  if (core.role !== 'candidate') return;
  core.tracker.recordVote(core.id, true);
  countVotes(core);
}

/** Takes an answer to the campaign under way. */
export function handleVoteReply(core: Core, m: VoteReply): void {
  const { campaign: current } = core;
  const expected = core.role === 'candidate' ? 'vote-reply' : 'pre-vote-reply';
  if (current === null || m.type !== expected) return;
  if (!m.granted && m.promiseRemainingMs > 0) {
    noteOwed(core, m);
    return;
  }
  if (m.granted) current.grantedOwed = Math.max(current.grantedOwed, m.promiseRemainingMs);
  core.tracker.recordVote(m.from, m.granted);
  if (!m.granted && core.role === 'candidate') retrySplitVote(core);
  countVotes(core);
}

/**
 * Somebody voted for another: if the vote is split and the rest is silent, this term elects nobody.
 * Tries again soon, though not before slower answers had their chance.
 */
function retrySplitVote(core: Core): void {
  const { heartbeatMs, jitterMs } = core.timing;
  core.retryElectionIn(heartbeatMs + core.config.rng() * jitterMs);
}

/**
 * A voter refused because it still owes a leader its promise: asks again when enough such promises
 * have run out, instead of a whole timeout later. May come with a lower term: who is bound adopts
 * none.
 */
export function noteOwed(core: Core, m: VoteReply): void {
  if (core.campaign === null || m.granted || m.promiseRemainingMs === 0) return;
  core.campaign.owed.set(m.from, m.promiseRemainingMs);
  const wait = retryAfter(core.tracker.quorum, core.tracker.votes, core.campaign.owed);
  if (wait !== undefined) core.retryElectionIn(wait + core.config.rng() * retrySpreadMs);
}

function countVotes(core: Core): void {
  const { campaign: current } = core;
  if (current === null) return;
  const result = core.tracker.voteResult();
  const soft = core.role === 'pre-candidate';
  if (result === 'won' && soft) {
    campaign(core);
  } else if (result === 'won' && core.tracker.votes.get(core.id) === true) {
    becomeLeader(core, current.grantedOwed);
  } else if (result === 'lost') {
    core.becomeFollower(core.term, null);
    // A lost pre-vote leaves it to others, with better logs.
    if (!soft) retrySplitVote(core);
  }
}
