/**
 * Handing leadership over (rule R8): choose, bring level, ask the owner of the VIP to let go, and
 * only when it has, release the promises and let the target campaign. Nothing is given up before
 * the release; nothing is taken back after it.
 */
import { type TransferResult, transferRecencyHeartbeats } from './config.ts';
import type { Core, Leadership } from './core.ts';
import { hasPendingConfChange } from './membership.ts';
import type { Progress } from './progress.ts';
import { sendAppend } from './replication.ts';
import type { NodeId } from './types.ts';

/** Starts a transfer to `to`, or says why not. To this node itself: ends one under way. */
export function transferLeader(core: Core, to: NodeId): TransferResult {
  const { leadership } = core;
  if (leadership === null) return { ok: false, reason: 'this node does not lead' };
  if (leadership.lease.released) return { ok: false, reason: 'leadership was already given away' };
  if (to === core.id) {
    leadership.transfer = null;
    return { ok: true };
  }
  if (leadership.transfer?.to === to) return { ok: true };
  const reason = refusal(core, leadership, to);
  if (reason !== undefined) return { ok: false, reason };
  leadership.transfer = { to, giveUpAt: core.now + core.timing.promiseMs };
  levelTransferTarget(core, leadership);
  return { ok: true };
}

function refusal(core: Core, leadership: Leadership, to: NodeId): string | undefined {
  const peer = core.tracker.get(to);
  if (peer === undefined) return `${to} is not a member`;
  if (!core.tracker.quorum.incoming.includes(to)) return `${to} is not a voter`;
  if (hasPendingConfChange(core, leadership)) return 'a membership change is pending';
  const silentMs = core.now - (peer.lastEchoAt ?? Number.NEGATIVE_INFINITY);
  if (silentMs > transferRecencyHeartbeats * core.timing.heartbeatMs) {
    return `${to} was not heard within ${transferRecencyHeartbeats} heartbeats`;
  }
  if (peer.eligibility?.eligible !== true) {
    return `${to} is not eligible: ${peer.eligibility?.reason ?? 'unknown'}`;
  }
  return undefined;
}

/** Whether the target holds the whole log, so that only the VIP stands in the way. */
export function wantsRelease(core: Core, leadership: Leadership): boolean {
  const target = transferTarget(core, leadership);
  return !leadership.lease.released && target?.match === core.log.lastIndex();
}

/** Sends the target what it lacks without waiting for the next round. */
export function levelTransferTarget(core: Core, leadership: Leadership): void {
  const target = transferTarget(core, leadership);
  if (target === undefined || leadership.lease.released) return;
  if (target.match < core.log.lastIndex()) sendAppend(core, target, false);
}

function transferTarget(core: Core, leadership: Leadership): Progress | undefined {
  return leadership.transfer === null ? undefined : core.tracker.get(leadership.transfer.to);
}

/**
 * The VIP is out of the kernel: the lease is over, and everybody hears it. With a target, the
 * leader keeps telling it to campaign; without one it steps down and lets the others find a leader.
 */
export function releaseLease(core: Core): void {
  const { leadership } = core;
  if (leadership === null || leadership.lease.released) return;
  leadership.lease.release();
  const { transfer } = leadership;
  // The target gets a whole timeout to take over, however long the withdrawal took.
  if (transfer !== null) {
    leadership.transfer = { to: transfer.to, giveUpAt: core.now + core.timing.promiseMs };
  }
  repeatRelease(core, leadership);
  if (transfer === null) core.becomeFollower(core.term, null);
}

/** Says again what may have been lost: that the lease is over, and who is to campaign. */
export function repeatRelease(core: Core, leadership: Leadership): void {
  const release = { term: core.term, leader: core.id };
  leadership.heartbeatDueAt = core.now + core.timing.heartbeatMs;
  for (const peer of core.tracker.all) {
    if (peer.id === core.id) continue;
    const type = peer.id === leadership.transfer?.to ? 'timeout-now' : 'lease-release';
    core.messages.push({ type, from: core.id, to: peer.id, term: core.term, release });
  }
}

/**
 * Ends a transfer that took too long: before the release proposals flow again, after it there is no
 * way back and the leader steps down. True if it stepped down.
 */
export function giveUpTransfer(core: Core, leadership: Leadership): boolean {
  if (leadership.transfer === null || core.now < leadership.transfer.giveUpAt) return false;
  if (leadership.lease.released) {
    core.becomeFollower(core.term, null);
    return true;
  }
  leadership.transfer = null;
  return false;
}
