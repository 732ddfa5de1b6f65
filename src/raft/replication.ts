/**
 * The sending half of log replication: what a leader sends to one member, and what it learns from
 * the answers. Fast back-off: a rejected probe skips whole terms on both sides, so that the number
 * of probes is bounded by the number of terms in which the logs differ, not by entries.
 */
import { assert } from '../base/assert.ts';
import type { Core, Leadership } from './core.ts';
import { entryBytes } from './log.ts';
import type { AppendReply } from './message.ts';
import type { Progress } from './progress.ts';
import type { Entry, NodeId, Term } from './types.ts';

/** Sends what every member lacks: entries, and a commit index that it can use. Once per Ready. */
export function flush(core: Core, leadership: Leadership): void {
  leadership.flushDue = false;
  const { committed } = core.log;
  for (const peer of core.tracker.all) {
    if (peer.id === core.id) continue;
    sendAppend(core, peer, peer.canBumpCommit(committed));
    // Limits cut what one message holds; the window decides how many may be under way.
    while (sendAppend(core, peer, false));
  }
}

/**
 * Sends the next append, or a snapshot if the log no longer reaches back that far. An append
 * without entries leaves only if `evenIfEmpty`. False if nothing was sent.
 */
export function sendAppend(core: Core, peer: Progress, evenIfEmpty: boolean): boolean {
  if (peer.isPaused) return false;
  const prevTerm = core.log.term(peer.next - 1);
  if (prevTerm === undefined) return sendSnapshot(core, peer);
  const full = peer.state === 'replicate' && peer.inflights.full;
  const entries = full ? [] : core.log.entriesFrom(peer.next, core.config.maxMessageBytes);
  if (entries.length === 0 && !evenIfEmpty) return false;
  pushAppend(core, peer, prevTerm, entries);
  return true;
}

/**
 * An echo arrived from a member that lacks something: whatever was under way may be lost. A
 * pipeline goes on, through a full window with one empty append; a probe that is not answered yet
 * is repeated without its entries, because echoes are faster than the disk that holds the answer
 * up.
 */
export function resumeAppends(core: Core, peer: Progress): void {
  const unanswered = peer.state === 'probe' && peer.isPaused;
  peer.resumeFlow();
  if (peer.match >= core.log.lastIndex() && peer.state !== 'probe') return;
  const prevTerm = core.log.term(peer.next - 1);
  if (unanswered && prevTerm !== undefined) pushAppend(core, peer, prevTerm, []);
  else sendAppend(core, peer, true);
}

function pushAppend(core: Core, peer: Progress, prevTerm: Term, entries: readonly Entry[]): void {
  const commit = core.log.committed;
  const prevIndex = peer.next - 1;
  core.messages.push({
    type: 'append',
    from: core.id,
    to: peer.id,
    term: core.term,
    prevIndex,
    prevTerm,
    entries,
    commit,
  });
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  peer.sentEntries(entries.length, bytes);
  // What the follower can take of it: the message proves its log no further.
  peer.sentCommit(Math.min(commit, prevIndex + entries.length));
}

function sendSnapshot(core: Core, peer: Progress): boolean {
  // Nobody who is silent gets one: it would be built and sent for nothing.
  const heardAt = peer.lastHeardAt;
  if (heardAt === null || core.now - heardAt > core.timing.promiseMs) return false;
  const snapshot = core.log.snapshot();
  assert(snapshot.meta.index >= peer.next - 1, 'the log is compacted beyond its snapshot');
  core.messages.push({ type: 'snapshot', from: core.id, to: peer.id, term: core.term, snapshot });
  peer.becomeSnapshot(snapshot.meta.index);
  return true;
}

/** Learns from a member's answer to an append or a snapshot. */
export function handleAppendReply(core: Core, leadership: Leadership, m: AppendReply): void {
  const peer = core.tracker.get(m.from);
  if (peer === undefined || m.from === core.id) return;
  peer.lastHeardAt = core.now;
  if (m.rejected) {
    // Where the follower has a smaller term than asked for, no entry of a later term can match.
    const hint =
      m.hintTerm > 0 ? core.log.findConflictByTerm(m.hintIndex, m.hintTerm).index : m.hintIndex;
    if (!peer.maybeDecrease(m.index, hint)) return;
    if (peer.state === 'replicate') peer.becomeProbe();
    sendAppend(core, peer, true);
    return;
  }
  if (m.index > core.log.lastIndex()) return;
  const news = peer.maybeUpdate(m.index);
  if (!news && !(peer.state === 'probe' && peer.match === m.index)) return;
  if (peer.state === 'replicate') {
    peer.inflights.freeThrough(m.index);
  } else if (peer.state === 'probe' || peer.match + 1 >= core.log.firstIndex()) {
    // A peer may come back into the log's reach by other means than the snapshot under way.
    peer.becomeReplicate();
  }
  maybeCommit(core);
  leadership.flushDue = true;
}

/** This node's own disk holds the log up to `index`. */
export function handleOwnAppend(core: Core, leadership: Leadership, index: number): void {
  const own = core.tracker.get(core.id);
  if (own?.maybeUpdate(index) && maybeCommit(core)) leadership.flushDue = true;
}

/**
 * Commits what a quorum holds, if it is of this term: an older entry commits only underneath a
 * newer one, because a count alone does not keep it from being overwritten (Figure 8 of the Raft
 * paper).
 */
export function maybeCommit(core: Core): boolean {
  return core.log.maybeCommit({ term: core.term, index: core.tracker.committed() });
}

/** The transport could not reach `id`: what was under way is probably lost. */
export function handleUnreachable(core: Core, id: NodeId): void {
  const peer = core.tracker.get(id);
  if (core.leadership !== null && peer?.state === 'replicate') peer.becomeProbe();
}

/** The transport finished with the snapshot to `id`, or failed. */
export function handleSnapshotStatus(core: Core, id: NodeId, ok: boolean): void {
  const peer = core.tracker.get(id);
  if (core.leadership === null || peer?.state !== 'snapshot') return;
  if (ok) peer.becomeProbe();
  else peer.snapshotFailed();
  // The next append waits for the member's own word, or for its next echo.
  peer.pauseFlow();
}
