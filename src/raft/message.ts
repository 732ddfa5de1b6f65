/**
 * What two cores say to each other: a union by `type`. Everything here comes off the wire, so the
 * rpc codec checks shape, bounds and sender before the core sees it.
 */
import type { Eligibility, Entry, Index, Millis, NodeId, Snapshot, Term } from './types.ts';

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's term; in a pre-vote and in a granted answer to it, the term campaigned for. */
  readonly term: Term;
}

/** A former leader's word that it holds nothing any more (rule R8): true for ever. */
export interface Release {
  readonly term: Term;
  readonly leader: NodeId;
}

export interface VoteRequest extends Envelope {
  readonly type: 'vote' | 'pre-vote';
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /**
   * Set in a campaign that a transfer started, to end the promise made to the leader that let go.
   */
  readonly release: Release | null;
  /**
   * The candidate's, for whoever reads a trace: it moves timers and decides no vote, because who is
   * refused may be the only one who can lead.
   */
  readonly priority: number;
}

export interface VoteReply extends Envelope {
  readonly type: 'vote-reply' | 'pre-vote-reply';
  readonly granted: boolean;
  /** What the voter still owes an older leader, ms; 0 for nothing (rules R1, R4). */
  readonly promiseRemainingMs: Millis;
}

export interface Append extends Envelope {
  readonly type: 'append';
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly entries: readonly Entry[];
  readonly commit: Index;
}

export interface AppendReply extends Envelope {
  readonly type: 'append-reply';
  /** Accepted: the last index known to match. Rejected: the `prevIndex` that did not. */
  readonly index: Index;
  readonly rejected: boolean;
  /** Rejected: where, and in which term, the follower thinks that the logs may meet. */
  readonly hintIndex: Index;
  readonly hintTerm: Term;
}

export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat';
  /** Number of the round, growing within a term; echoed so that only the leader's clock counts. */
  readonly round: number;
  /** E of this round (rule R3). */
  readonly promiseMs: Millis;
  readonly commit: Index;
}

export interface HeartbeatReply extends Envelope {
  readonly type: 'heartbeat-reply';
  readonly round: number;
  readonly eligibility: Eligibility;
}

export interface InstallSnapshot extends Envelope {
  readonly type: 'snapshot';
  readonly snapshot: Snapshot;
}

/** Campaign at once (leadership transfer); carries the old leader's release. */
export interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now';
  readonly release: Release;
}

export interface LeaseRelease extends Envelope {
  readonly type: 'lease-release';
  readonly release: Release;
}

export type Message =
  | VoteRequest
  | VoteReply
  | Append
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | InstallSnapshot
  | TimeoutNow
  | LeaseRelease;

export type MessageType = Message['type'];
