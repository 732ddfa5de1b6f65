/** How entries get into a leader's log, and when it refuses to take one. */
import type { ProposeResult } from './config.ts';
import type { Core, Leadership } from './core.ts';
import type { Entry, EntryType } from './types.ts';

/** Appends one entry to the leader's log; replication follows with the next Ready. */
export function appendEntry(
  core: Core,
  leadership: Leadership,
  type: EntryType,
  data: Uint8Array,
): Entry {
  const entry: Entry = { index: core.log.lastIndex() + 1, term: core.term, type, data };
  core.log.append([entry]);
  leadership.uncommittedBytes += data.length;
  leadership.flushDue = true;
  return entry;
}

/** Proposes an entry of `type`; see `RawNode.propose`. */
export function propose(core: Core, type: EntryType, data: Uint8Array): ProposeResult {
  const { leadership, leader } = core;
  if (leadership === null) return { ok: false, reason: 'not-leader', leader };
  if (leadership.transfer !== null || leadership.lease.released) {
    return { ok: false, reason: 'transferring', leader };
  }
  if (leadership.retiring) return { ok: false, reason: 'conf-change-pending', leader };
  const size = leadership.uncommittedBytes + data.length;
  // One proposal is always let through, so that none is too large for ever.
  if (leadership.uncommittedBytes > 0 && size > core.config.maxUncommittedBytes) {
    return { ok: false, reason: 'too-much-uncommitted', leader };
  }
  const { index, term } = appendEntry(core, leadership, type, data);
  return { ok: true, index, term };
}

/** Whether an entry of this term is committed (bugs 2 and 27 of those that others had). */
export function hasCommittedOwnTerm(core: Core, leadership: Leadership): boolean {
  return core.log.committed >= leadership.ownTermIndex;
}
