/**
 * Raft messages as bytes. Decoding is total: whatever comes off the wire is a message that the core
 * may trust in shape, bounds, sender and receiver, or a reason why not; it never throws.
 */

import {
  RaftMessage,
  type Append as WireAppend,
  type Entry as WireEntry,
  EntryType as WireEntryType,
  type Release as WireRelease,
} from '../../proto/gen/raft.ts';
import { assert, unreachable } from '../base/assert.ts';
import type { InstallSnapshot, Message, MessageType, Release } from '../raft/message.ts';
import type { Entry, NodeId } from '../raft/types.ts';
import {
  maxEntriesPerMessage,
  maxIdChars,
  maxReasonChars,
  messageFormatVersion,
} from './limits.ts';

/** Everything but snapshots, which travel in parts. */
export type WireableMessage = Exclude<Message, InstallSnapshot>;

export type MessageClass = 'control' | 'log' | 'snapshot';

export interface Invalid {
  /** A word for counting: `malformed`, `newer-version`, `wrong-sender`, … */
  readonly invalid: string;
}

/** Whose stream the bytes came by, and who we are. */
export interface Route {
  readonly from: NodeId;
  readonly to: NodeId;
}

type Body = NonNullable<RaftMessage['body']>;

/** Which of the three streams a message takes. */
export function classOf(type: MessageType): MessageClass {
  if (type === 'append') return 'log';
  return type === 'snapshot' ? 'snapshot' : 'control';
}

export function encodeMessage(message: WireableMessage): Uint8Array {
  assert(Number.isSafeInteger(message.term), 'the term of a message is a safe integer');
  return RaftMessage.encode({
    formatVersion: messageFormatVersion,
    from: message.from,
    to: message.to,
    term: message.term,
    body: encodeBody(message),
  }).finish();
}

function encodeBody(message: WireableMessage): Body {
  switch (message.type) {
    case 'vote':
    case 'pre-vote': {
      const { lastIndex, lastTerm, priority } = message;
      const release = message.release ?? undefined;
      const preVote = message.type === 'pre-vote';
      return { $case: 'vote', value: { preVote, lastIndex, lastTerm, release, priority } };
    }
    case 'vote-reply':
    case 'pre-vote-reply': {
      const { granted, promiseRemainingMs } = message;
      const preVote = message.type === 'pre-vote-reply';
      return { $case: 'voteReply', value: { preVote, granted, promiseRemainingMs } };
    }
    case 'append':
      return { $case: 'append', value: { ...message, entries: message.entries.map(encodeEntry) } };
    case 'append-reply':
      return { $case: 'appendReply', value: message };
    case 'heartbeat':
      return { $case: 'heartbeat', value: message };
    case 'heartbeat-reply': {
      const { eligible, reason } = message.eligibility;
      const short = reason.slice(0, maxReasonChars);
      return { $case: 'heartbeatReply', value: { round: message.round, eligible, reason: short } };
    }
    case 'timeout-now':
      return { $case: 'timeoutNow', value: message.release };
    case 'lease-release':
      return { $case: 'leaseRelease', value: message.release };
    default:
      return unreachable(message);
  }
}

function encodeEntry(entry: Entry): WireEntry {
  const type = entry.type === 'normal' ? WireEntryType.NORMAL : WireEntryType.CONF_CHANGE;
  return { index: entry.index, term: entry.term, type, data: entry.data };
}

/** The message in `bytes`, if it is one that `route.from` may send to `route.to`. */
export function decodeMessage(bytes: Uint8Array, route: Route): WireableMessage | Invalid {
  let wire: RaftMessage;
  try {
    wire = RaftMessage.decode(bytes);
  } catch {
    return { invalid: 'malformed' };
  }
  if (wire.formatVersion > messageFormatVersion) return { invalid: 'newer-version' };
  if (wire.formatVersion < 1) return { invalid: 'malformed' };
  if (wire.from !== route.from || wire.from === route.to) return { invalid: 'wrong-sender' };
  if (wire.to !== route.to) return { invalid: 'wrong-receiver' };
  if (wire.body === undefined) return { invalid: 'unknown-type' };
  return decodeBody({ from: wire.from, to: wire.to, term: wire.term }, wire.body);
}

interface Envelope extends Route {
  readonly term: number;
}

function decodeBody(envelope: Envelope, body: Body): WireableMessage | Invalid {
  switch (body.$case) {
    case 'vote': {
      const { preVote, lastIndex, lastTerm, priority } = body.value;
      if (!validRelease(body.value.release)) return { invalid: 'bad-release' };
      if (lastTerm > envelope.term) return { invalid: 'bad-terms' };
      const release = body.value.release ?? null;
      const type = preVote ? 'pre-vote' : 'vote';
      return { ...envelope, type, lastIndex, lastTerm, release, priority };
    }
    case 'voteReply': {
      const { granted, promiseRemainingMs, preVote } = body.value;
      if (!validDuration(promiseRemainingMs)) return { invalid: 'bad-duration' };
      const type = preVote ? 'pre-vote-reply' : 'vote-reply';
      return { ...envelope, type, granted, promiseRemainingMs };
    }
    case 'append':
      return decodeAppend(envelope, body.value);
    case 'appendReply': {
      const { index, rejected, hintIndex, hintTerm } = body.value;
      return { ...envelope, type: 'append-reply', index, rejected, hintIndex, hintTerm };
    }
    case 'heartbeat': {
      const { round, promiseMs, commit } = body.value;
      if (!validDuration(promiseMs)) return { invalid: 'bad-duration' };
      return { ...envelope, type: 'heartbeat', round, promiseMs, commit };
    }
    case 'heartbeatReply': {
      const { round, eligible, reason } = body.value;
      if (reason.length > maxReasonChars) return { invalid: 'too-long' };
      return { ...envelope, type: 'heartbeat-reply', round, eligibility: { eligible, reason } };
    }
    case 'timeoutNow':
      return validRelease(body.value)
        ? { ...envelope, type: 'timeout-now', release: body.value }
        : { invalid: 'bad-release' };
    case 'leaseRelease':
      return validRelease(body.value)
        ? { ...envelope, type: 'lease-release', release: body.value }
        : { invalid: 'bad-release' };
    default:
      return unreachable(body);
  }
}

function decodeAppend(envelope: Envelope, wire: WireAppend): WireableMessage | Invalid {
  const { prevIndex, prevTerm, commit } = wire;
  if (wire.entries.length > maxEntriesPerMessage) return { invalid: 'too-many-entries' };
  const entries: Entry[] = [];
  let term = prevTerm;
  for (const entry of wire.entries) {
    if (entry.index !== prevIndex + entries.length + 1) return { invalid: 'bad-indices' };
    if (entry.term < term) return { invalid: 'bad-terms' };
    const type = entryTypes.get(entry.type);
    if (type === undefined) return { invalid: 'unknown-entry-type' };
    term = entry.term;
    // A copy: a view would keep the whole received message alive for as long as the log.
    entries.push({ index: entry.index, term, type, data: new Uint8Array(entry.data) });
  }
  if (term > envelope.term) return { invalid: 'bad-terms' };
  if (!Number.isSafeInteger(prevIndex + entries.length)) return { invalid: 'bad-indices' };
  return { ...envelope, type: 'append', prevIndex, prevTerm, entries, commit };
}

const entryTypes: ReadonlyMap<number, Entry['type']> = new Map([
  [WireEntryType.NORMAL, 'normal'],
  [WireEntryType.CONF_CHANGE, 'conf-change'],
]);

/** A minute is far above any promise; the core judges the rest. */
const maxDurationMs = 60_000;

function validDuration(durationMs: number): boolean {
  return durationMs >= 0 && durationMs <= maxDurationMs;
}

function validRelease(release: WireRelease | Release | undefined): boolean {
  if (release === undefined) return true;
  return release.leader.length > 0 && release.leader.length <= maxIdChars;
}
