/**
 * The follower: takes what the leader of its term sends, promises, and echoes. A promise is made
 * before its echo leaves, and the longest one that still binds is on disk before that (R1, R2).
 */
import { assert, unreachable } from '../base/assert.ts';
import { campaign, mayCampaign } from './candidate.ts';
import { restore } from './confchange.ts';
import type { Core } from './core.ts';
import { isPromiseInBounds } from './lease.ts';
import type { Append, Heartbeat, InstallSnapshot, LeaseRelease, Message } from './message.ts';
import type { NodeId } from './types.ts';

/** Handles a message of this term as a follower or candidate; the latter gives way to a leader. */
export function stepFollower(core: Core, m: Message): void {
  switch (m.type) {
    case 'heartbeat':
      follow(core, m.from);
      handleHeartbeat(core, m);
      return;
    case 'append':
      follow(core, m.from);
      core.refreshElectionTimer();
      handleAppend(core, m);
      return;
    case 'snapshot':
      follow(core, m.from);
      core.refreshElectionTimer();
      handleSnapshot(core, m);
      return;
    case 'timeout-now':
      if (m.release.term === core.term && mayCampaign(core)) campaign(core);
      return;
    case 'lease-release':
      handleLeaseRelease(core, m);
      return;
    case 'vote':
    case 'pre-vote':
    case 'vote-reply':
    case 'pre-vote-reply':
    case 'append-reply':
    case 'heartbeat-reply':
      return;
    default:
      unreachable(m);
  }
}

function follow(core: Core, leader: NodeId): void {
  assert(
    core.leader === null || core.leader === leader,
    `${core.leader} and ${leader} both lead term ${core.term}`,
  );
  if (core.role !== 'follower') core.becomeFollower(core.term, leader);
  core.leader = leader;
}

function handleHeartbeat(core: Core, m: Heartbeat): void {
  // Neither an absurd promise (R3) nor one to a leader that let go (R8) is made, or echoed.
  if (!isPromiseInBounds(m.promiseMs) || core.isReleased(m.term, m.from)) return;
  core.refreshElectionTimer(m.promiseMs);
  core.promise.make(core.now + m.promiseMs, m.term, m.from);
  core.promiseMaxMs = core.promise.echo(core.now, m.promiseMs);
  core.log.commitTo(m.commit);
  core.sendReply({
    type: 'heartbeat-reply',
    from: core.id,
    to: m.from,
    term: core.term,
    round: m.round,
    eligibility: core.eligibility,
  });
}

function handleAppend(core: Core, m: Append): void {
  const { log } = core;
  if (m.prevIndex < log.committed) {
    accept(core, m.from, log.committed);
    return;
  }
  const prev = { term: m.prevTerm, index: m.prevIndex };
  const matched = log.maybeAppend({ prev, entries: m.entries }, m.commit);
  if (matched !== undefined) {
    accept(core, m.from, matched);
    return;
  }
  const hint = log.findConflictByTerm(Math.min(m.prevIndex, log.lastIndex()), m.prevTerm);
  core.sendLogReply({
    type: 'append-reply',
    from: core.id,
    to: m.from,
    term: core.term,
    index: m.prevIndex,
    rejected: true,
    hintIndex: hint.index,
    hintTerm: hint.term,
  });
}

function accept(core: Core, leader: NodeId, index: number): void {
  core.sendLogReply({
    type: 'append-reply',
    from: core.id,
    to: leader,
    term: core.term,
    index,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
  });
}

function handleSnapshot(core: Core, m: InstallSnapshot): void {
  const { log } = core;
  const { meta } = m.snapshot;
  if (meta.index > log.committed) {
    if (log.matches(meta)) {
      // The log reaches at least as far: nothing to throw away, and the commit index is news.
      log.commitTo(meta.index);
    } else {
      log.restore(m.snapshot);
      core.restoredIndex = meta.index;
      core.tracker.setConfig(restore(meta.config), meta.index);
    }
  }
  accept(core, m.from, log.committed);
}

/**
 * The leader let go and no target may come of it: looks for a successor soon, but not in a rush.
 */
function handleLeaseRelease(core: Core, m: LeaseRelease): void {
  if (core.role !== 'follower' || !core.isReleased(core.term, m.from)) return;
  const { heartbeatMs, jitterMs, promiseMs } = core.timing;
  const handicap = core.eligibility.eligible ? 0 : promiseMs / 2;
  core.leader = null;
  core.retryElectionIn(heartbeatMs + core.config.rng() * jitterMs + handicap);
}
