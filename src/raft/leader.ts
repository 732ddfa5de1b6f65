/**
 * The leader: rounds of heartbeats that prove and renew the lease, entries proposed and replicated,
 * reads confirmed. It steps down by itself when a quorum has been silent for E (rule R9), because a
 * leader that can send but not hear would renew promises for ever and nobody could replace it.
 */
import { assert, unreachable } from '../base/assert.ts';
import { outlasting, type ReadIndexResult } from './config.ts';
import type { Core, Leadership } from './core.ts';
import { LeaderLease, promiseMinMs } from './lease.ts';
import type { HeartbeatReply, Message } from './message.ts';
import { appendEntry, hasCommittedOwnTerm } from './proposal.ts';
import { ReadQueue } from './readonly.ts';
import { handleAppendReply, resumeAppends } from './replication.ts';
import { giveUpTransfer, levelTransferTarget, repeatRelease } from './transfer.ts';
import type { Millis } from './types.ts';

const noData = new Uint8Array(0);

/** Takes over `term` after a won election; `grantedOwed` is what voters still owed (rule R4). */
export function becomeLeader(core: Core, grantedOwed: Millis): void {
  assert(core.role === 'candidate', 'only a candidate is elected');
  assert(core.isHardStateDurable(), 'elected on a vote that is not on disk');
  const owed = Math.max(grantedOwed, core.promise.remaining(core.now));
  const lastIndex = core.log.lastIndex();
  core.role = 'leader';
  core.leader = core.id;
  core.campaign = null;
  core.tracker.resetVotes();
  core.tracker.resetProgress(core.id, core.log.stableIndex, lastIndex);
  core.leadership = {
    lease: new LeaderLease(core.now, core.config.clockDrift),
    reads: new ReadQueue(),
    claimNotBefore: owed > 0 ? core.now + outlasting(owed, core.config.clockDrift) : 0,
    ownTermIndex: lastIndex + 1,
    // What stands in the log may contain a change of which nobody here knows yet.
    pendingConfIndex: lastIndex,
    heartbeatDueAt: core.now,
    heardAt: core.now,
    transfer: null,
    uncommittedBytes: 0,
    retiring: false,
    flushDue: true,
  };
  // Only an entry of its own term tells a leader what is committed.
  appendEntry(core, core.leadership, 'normal', noData);
  startRound(core, core.leadership);
}

/** Does what is due at `core.now`. */
export function tickLeader(core: Core, leadership: Leadership): void {
  if (core.now >= stepDownAt(core, leadership)) {
    core.becomeFollower(core.term, null);
    return;
  }
  if (giveUpTransfer(core, leadership)) return;
  if (core.now < leadership.heartbeatDueAt) return;
  if (leadership.lease.released) repeatRelease(core, leadership);
  else startRound(core, leadership);
}

/** When {@link tickLeader} is next due. */
export function leaderDeadline(core: Core, leadership: Leadership): Millis {
  const giveUpAt = leadership.transfer?.giveUpAt ?? Number.POSITIVE_INFINITY;
  return Math.min(leadership.heartbeatDueAt, stepDownAt(core, leadership), giveUpAt);
}

/**
 * Rule R9: E after the send of the newest round that a quorum echoed, or after the election.
 * Whoever is a quorum alone cannot lose it, however long it was stalled.
 */
export function stepDownAt(core: Core, leadership: Leadership): Millis {
  if (core.tracker.isSoleVoter(core.id)) return Number.POSITIVE_INFINITY;
  return leadership.lease.provenAt + core.timing.promiseMs;
}

/**
 * The promise that a round asks for: E, and less the longer no quorum was heard. A leader that can
 * send but not hear would else bind its followers for another E after its last round; so nobody is
 * bound much longer than E after it was last heard to lead, and by the least that still spans two
 * rounds. A shorter promise only means a shorter lease for that round.
 */
export function promiseToAsk(core: Core, { heardAt }: Leadership): Millis {
  const { promiseMs, heartbeatMs } = core.timing;
  if (core.tracker.isSoleVoter(core.id)) return promiseMs;
  const patience = 2 * heartbeatMs;
  const least = Math.min(promiseMs, Math.max(promiseMinMs, patience));
  const silent = core.now - heardAt;
  return Math.max(least, Math.min(promiseMs, Math.floor(promiseMs + patience - silent)));
}

/** Starts a heartbeat round at `core.now`, which counts as the instant of its send. */
export function startRound(core: Core, leadership: Leadership): void {
  const { heartbeatMs } = core.timing;
  const promiseMs = promiseToAsk(core, leadership);
  const round = leadership.lease.start(core.now, promiseMs);
  leadership.heartbeatDueAt = core.now + heartbeatMs;
  leadership.reads.roundStarted(round);
  for (const peer of core.tracker.all) {
    if (peer.id === core.id) {
      peer.echoedRound = round;
      continue;
    }
    // Never beyond what this member is known to hold: it may lack, or contradict, the rest.
    const commit = Math.min(peer.match, core.log.committed);
    core.messages.push({
      type: 'heartbeat',
      from: core.id,
      to: peer.id,
      term: core.term,
      round,
      promiseMs,
      commit,
    });
  }
  countEchoes(core, leadership);
}

/** Looks at which round a quorum has echoed, for the lease and for reads. */
function countEchoes(core: Core, leadership: Leadership): void {
  const round = core.tracker.echoedRound();
  const before = leadership.lease.provenAt;
  leadership.lease.acknowledged(round);
  if (leadership.lease.provenAt > before) leadership.heardAt = core.now;
  for (const read of leadership.reads.acknowledged(round)) core.readStates.push(read);
}

/** Handles a message of this term. */
export function stepLeader(core: Core, leadership: Leadership, m: Message): void {
  switch (m.type) {
    case 'heartbeat-reply':
      handleHeartbeatReply(core, leadership, m);
      return;
    case 'append-reply':
      handleAppendReply(core, leadership, m);
      levelTransferTarget(core, leadership);
      return;
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      assert(false, `${m.from} and ${core.id} both lead term ${core.term}`);
      return;
    case 'vote':
    case 'pre-vote':
    case 'vote-reply':
    case 'pre-vote-reply':
    case 'timeout-now':
    case 'lease-release':
      return;
    default:
      unreachable(m);
  }
}

function handleHeartbeatReply(core: Core, leadership: Leadership, m: HeartbeatReply): void {
  const peer = core.tracker.get(m.from);
  if (peer === undefined || m.from === core.id || m.round > leadership.lease.lastRound) return;
  peer.lastHeardAt = core.now;
  peer.lastEchoAt = core.now;
  peer.eligibility = m.eligibility;
  if (m.round > peer.echoedRound) {
    peer.echoedRound = m.round;
    countEchoes(core, leadership);
  }
  resumeAppends(core, peer);
}

/** Asks for a linearizable read; see `RawNode.readIndex`. */
export function readIndex(core: Core, context: number): ReadIndexResult {
  const { leadership } = core;
  if (leadership === null) return { ok: false, reason: 'not-leader' };
  const { lease, reads } = leadership;
  // Before that, the commit index may lie behind what an earlier leader acknowledged.
  if (!hasCommittedOwnTerm(core, leadership) || lease.released || reads.full) {
    return { ok: false, reason: 'not-ready' };
  }
  reads.add(context, core.log.committed);
  return { ok: true };
}
