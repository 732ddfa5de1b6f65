/**
 * Answering vote requests: once a term, only for a log at least as complete, and never while a
 * promise binds this node (rule R1). Every node answers, learners too: the candidate knows better
 * who counts.
 */
import type { Core } from './core.ts';
import { stepDownAt } from './leader.ts';
import type { VoteRequest } from './message.ts';
import type { Millis } from './types.ts';

/** Grants or refuses. A refusal for a promise leaves even the term as it was. */
export function handleVoteRequest(core: Core, m: VoteRequest): void {
  if (m.term < core.term) {
    refuse(core, m, 0);
    return;
  }
  const owed = owedTo(core, m);
  if (owed > 0) {
    refuse(core, m, owed);
    return;
  }
  const soft = m.type === 'pre-vote';
  if (!soft && m.term > core.term) core.becomeFollower(m.term, null);
  const free =
    core.vote === m.from ||
    (core.vote === null && core.leader === null) ||
    (soft && m.term > core.term);
  if (!free || !core.log.isUpToDate({ term: m.lastTerm, index: m.lastIndex })) {
    refuse(core, m, 0);
    return;
  }
  if (soft && goesFirst(core, m)) {
    refuse(core, m, 0);
    return;
  }
  if (!soft) {
    // Whoever grants a vote waits for what comes of it.
    core.becomeFollower(core.term, null);
    core.restartElectionTimer();
    core.vote = m.from;
  }
  answer(core, m, true, 0);
}

/**
 * Two who ask at the same time, with equal logs, would go on to split the vote: one lets the other
 * pass. Only for as long as an answer takes: who cannot win must not stand in another's way.
 */
function goesFirst(core: Core, m: VoteRequest): boolean {
  const { campaign, log, priority, id } = core;
  if (core.role !== 'pre-candidate' || campaign === null || !core.eligibility.eligible)
    return false;
  if (core.now - campaign.since >= core.timing.heartbeatMs) return false;
  const equal = m.lastIndex === log.lastIndex() && m.lastTerm === log.lastTerm();
  return equal && (priority === m.priority ? id > m.from : priority > m.priority);
}

/** What stands in the way of this request, in ms. */
function owedTo(core: Core, m: VoteRequest): Millis {
  const owed = core.owedMs();
  if (owed > 0 || core.leadership === null || core.leadership.lease.released) return owed;
  // A leader without a lease yet: a vote deposes it, but it does not invite to that by a pre-vote.
  if (m.type === 'vote') return 0;
  return Math.max(
    1,
    Math.ceil(Math.min(stepDownAt(core, core.leadership) - core.now, core.timing.promiseMs)),
  );
}

function refuse(core: Core, m: VoteRequest, owed: Millis): void {
  answer(core, m, false, owed);
}

function answer(core: Core, m: VoteRequest, granted: boolean, promiseRemainingMs: Millis): void {
  const soft = m.type === 'pre-vote';
  core.sendReply({
    type: soft ? 'pre-vote-reply' : 'vote-reply',
    from: core.id,
    to: m.from,
    term: soft && granted ? m.term : core.term,
    granted,
    promiseRemainingMs,
  });
}
