/**
 * The core's only door: inputs in, one `Ready` out, nothing else. Same state and same input give
 * the same output. The driver's order for each Ready, which all safety rests on:
 *
 * 1. what `lease` means for the VIP (a lost one is dropped before anything leaves, rule R9);
 * 2. start writing `hard`, `entries` and `snapshot`, in one batch, synced if `mustSync`;
 * 3. send `messages`;
 * 4. when that batch and all before it are durable: send `afterAppend`, call `advance`;
 * 5. apply `committed` in order, `applyConfChange` or `rejectConfChange` for each configuration
 * change.
 *
 * `ready` may be called again before the last one was advanced; nothing is handed out twice.
 */
import { assert } from '../base/assert.ts';
import { campaignSoftly, mayCampaign, ownVoteDurable } from './candidate.ts';
import type { ProposeResult, RaftConfig, ReadIndexResult, TransferResult } from './config.ts';
import { Core } from './core.ts';
import { readIndex, startRound } from './leader.ts';
import { idleLease, leaseView } from './leaseview.ts';
import {
  applyConfChange,
  maybeAutoLeave,
  proposeConfChange,
  rejectConfChange,
} from './membership.ts';
import type { Message } from './message.ts';
import { propose } from './proposal.ts';
import { nextDeadline, step, tick } from './raft.ts';
import type { Ready } from './ready.ts';
import { flush, handleOwnAppend, handleSnapshotStatus, handleUnreachable } from './replication.ts';
import { type RaftStatus, statusOf } from './status.ts';
import { Tracer } from './trace.ts';
import { releaseLease, transferLeader } from './transfer.ts';
import type {
  ConfChange,
  Eligibility,
  Entry,
  EntryId,
  HardState,
  Index,
  LeaseView,
  LogReader,
  MemberConfig,
  Millis,
  NodeId,
  Term,
  Timing,
} from './types.ts';

export type { ProposeResult, RaftConfig, ReadIndexResult, TransferResult } from './config.ts';
export type { ReadState } from './readonly.ts';
export type { Ready } from './ready.ts';
export type { PeerStatus, RaftStatus } from './status.ts';

/** What a Ready gave to the disk and has not heard of yet. */
interface Batch {
  /** The term when it was handed out: an answer of an older term says nothing about today's log. */
  readonly term: Term;
  readonly hard: HardState | null;
  /** The end of the log at that time, if any of it was not durable. */
  readonly lastId: EntryId | null;
  readonly snapshotIndex: Index | null;
  /** How many Readys behind it gave nothing more: while a disk stands still there are many. */
  repeats: number;
}

export class RawNode {
  readonly #core: Core;
  readonly #tracer: Tracer | null;
  readonly #batches: Batch[] = [];
  /** What was last handed out. */
  #hard: HardState;
  #lease: LeaseView;

  /**
   * Starts from what the disk holds, as a follower. The applied index is that of the newest
   * snapshot: committed entries behind it are handed out again.
   */
  constructor(config: RaftConfig, storage: LogReader, now: Millis) {
    this.#core = new Core(config, storage, now);
    this.#hard = this.#core.durable;
    this.#lease = leaseView(this.#core, idleLease);
    this.#tracer = config.trace === undefined ? null : new Tracer(this.#core, config.trace);
  }

  /** Handles a message that the codec has checked. `now` is read after it was received. */
  step(now: Millis, message: Message): void {
    this.#core.advanceTo(now);
    this.#tracer?.received(message);
    step(this.#core, message);
    this.#tracer?.look();
  }

  /**
   * Does whatever is due at `now`: an election, a heartbeat round, a step-down, the end of a
   * transfer.
   */
  tick(now: Millis): void {
    this.#core.advanceTo(now);
    tick(this.#core);
    this.#tracer?.look();
  }

  /** When `tick` is next due, on the same clock; Infinity for nothing due. */
  nextDeadline(): Millis {
    return nextDeadline(this.#core);
  }

  /** As leader: when the newest round that a quorum echoed was sent; the election before it. */
  get provenAt(): Millis | null {
    return this.#core.leadership?.lease.provenAt ?? null;
  }

  /** Proposes an entry. An index is a promise to try, not that it will be committed. */
  propose(data: Uint8Array): ProposeResult {
    return propose(this.#core, 'normal', data);
  }

  /**
   * Proposes a configuration change; `data` is what the driver decodes when it applies the entry.
   * An entry of type `conf-change` with empty data is the core's own `leave` of a joint
   * configuration.
   */
  proposeConfChange(change: ConfChange, data: Uint8Array): ProposeResult {
    const result = proposeConfChange(this.#core, change, data);
    if (result.ok) this.#tracer?.confChangeProposed(change);
    return result;
  }

  /** Puts the change of the entry being applied in force; returns the configuration after it. */
  applyConfChange(now: Millis, change: ConfChange): MemberConfig {
    this.#core.advanceTo(now);
    const config = applyConfChange(this.#core, change);
    this.#tracer?.confChangeApplied();
    return config;
  }

  /** The configuration change being applied turned out to be void. */
  rejectConfChange(): void {
    rejectConfChange(this.#core);
  }

  /**
   * Hands leadership to `to` (rule R8): refused unless it is an eligible voter heard of lately and
   * no membership change is pending. `lease.wantsRelease` says when the VIP has to go; given up
   * after E.
   */
  transferLeader(now: Millis, to: NodeId): TransferResult {
    this.#core.advanceTo(now);
    return transferLeader(this.#core, to);
  }

  /**
   * The kernel has acknowledged that the VIP is gone: gives the lease away for the rest of this
   * term and tells everybody. Without a transfer under way the node also steps down.
   */
  releaseLease(now: Millis): void {
    this.#core.advanceTo(now);
    releaseLease(this.#core);
  }

  /** Asks for a linearizable read; `context` comes back in `readStates` or in `failedReads`. */
  readIndex(context: number): ReadIndexResult {
    return readIndex(this.#core, context);
  }

  /** Campaigns now rather than at the end of the timer, if nothing forbids it. */
  campaign(now: Millis): void {
    this.#core.advanceTo(now);
    if (mayCampaign(this.#core)) campaignSoftly(this.#core);
  }

  /** The transport lost its connection to `id`, or something that it should carry there. */
  reportUnreachable(now: Millis, id: NodeId): void {
    const core = this.#core;
    core.advanceTo(now);
    handleUnreachable(core, id);
    if (core.role === 'follower' && core.leader === id) core.leaderHungUp();
  }

  /** The transport delivered the snapshot to `id`, or failed to. Owed for every snapshot sent. */
  reportSnapshot(id: NodeId, ok: boolean): void {
    handleSnapshotStatus(this.#core, id, ok);
  }

  /** New timing: as leader from the next round on; an election timer under way keeps its E. */
  setTiming(timing: Timing): void {
    this.#core.setTiming(timing);
  }

  setPriority(priority: number): void {
    this.#core.priority = priority;
  }

  /** Whether this node may hold a VIP: told to the leader with each echo. */
  setEligibility(eligibility: Eligibility): void {
    this.#core.eligibility = eligibility;
  }

  hasReady(): boolean {
    const core = this.#core;
    const { leadership, log } = core;
    return (
      core.messages.length > 0 ||
      core.afterAppend.length > 0 ||
      core.readStates.length > 0 ||
      core.failedReads.length > 0 ||
      log.unstable.hasNext ||
      log.hasNextCommitted ||
      this.#nextHard() !== null ||
      (leadership !== null && (leadership.flushDue || leadership.reads.wantsRound)) ||
      leaseView(core, this.#lease) !== this.#lease
    );
  }

  /** Takes out everything there is to do. Every Ready must be advanced, in order. */
  ready(now: Millis): Ready {
    const core = this.#core;
    core.advanceTo(now);
    if (core.leadership?.reads.wantsRound) startRound(core, core.leadership);
    if (core.leadership?.flushDue) flush(core, core.leadership);
    this.#lease = leaseView(core, this.#lease);
    this.#tracer?.look();

    const { unstable } = core.log;
    const entries = unstable.nextEntries();
    const snapshot = unstable.nextSnapshot();
    const hard = this.#nextHard();
    const mustSync = entries.length > 0 || snapshot !== null || this.#mustSync(hard);
    if (hard !== null) this.#hard = hard;
    this.#noteBatch({
      term: core.term,
      hard,
      lastId: unstable.length > 0 ? core.log.lastId() : null,
      snapshotIndex: snapshot?.meta.index ?? null,
      repeats: 0,
    });
    this.#foreseeDurable(core.durable);
    unstable.acceptInProgress();
    if (snapshot !== null) core.log.handOutTo(snapshot.meta.index);

    const ready: Ready = {
      ...(hard === null ? {} : { hard }),
      entries,
      ...(snapshot === null ? {} : { snapshot }),
      mustSync,
      messages: core.messages,
      afterAppend: core.afterAppend,
      committed: this.#handOut(),
      readStates: core.readStates,
      failedReads: core.failedReads,
      lease: this.#lease,
    };
    this.#traceReady(ready);
    core.messages = [];
    core.afterAppend = [];
    core.readStates = [];
    core.failedReads = [];
    maybeAutoLeave(core);
    return ready;
  }

  /** The oldest Ready that was not advanced yet is durable. */
  advance(now: Millis): void {
    const core = this.#core;
    core.advanceTo(now);
    const batch = this.#batches[0];
    assert(batch !== undefined, 'more Readys advanced than handed out');
    if (batch.repeats > 0) batch.repeats -= 1;
    else this.#batches.shift();
    if (batch.hard !== null) this.#foreseeDurable(batch.hard);
    // The log may have been overwritten and written back in a later term while this was under way:
    // then only the answer to the later write counts, and its batch covers this one too.
    const current = batch.term === core.term;
    if (current && batch.lastId !== null) core.log.unstable.stableTo(batch.lastId);
    if (batch.snapshotIndex !== null) this.#snapshotDurable(batch.snapshotIndex);
    if (core.durable.term === core.term && core.durable.vote === core.id) ownVoteDurable(core);
    if (core.leadership !== null && current) {
      handleOwnAppend(core, core.leadership, core.log.stableIndex);
    }
    this.#tracer?.look();
  }

  /** Where this node stands at `now`. */
  status(now: Millis): RaftStatus {
    this.#core.advanceTo(now);
    return statusOf(this.#core);
  }

  #noteBatch(batch: Batch): void {
    const newest = this.#batches.at(-1);
    const repeats =
      newest !== undefined &&
      batch.hard === null &&
      batch.snapshotIndex === null &&
      newest.hard === null &&
      newest.snapshotIndex === null &&
      newest.term === batch.term &&
      newest.lastId?.index === batch.lastId?.index &&
      newest.lastId?.term === batch.lastId?.term;
    if (repeats) newest.repeats += 1;
    else this.#batches.push(batch);
  }

  #traceReady({ messages, afterAppend }: Ready): void {
    if (this.#tracer === null) return;
    this.#tracer.ready();
    for (const message of [...messages, ...afterAppend]) this.#tracer.sent(message);
  }

  /** A write under way that shortens the promise may be on disk already, and a later one not. */
  #foreseeDurable(known: HardState): void {
    const underWay = this.#batches.map(({ hard }) => hard?.promiseMaxMs ?? known.promiseMaxMs);
    const promiseMaxMs = Math.min(known.promiseMaxMs, ...underWay);
    this.#core.durable = { ...known, promiseMaxMs };
  }

  #snapshotDurable(index: Index): void {
    const core = this.#core;
    core.log.unstable.stableSnapshotTo(index);
    core.unappliedConfChanges = core.unappliedConfChanges.filter((at) => at > index);
  }

  #handOut(): readonly Entry[] {
    const core = this.#core;
    const committed = core.log.nextCommitted(core.config.maxMessageBytes);
    const last = committed.at(-1);
    if (last === undefined) return committed;
    core.log.handOutTo(last.index);
    let bytes = 0;
    for (const entry of committed) {
      bytes += entry.data.length;
      if (entry.type === 'conf-change') core.unappliedConfChanges.push(entry.index);
    }
    const { leadership } = core;
    if (leadership !== null) {
      leadership.uncommittedBytes = Math.max(0, leadership.uncommittedBytes - bytes);
    }
    return committed;
  }

  #nextHard(): HardState | null {
    const { term, vote, promiseMaxMs, log } = this.#core;
    const last = this.#hard;
    const unchanged =
      last.term === term &&
      last.vote === vote &&
      last.commit === log.committed &&
      last.promiseMaxMs === promiseMaxMs;
    return unchanged ? null : { term, vote, commit: log.committed, promiseMaxMs };
  }

  #mustSync(hard: HardState | null): boolean {
    const last = this.#hard;
    // A shorter promise that the disk forgets costs a start some waiting, nobody's safety.
    return (
      hard !== null &&
      (hard.term !== last.term || hard.vote !== last.vote || hard.promiseMaxMs > last.promiseMaxMs)
    );
  }
}
