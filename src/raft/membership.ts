/**
 * Membership changes in force: proposed one at a time, applied when their entry is applied, joint
 * configurations left by the leader itself. Because a change counts from its application, three
 * things must hold: a node with an unapplied change does not campaign; a leader proposes nothing
 * before it has committed in its own term; and no change is proposed before the last one is
 * applied.
 *
 * A leader that proposes away its own vote takes nothing after that entry: the others may still ask
 * for its vote before they learn that the entry is committed, and a longer log would refuse them
 * for ever.
 */
import { changed, isJoint, leaveJoint } from './confchange.ts';
import type { ProposeResult } from './config.ts';
import type { Core, Leadership } from './core.ts';
import { ConfChangeError } from './errors.ts';
import { appendEntry, hasCommittedOwnTerm, propose } from './proposal.ts';
import { maybeCommit } from './replication.ts';
import type { ConfChange, MemberConfig, NodeId } from './types.ts';

/** The payload of the entry by which a leader leaves a joint configuration by itself. */
export const autoLeaveData = new Uint8Array(0);

/** Whether a change is somewhere between its proposal and its application. */
export function hasPendingConfChange(core: Core, leadership: Leadership): boolean {
  return core.unappliedConfChanges.length > 0 || leadership.pendingConfIndex > core.log.handed;
}

/** Proposes `change`, which `data` carries; see `RawNode.proposeConfChange`. */
export function proposeConfChange(core: Core, change: ConfChange, data: Uint8Array): ProposeResult {
  const { leadership, leader } = core;
  if (leadership === null) return { ok: false, reason: 'not-leader', leader };
  if (!hasCommittedOwnTerm(core, leadership)) return { ok: false, reason: 'not-ready', leader };
  if (hasPendingConfChange(core, leadership)) {
    return { ok: false, reason: 'conf-change-pending', leader };
  }
  let next: MemberConfig;
  try {
    next = changed(core.tracker.config, change);
  } catch (error) {
    if (!(error instanceof ConfChangeError)) throw error;
    return { ok: false, reason: 'invalid-change', leader, detail: error.message };
  }
  const result = propose(core, 'conf-change', data);
  if (result.ok) {
    leadership.pendingConfIndex = result.index;
    leadership.retiring = !votesIn(next, core.id);
  }
  return result;
}

function votesIn(config: MemberConfig, id: NodeId): boolean {
  return config.voters.includes(id) || config.votersOutgoing.includes(id);
}

/** Puts `change` in force: its entry is being applied. */
export function applyConfChange(core: Core, change: ConfChange): MemberConfig {
  const index = core.unappliedConfChanges.shift();
  // A snapshot that came in between already speaks for this change.
  if (index === undefined || index <= core.restoredIndex) return core.tracker.config;
  const config = changed(core.tracker.config, change);
  core.tracker.setConfig(config, core.log.lastIndex());
  const { leadership } = core;
  if (leadership === null) return config;
  if (!core.tracker.isVoter(core.id)) {
    core.becomeFollower(core.term, null);
    return config;
  }
  leadership.lease.reconsider(core.tracker.echoedRound());
  if (leadership.transfer !== null && !config.voters.includes(leadership.transfer.to)) {
    leadership.transfer = null;
  }
  // A smaller quorum may already hold more; newcomers want their first append.
  maybeCommit(core);
  leadership.flushDue = true;
  maybeAutoLeave(core);
  return config;
}

/** The entry of a change turned out to be void when it was applied. */
export function rejectConfChange(core: Core): void {
  core.unappliedConfChanges.shift();
  if (core.leadership !== null) core.leadership.retiring = false;
  maybeAutoLeave(core);
}

/** Leaves a joint configuration that wants to be left, once nothing is pending. */
export function maybeAutoLeave(core: Core): void {
  const { leadership } = core;
  if (leadership === null || !isJoint(core.tracker.config) || !core.tracker.config.autoLeave)
    return;
  if (leadership.lease.released || hasPendingConfChange(core, leadership)) return;
  if (!hasCommittedOwnTerm(core, leadership)) return;
  const entry = appendEntry(core, leadership, 'conf-change', autoLeaveData);
  leadership.pendingConfIndex = entry.index;
  leadership.retiring = !votesIn(leaveJoint(core.tracker.config), core.id);
}
