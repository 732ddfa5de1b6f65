/**
 * The words of the Raft core: plain data, no behaviour. Terms and indices are safe integers,
 * checked where they enter the process (the rpc codec and the store); in here they are only
 * asserted.
 */

/** A daemon's identity, given once and never reused, so that an emptied disk is a new voter. */
export type NodeId = string;
export type Term = number;
export type Index = number;

/** A monotonic instant or a duration in ms on the owner's own clock; never sent to be compared. */
export type Millis = number;

/** `normal`: opaque to the core, empty in a new leader's first entry. */
export type EntryType = 'normal' | 'conf-change';

export interface Entry {
  readonly index: Index;
  readonly term: Term;
  readonly type: EntryType;
  /** Opaque to the core, whose only interest is the size. */
  readonly data: Uint8Array;
}

export interface EntryId {
  readonly term: Term;
  readonly index: Index;
}

/** What must be on disk before a message that rests on it leaves. */
export interface HardState {
  readonly term: Term;
  /** Whom this node voted for in `term`; null for nobody. */
  readonly vote: NodeId | null;
  readonly commit: Index;
  /** The longest promise, in ms, echoed and not known to have run out (rule R2); 0 for none. */
  readonly promiseMaxMs: Millis;
}

/**
 * Who counts. `votersOutgoing` is empty unless two configurations are in force (joint consensus).
 */
export interface MemberConfig {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Voters of the outgoing configuration that become learners when the joint one is left. */
  readonly learnersNext: readonly NodeId[];
  /** Leave the joint configuration by itself once it is committed. */
  readonly autoLeave: boolean;
}

export type MemberChangeType = 'add-voter' | 'add-learner' | 'remove' | 'update';

export interface MemberChange {
  readonly type: MemberChangeType;
  readonly id: NodeId;
}

/**
 * One configuration change: `simple` moves at most one voter, `joint` enters joint consensus and
 * leaves it by itself, `leave` is the entry by which a leader leaves it.
 */
export interface ConfChange {
  readonly mode: 'simple' | 'joint' | 'leave';
  readonly changes: readonly MemberChange[];
}

export interface SnapshotMeta {
  readonly index: Index;
  readonly term: Term;
  readonly config: MemberConfig;
}

export interface Snapshot {
  readonly meta: SnapshotMeta;
  /** The state machine at `meta.index`, opaque to the core. */
  readonly data: Uint8Array;
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/** How heartbeats, promises and elections are timed; all in ms. See LEASE parameters. */
export interface Timing {
  readonly heartbeatMs: Millis;
  /** E: how long a follower that echoes a heartbeat promises not to elect another. 100 to 5,000. */
  readonly promiseMs: Millis;
  /** The election timer is promiseMs + U(0, jitterMs). */
  readonly jitterMs: Millis;
}

/** What the owner of the VIP needs to know of the lease; rebuilt with each Ready. */
export interface LeaseView {
  readonly role: Role;
  readonly term: Term;
  readonly leader: NodeId | null;
  /**
   * As leader: the instant before which this node alone may hold the VIP, counted from the *send*
   * of the newest round that a quorum echoed (0 before the first such round, after a release, and
   * in every other role).
   */
  readonly deadline: Millis;
  /**
   * Rule R4: no claim before this instant, because a voter still owed an older leader its promise.
   */
  readonly claimNotBefore: Millis;
  /** Rule R5: an entry of this term is committed and was handed out to be applied. */
  readonly ownTermCommitted: boolean;
  /** Rule R8: the lease of this term was given away; no VIP again in this term. */
  readonly released: boolean;
  /**
   * Rule R8: a transfer's target is level and waits. The owner takes the VIP out of the kernel and
   * then calls `releaseLease`; only that lets the target campaign.
   */
  readonly wantsRelease: boolean;
}

/** Whether this node could hold a VIP, with the reason if not; travels in each heartbeat's echo. */
export interface Eligibility {
  readonly eligible: boolean;
  readonly reason: string;
}

/**
 * The stable log as the core reads it: synchronous, because the whole log behind the last snapshot
 * is kept in memory. Same contract as etcd's Storage: `term` answers for `firstIndex() - 1` too.
 */
export interface LogReader {
  initialState(): { readonly hard: HardState; readonly config: MemberConfig };
  /** Entries in [low, high), cut to `maxBytes` but never to fewer than one. */
  entries(low: Index, high: Index, maxBytes: number): Entry[];
  /** The term at `index`; undefined where the log no longer, or not yet, holds it. */
  term(index: Index): Term | undefined;
  firstIndex(): Index;
  lastIndex(): Index;
  /** The newest snapshot; index 0 and an empty configuration before the first. */
  snapshot(): Snapshot;
}

export const emptyHardState: HardState = { term: 0, vote: null, commit: 0, promiseMaxMs: 0 };

export const emptyConfig: MemberConfig = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};
