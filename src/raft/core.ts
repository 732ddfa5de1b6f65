/**
 * The state of one Raft node and the operations that every role shares. State that exists only in a
 * role lives only in that role's object: `leadership` while leader, `campaign` while candidate. The
 * roles themselves are in follower.ts, candidate.ts and leader.ts; `Raft` sends each input to one.
 *
 * Two queues carry what is to be sent. `messages` may leave at once. `afterAppend` rests on state
 * that is not durable yet, and so cannot leave before it is: a vote counted or an append
 * acknowledged before its fsync has no spelling here.
 */
import { assert } from '../base/assert.ts';
import { restore } from './confchange.ts';
import { clockDriftLimit, type RaftConfig } from './config.ts';
import { electionTimeout, retrySpreadMs } from './election.ts';
import { isPromiseInBounds, type LeaderLease, VotePromise } from './lease.ts';
import { RaftLog } from './log.ts';
import type { Message, Release } from './message.ts';
import type { ReadQueue, ReadState } from './readonly.ts';
import { ProgressTracker } from './tracker.ts';
import type {
  Eligibility,
  HardState,
  Index,
  LogReader,
  Millis,
  NodeId,
  Role,
  Term,
  Timing,
} from './types.ts';

/** A transfer of leadership under way (rule R8). */
export interface Transfer {
  readonly to: NodeId;
  /** When to give up: before the release proposals flow again, after it the leader steps down. */
  readonly giveUpAt: Millis;
}

/** What a node has only while it leads. */
export interface Leadership {
  readonly lease: LeaderLease;
  readonly reads: ReadQueue;
  /** Rule R4. */
  readonly claimNotBefore: Millis;
  /** The index of the empty entry that opened the term. */
  readonly ownTermIndex: Index;
  /** No configuration change may be proposed before this index has been applied. */
  pendingConfIndex: Index;
  heartbeatDueAt: Millis;
  /** When a quorum last echoed a newer round than before; the election before the first. */
  heardAt: Millis;
  transfer: Transfer | null;
  uncommittedBytes: number;
  /** The end of the log takes this node's vote away; see membership.ts. */
  retiring: boolean;
  /** Followers may lack entries or a commit index; looked at once per Ready. */
  flushDue: boolean;
}

/** What a node has only while it asks for votes. */
export interface Campaign {
  readonly since: Millis;
  /** Voters that refused only for a promise, and for how long still. */
  readonly owed: Map<NodeId, Millis>;
  /** The longest promise that a voter still owed when it granted (rule R4). */
  grantedOwed: Millis;
}

export class Core {
  readonly config: RaftConfig;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;
  readonly promise: VotePromise;

  /** The newest time that an input brought; it never goes back. */
  now: Millis;
  timing: Timing;
  priority: number;
  eligibility: Eligibility = { eligible: true, reason: '' };

  role: Role = 'follower';
  term: Term;
  vote: NodeId | null;
  leader: NodeId | null = null;
  promiseMaxMs: Millis;
  /** What the disk is known to hold; of the promise, the least that it may hold. */
  durable: HardState;
  leadership: Leadership | null = null;
  campaign: Campaign | null = null;
  /** The newest release heard of: true for ever, so it goes with every vote request. */
  release: Release | null = null;
  /** Indices of configuration changes handed out and neither applied nor rejected yet. */
  unappliedConfChanges: Index[] = [];
  /** The newest snapshot that this process received; its configuration is in force. */
  restoredIndex: Index = 0;

  messages: Message[] = [];
  afterAppend: Message[] = [];
  readStates: ReadState[] = [];
  failedReads: number[] = [];

  #timerFrom: Millis;
  #timerPromiseMs: Millis;
  #timerDraw: number;
  /** An earlier end of the election timer, after a refusal that named one. */
  #retryAt: Millis = Number.POSITIVE_INFINITY;
  #heldUntil: Millis = Number.NEGATIVE_INFINITY;

  constructor(config: RaftConfig, storage: LogReader, now: Millis) {
    assert(config.id !== '', 'a node needs an id');
    assert(
      config.clockDrift >= 0 && config.clockDrift < clockDriftLimit,
      'the clock drift is out of bounds',
    );
    checkTiming(config.timing);
    const { hard } = storage.initialState();
    this.config = config;
    this.timing = config.timing;
    this.priority = config.priority;
    this.now = now;
    this.log = new RaftLog(storage, hard.commit);
    // Committed entries behind the snapshot are handed out again, their changes with them.
    this.tracker = new ProgressTracker(restore(storage.snapshot().meta.config), config);
    this.term = hard.term;
    this.vote = hard.vote;
    this.promiseMaxMs = hard.promiseMaxMs;
    this.durable = hard;
    this.promise = new VotePromise(now, hard.promiseMaxMs, config.clockDrift);
    assert(hard.term >= this.log.lastTerm(), 'the stored term is behind the stored log');
    this.#timerFrom = now;
    this.#timerPromiseMs = config.timing.promiseMs;
    this.#timerDraw = config.rng();
  }

  get id(): NodeId {
    return this.config.id;
  }

  /** Takes the time of an input. A clock read out of order must not turn time back. */
  advanceTo(now: Millis): void {
    if (now > this.now) this.now = now;
  }

  setTiming(timing: Timing): void {
    checkTiming(timing);
    this.timing = timing;
  }

  // What rests on the disk.

  /** Whether term and vote are on disk, and a promise at least as long as the longest. */
  isHardStateDurable(): boolean {
    const { durable } = this;
    return (
      durable.term === this.term &&
      durable.vote === this.vote &&
      durable.promiseMaxMs >= this.promiseMaxMs
    );
  }

  /** Sends an answer that rests on the hard state only: a heartbeat's echo, a vote, a refusal. */
  sendReply(message: Message): void {
    (this.isHardStateDurable() ? this.messages : this.afterAppend).push(message);
  }

  /** Sends an answer that rests on the log too. */
  sendLogReply(message: Message): void {
    const durable = this.isHardStateDurable() && this.log.unstable.isEmpty;
    (durable ? this.messages : this.afterAppend).push(message);
  }

  // Promises.

  /** Ms for which this node may elect nobody: its promise, and as leader its own lease (R1). */
  owedMs(): Millis {
    const lease = this.leadership?.lease.deadline ?? 0;
    return Math.max(this.promise.remaining(this.now), Math.ceil(lease - this.now), 0);
  }

  /** Takes a former leader's word that it holds nothing any more. */
  heardRelease(release: Release): void {
    this.promise.release(release);
    if (this.release === null || release.term >= this.release.term) this.release = release;
  }

  isReleased(term: Term, leader: NodeId): boolean {
    return this.release?.term === term && this.release.leader === leader;
  }

  // The election timer.

  /** Starts the timer anew with a new draw: on a change of role, and on granting a vote. */
  restartElectionTimer(): void {
    this.#timerDraw = this.config.rng();
    // The last round may have asked for little, of a leader in trouble; a retry is in no hurry.
    this.refreshElectionTimer(Math.max(this.#timerPromiseMs, this.timing.promiseMs));
  }

  /** A leader was heard: the timer starts anew, with the leader's E if it named one. */
  refreshElectionTimer(promiseMs: Millis = this.#timerPromiseMs): void {
    this.#timerFrom = this.now;
    this.#timerPromiseMs = promiseMs;
    this.#retryAt = Number.POSITIVE_INFINITY;
  }

  /** Lets the timer end `delayMs` from now if it would end later. */
  retryElectionIn(delayMs: Millis): void {
    this.#retryAt = Math.min(this.#retryAt, this.now + delayMs);
  }

  /**
   * The leader closed its connections: its process has died, most likely. The promise to it binds
   * all the same; but there is no heartbeat to be missed, so only collisions need the jitter.
   */
  leaderHungUp(): void {
    const timeout = this.#electionTimeout(Math.min(this.timing.jitterMs, retrySpreadMs));
    this.retryElectionIn(this.#timerFrom + timeout - this.now);
  }

  #electionTimeout(jitterMs: Millis): Millis {
    return electionTimeout({
      promiseMs: this.#timerPromiseMs,
      jitterMs,
      draw: this.#timerDraw,
      eligible: this.eligibility.eligible,
      priority: this.priority,
    });
  }

  /** Something in here must be done first: looks again after `delayMs`. */
  holdElection(delayMs: Millis): void {
    this.#heldUntil = this.now + delayMs;
  }

  /** When this node will campaign unless it hears a leader; Infinity if it may not. */
  electionDueAt(): Millis {
    if (!this.isPromotable()) return Number.POSITIVE_INFINITY;
    const unchallenged = this.role === 'follower' && this.tracker.isSoleVoter(this.id);
    const timeout = this.#electionTimeout(this.timing.jitterMs);
    const due = this.#timerFrom + (unchallenged ? 0 : timeout);
    return Math.max(Math.min(due, this.#retryAt), this.promise.until, this.#heldUntil);
  }

  /** Whether this node may be elected at all: a voter whose log is whole. */
  isPromotable(): boolean {
    return this.tracker.isVoter(this.id) && this.log.unstable.snapshot === null;
  }

  /** Whether a committed configuration change still waits to be put in force here. */
  hasUnappliedConfChange(): boolean {
    return (
      this.unappliedConfChanges.length > 0 ||
      this.log.hasUnappliedConfChange(this.config.maxMessageBytes)
    );
  }

  // Transitions that every role can make.

  /** Adopts a higher term: nobody has this node's vote in it. */
  adoptTerm(term: Term): void {
    assert(term > this.term, 'a term never falls');
    this.term = term;
    this.vote = null;
  }

  /** Follows `leader` in `term`, whatever the role was; null for an unknown leader. */
  becomeFollower(term: Term, leader: NodeId | null): void {
    const previous = this.role;
    this.#resign();
    if (term !== this.term) this.adoptTerm(term);
    this.role = 'follower';
    this.leader = leader;
    this.campaign = null;
    this.tracker.resetVotes();
    if (previous !== 'follower') this.restartElectionTimer();
  }

  /** Ends a leadership; its lease goes on binding this node (R1) unless it was released. */
  #resign(): void {
    if (this.leadership === null) return;
    const { lease, reads } = this.leadership;
    if (lease.deadline > 0) this.promise.make(lease.deadline, this.term, this.id);
    for (const context of reads.fail()) this.failedReads.push(context);
    // A round that has not left yet would renew promises to nobody (R9).
    this.messages = this.messages.filter((message) => message.type !== 'heartbeat');
    this.leadership = null;
  }
}

function checkTiming(timing: Timing): void {
  assert(isPromiseInBounds(timing.promiseMs), 'the promise is out of bounds');
  assert(timing.heartbeatMs > 0, 'heartbeats need an interval');
  assert(timing.heartbeatMs < timing.promiseMs, 'heartbeats must be shorter than the promise');
  assert(timing.jitterMs >= 0, 'the election jitter is negative');
}
