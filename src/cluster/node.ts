/**
 * One member of the cluster: the only thing that drives the Raft core. A single writer: whatever
 * comes in (a message, a timer, a proposal, a finished write) runs the core once and then does
 * everything that the core wants done, in the order on which safety rests:
 *
 *   1 the lease's side effect  2 start the write  3 send  4 when durable: the rest  5 apply
 *
 * It knows no sockets, files or wall clocks: the agent plugs in real ones, the simulator its own.
 */
import { assert } from '../base/assert.ts';
import type { Millis, Timer } from '../base/clock.ts';
import { describeError, type OperatingError } from '../base/errors.ts';
import { idleLease } from '../raft/leaseview.ts';
import type { Message } from '../raft/message.ts';
import { type RaftStatus, RawNode, type Ready } from '../raft/rawnode.ts';
import type { Eligibility, Entry, Index, LeaseView, NodeId, Snapshot } from '../raft/types.ts';
import { Chores } from './chores.ts';
import { type Command, commandFormat } from './command.ts';
import { Compaction, defaultCompactionLimits } from './compaction.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import { DiskWatch, diskNotWell, withTrouble } from './disk-trouble.ts';
import { HandOver } from './hand-over.ts';
import {
  maxAppendsUnderWay,
  type NodeOptions,
  type NodePorts,
  proposalTimeoutMs,
  raftLimits,
  slowTickMs,
} from './node-ports.ts';
import type { SavedSnapshot } from './operations.ts';
import { PeerList } from './peer-list.ts';
import { defaultHoldDown } from './preference.ts';
import { Proposals, type Proposed } from './proposals.ts';
import { Reads } from './reads.ts';
import { nodeStopped, notLeader, versionTooLow } from './refusals.ts';
import { clusterFormatVersion, memberById } from './state.ts';
import { StateMachine } from './state-machine.ts';
import { clockDrift, leaseMs } from './timing.ts';
import { TimingChoice, type TimingView } from './timing-choice.ts';
import { TimingWatch } from './timing-watch.ts';
import { type Transition, Transitions } from './transitions.ts';
import { type Outstanding, UnderWay } from './under-way.ts';
import { type ClusterView, sameView, viewOf } from './view.ts';
import { Watches } from './watches.ts';

export class ClusterNode {
  readonly #ports: NodePorts;
  readonly #selfId: NodeId;
  readonly #raw: RawNode;
  readonly #machine: StateMachine;
  readonly #compaction: Compaction;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #watches: Watches<ClusterView>;
  readonly #transitions: Transitions;
  readonly #peers: PeerList;
  readonly #chores: Chores;
  readonly #timing: TimingChoice;
  readonly #timingWatch: TimingWatch;
  readonly #timer: DeadlineTimer;
  readonly #listeners = new Set<(view: ClusterView) => void>();
  readonly #underWay = new UnderWay();
  readonly #handOver: HandOver;

  #lease: LeaseView;
  #published: ClusterView;
  /** What was said of this host; its disk may speak against it too. */
  #eligibility: Eligibility = { eligible: true, reason: '' };
  readonly #disk = new DiskWatch();
  readonly #startedAt: Millis;
  #leaderHeardAt: Millis = Number.NEGATIVE_INFINITY;
  #slowTimer: Timer | null = null;
  #processing = false;
  #state: 'new' | 'running' | 'stopped' = 'new';

  constructor(options: NodeOptions, ports: NodePorts) {
    this.#ports = ports;
    this.#selfId = options.selfId;
    this.#machine = new StateMachine(ports.storage.snapshot());
    this.#compaction = new Compaction(options.compaction ?? defaultCompactionLimits);
    const { state } = this.#machine;
    const { clock } = ports;
    this.#timing = new TimingChoice(state.spec.timing, options.timing);
    this.#timingWatch = new TimingWatch(this.#timing);
    this.#raw = new RawNode(
      {
        ...raftLimits,
        id: options.selfId,
        timing: this.#timing.timing,
        clockDrift,
        priority: memberById(state, options.selfId)?.priority ?? 0,
        rng: ports.rng,
        ...(ports.trace === undefined ? {} : { trace: ports.trace }),
      },
      ports.storage,
      clock.now(),
    );
    this.#proposals = new Proposals(clock, (leader) => notLeader(this.#machine.state, leader));
    this.#reads = new Reads(clock, () => this.#notLeader());
    this.#watches = new Watches(clock);
    this.#transitions = new Transitions(clock);
    this.#peers = new PeerList(clock, options.selfId, ports.transport);
    this.#chores = new Chores({
      log: ports.log,
      holdDown: options.holdDown ?? defaultHoldDown,
      promote: (ids) => this.propose({ type: 'promote-members', ids }),
      handOn: (to) => this.transfer(to),
    });
    this.#handOver = new HandOver({
      clock,
      log: ports.log,
      selfId: options.selfId,
      raw: this.#raw,
      machine: this.#machine,
      watches: this.#watches,
      lease: () => (this.#state === 'running' ? this.#lease : null),
      timing: () => this.#timing.timing,
      run: (input) => this.#run(input),
      letGo: () => this.#letGo(),
    });
    this.#timer = new DeadlineTimer(clock, ports.yieldToIo, {
      late: () => this.#onLate(),
      due: () => this.#run(() => this.#raw.tick(clock.now())),
    });
    this.#startedAt = clock.now();
    this.#lease = idleLease;
    this.#published = this.view();
  }

  /** Begins to take part. Nothing happens before. */
  start(): void {
    assert(this.#state === 'new', 'a node starts once');
    this.#state = 'running';
    this.#run(() => this.#peers.set(this.#machine.state));
    this.#slowTick();
  }

  /** Takes a message that the codec has checked; to be called as soon as its bytes were read. */
  receive(message: Message): void {
    this.#run(() => {
      const now = this.#ports.clock.now();
      this.#raw.step(now, message);
      if (message.type === 'heartbeat' && message.term >= this.#lease.term) {
        this.#leaderHeardAt = now;
        this.#retimed(this.#timingWatch.heartbeat(message.from, message.promiseMs, now));
      } else if (message.type === 'heartbeat-reply') {
        this.#retimed(this.#timingWatch.echo(message.from, now));
      }
    });
  }

  /**
   * Has `command` agreed on, and resolves when it is applied here.
   *
   * @throws OperatingError (as a rejection) as {@link Proposals.add}, and `version-too-low`.
   */
  async propose(command: Command, timeoutMs: Millis = proposalTimeoutMs): Promise<Proposed> {
    if (this.#state !== 'running') throw nodeStopped();
    const version = clusterFormatVersion(this.#machine.state);
    if (commandFormat(command) > version) throw versionTooLow(command, version);
    const leads = this.#lease.role === 'leader';
    if (leads && this.#disk.trouble !== null) throw diskNotWell(this.#disk.trouble);
    const proposed = this.#proposals.add(command, timeoutMs);
    this.#run(() => undefined);
    return proposed;
  }

  /**
   * Resolves once this node, as leader, has applied all that was committed when it was asked.
   *
   * @throws OperatingError (as a rejection) not-leader, no-quorum, node-stopped
   */
  async confirmRead(timeoutMs: Millis = proposalTimeoutMs): Promise<Index> {
    if (this.#state !== 'running') throw nodeStopped();
    const confirmed = this.#reads.add(timeoutMs);
    this.#run(() => undefined);
    return confirmed;
  }

  /**
   * Hands the leadership, and with it the VIP, to `to` (rule R8); resolves with the new leader.
   *
   * @param to null for the best of those who may.
   * @throws OperatingError (as a rejection) not-leader, transfer-refused, transfer-failed
   */
  async transfer(to: NodeId | null): Promise<NodeId> {
    return this.#handOver.transfer(to);
  }

  /**
   * Leaves the stage: hands over if it leads, lets go of the VIP in any case, goes on voting until
   * a new leader is heard (1 s at most), and closes the log.
   */
  async stop(): Promise<void> {
    if (this.#state === 'running' && this.#lease.role === 'leader') {
      await this.#handOver.leave();
    }
    if (this.#state === 'running') this.#close();
    await this.#ports.storage.close();
  }

  /** Whether this node may hold a VIP; told to the leader with each echo. */
  setEligibility(eligibility: Eligibility): void {
    this.#eligibility = eligibility;
    this.#run(() => {
      this.#raw.setEligibility(this.eligibility());
      // A leader that cannot hold the VIP any more hands it over at once (rule R8).
      if (this.#lease.role === 'leader' && !eligibility.eligible) this.#doChores();
    });
  }

  /** As {@link setEligibility} was told, unless the disk speaks against it (rule R13). */
  eligibility(): Eligibility {
    const { trouble } = this.#disk;
    return trouble === null ? this.#eligibility : withTrouble(trouble);
  }

  /** Why this node cannot write its log now, in words for a person; null where it can. */
  diskTrouble(): string | null {
    return this.#disk.trouble;
  }

  /** The transport lost a connection to `id`, or could not deliver appends to it. */
  reportUnreachable(id: NodeId): void {
    this.#run(() => this.#raw.reportUnreachable(this.#ports.clock.now(), id));
  }

  /** The transport delivered a snapshot to `id`, or failed to. */
  reportSnapshot(id: NodeId, ok: boolean): void {
    this.#run(() => this.#raw.reportSnapshot(id, ok));
  }

  /** What is known now; cheap enough to be asked at every renewal of the lease. */
  view(): ClusterView {
    return viewOf({
      selfId: this.#selfId,
      lease: this.#lease,
      machine: this.#machine,
      leaderHeardAt: this.#leaderHeardAt,
      promiseMs: this.#timing.timing.promiseMs,
      now: this.#ports.clock.now(),
    });
  }

  /** Raft's own account of itself; its peers are known to the leader only. */
  raftStatus(): RaftStatus {
    return this.#raw.status(this.#ports.clock.now());
  }

  /**
   * The replicated state up to the newest entry applied here, fit for a snapshot.
   *
   * @throws OperatingError `nothing-known`: a joiner that the leader has not reached yet
   */
  savedState(): SavedSnapshot {
    return this.#machine.saved();
  }

  /** The timing in force, and why. */
  timing(): TimingView {
    return this.#timing.view();
  }

  /** Whether it takes part: started, and neither stopped nor failed. */
  isRunning(): boolean {
    return this.#state === 'running';
  }

  /** Commands that were proposed through this node since it started. */
  proposalsMade(): number {
    return this.#proposals.made;
  }

  /** How long ago the quorum (as leader) or the leader last vouched for what this node shows. */
  viewAgeMs(): Millis {
    const now = this.#ports.clock.now();
    const { role, deadline } = this.#lease;
    const { promiseMs } = this.#timing.timing;
    const vouchedAt = role === 'leader' ? deadline - leaseMs(promiseMs) : this.#leaderHeardAt;
    return now - Math.max(vouchedAt, this.#startedAt);
  }

  /** How often leadership changed, as far as this node saw since it started. */
  leaderChanges(): number {
    return this.#transitions.leaderChanges();
  }

  /** The newest changes of leader that this node saw, newest first. */
  transitions(): readonly Transition[] {
    return this.#transitions.list();
  }

  /** Calls back after each change of the view other than of its times; returns how to stop that. */
  onView(listener: (view: ClusterView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #notLeader(): OperatingError {
    return notLeader(this.#machine.state, this.#lease.leader);
  }

  /** Runs one input through the core and does what follows; every way into the node goes here. */
  #run(input: () => void): void {
    if (this.#state !== 'running') return;
    try {
      input();
      this.#process();
    } catch (error) {
      this.#fail(error);
    }
  }

  #process(): void {
    // A call that comes back in from a port leaves its work to the loop that is under way.
    if (this.#processing) return;
    this.#processing = true;
    try {
      do {
        if (this.#underWay.appends() < maxAppendsUnderWay) this.#proposals.offer(this.#raw);
        this.#reads.offer((context) => this.#raw.readIndex(context));
        while (this.#raw.hasReady()) this.#handle(this.#raw.ready(this.#ports.clock.now()));
        this.#publish();
      } while (this.#raw.hasReady() && this.#state === 'running');
    } finally {
      this.#processing = false;
    }
    if (this.#state === 'running') this.#timer.arm(this.#raw.nextDeadline());
  }

  #handle(ready: Ready): void {
    const { clock, sink, storage, transport } = this.#ports;
    this.#retimed(this.#timingWatch.proof(this.#raw.provenAt, clock.now()));
    this.#lease = ready.lease;
    sink.update(ready.lease);
    // The sink has let go, and the kernel has said so: now everybody may know.
    if (ready.lease.wantsRelease) this.#raw.releaseLease(clock.now());

    const writes =
      ready.hard !== undefined || ready.entries.length > 0 || ready.snapshot !== undefined;
    const outstanding: Outstanding = {
      appends: ready.entries.length > 0,
      afterAppend: ready.afterAppend,
      snapshot: ready.snapshot,
      since: clock.now(),
      repeats: 0,
      durable: !writes,
    };
    this.#underWay.add(outstanding);
    if (writes) {
      storage.append(ready, ready.mustSync).then(
        () => {
          outstanding.durable = true;
          this.#run(() => this.#settle());
        },
        (error: unknown) => this.#fail(error),
      );
    }
    for (const message of ready.messages) transport.send(message);
    this.#settle();
    const before = this.#machine.state;
    for (const entry of ready.committed) this.#apply(entry);
    if (this.#machine.state !== before) this.#stateChanged();
    this.#reads.confirmed(ready.readStates, ready.failedReads);
    this.#reads.applied(this.#machine.appliedIndex);
  }

  #retimed(changed: boolean): void {
    if (!changed) return;
    const { name, timing, reason } = this.#timing.view();
    this.#raw.setTiming(timing);
    this.#ports.log.info('node.timing', { timing: name, promiseMs: timing.promiseMs, reason });
  }

  /** Takes the Readys that are durable, oldest first, one step further. */
  #settle(): void {
    const { clock, transport } = this.#ports;
    for (let next = this.#underWay.take(); next !== null; next = this.#underWay.take()) {
      if (next.snapshot !== undefined) this.#restore(next.snapshot);
      for (const message of next.afterAppend) transport.send(message);
      for (let each = 0; each <= next.repeats; each++) this.#raw.advance(clock.now());
    }
  }

  #restore(snapshot: Snapshot): void {
    this.#machine.restore(snapshot);
    this.#compaction.restart();
    this.#proposals.skippedTo(snapshot.meta.index);
    this.#stateChanged();
    this.#ports.onApplied?.(this.#machine.appliedIndex, this.#machine.state);
    this.#ports.log.info('node.restored', { index: snapshot.meta.index });
  }

  #apply(entry: Entry): void {
    const { clock, log, storage } = this.#ports;
    const result = this.#machine.apply(entry, {
      applyConfChange: (change) => this.#raw.applyConfChange(clock.now(), change),
      rejectConfChange: () => this.#raw.rejectConfChange(),
    });
    this.#ports.onApplied?.(entry.index, this.#machine.state);
    this.#proposals.applied(entry.index, entry.term, result);
    const snapshot = this.#compaction.applied(entry, this.#machine.config, this.#machine.state);
    if (snapshot === null) return;
    log.info('node.compacted', { index: snapshot.meta.index, bytes: snapshot.data.length });
    storage.compact(snapshot).catch((error: unknown) => this.#fail(error));
  }

  /** Makes Raft and the transport follow the new state. */
  #stateChanged(): void {
    const { state } = this.#machine;
    this.#timing.setSpec(state.spec.timing);
    this.#raw.setTiming(this.#timing.timing);
    const self = memberById(state, this.#selfId);
    this.#raw.setPriority(self?.priority ?? 0);
    this.#peers.set(state);
  }

  #publish(): void {
    const view = this.view();
    this.#watches.check(view);
    if (sameView(view, this.#published)) return;
    const before = this.#published;
    this.#published = view;
    this.#transitions.saw(view);
    this.#chores.saw(view.leader, view.term, view.atMs);
    const { role, term, leader } = view;
    if (role !== before.role || term !== before.term || leader !== before.leader) {
      this.#ports.log.info('node.role', { role, term, leader });
    }
    for (const listener of this.#listeners) listener(view);
    // Who may not hold the VIP leads only to hand the log on, as soon as it may.
    const begun = view.ownTermApplied && !before.ownTermApplied;
    if (begun && !this.#eligibility.eligible) this.#doChores();
  }

  #onLate(): void {
    // Check first, act later (rule R10): a lease may have run out while the loop stood still.
    this.#run(() => this.#ports.sink.update(this.#lease));
  }

  #slowTick(): void {
    if (this.#state !== 'running') return;
    this.#slowTimer = this.#ports.clock.after(slowTickMs, () => this.#slowTick());
    this.#run(() => {
      const { state } = this.#machine;
      this.#peers.set(state);
      this.#lookAtDisk();
      if (this.#lease.role !== 'leader' || this.#disk.isNews(this.#ports.clock.now())) return;
      this.#doChores();
    });
  }

  #doChores(): void {
    const { state } = this.#machine;
    this.#chores.look(this.raftStatus(), state, this.eligibility(), this.#ports.clock.now());
  }

  /**
   * Rule R13: a node that cannot write is no place for the VIP where there is a better one. It goes
   * on answering heartbeats, and as leader sending them, which needs no disk.
   */
  #lookAtDisk(): void {
    const { clock, log, storage } = this.#ports;
    const oldestAt = this.#underWay.oldestAt();
    if (!this.#disk.changes(clock.now(), storage.isFull(), oldestAt)) return;
    const { trouble } = this.#disk;
    if (trouble === null) log.info('node.disk-well');
    else log.warn('node.disk-trouble', { why: trouble });
    this.#raw.setEligibility(this.eligibility());
  }

  /** The last that a leader does whom nobody succeeds: the VIP goes, and everybody is told so. */
  #letGo(): void {
    const { clock, sink } = this.#ports;
    this.#run(() => {
      this.#raw.setEligibility({ eligible: false, reason: 'the agent is stopping' });
      // The view must say the same: whoever asks it meanwhile would claim the VIP anew.
      this.#lease = { ...this.#lease, deadline: 0, wantsRelease: true };
      sink.update(this.#lease);
      this.#raw.releaseLease(clock.now());
    });
  }

  #fail(error: unknown): void {
    if (this.#state === 'stopped') return;
    this.#close();
    this.#ports.log.error('node.failed', { why: describeError(error) });
    this.#ports.onFatal(error);
  }

  #close(): void {
    this.#state = 'stopped';
    this.#timer.close();
    this.#slowTimer?.cancel();
    this.#proposals.stop();
    this.#reads.stop();
    this.#watches.stop();
  }
}
