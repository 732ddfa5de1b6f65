/**
 * A few cores in one thread: virtual time, a delay for each message and each disk write, links that
 * can be cut one way. It checks after every event what must hold at every instant: one leader a
 * term, one live lease, and the same entry applied at the same index everywhere.
 */
import { assert, defined } from '../../src/base/assert.ts';
import type { Message } from '../../src/raft/message.ts';
import {
  type RaftConfig,
  type RaftStatus,
  RawNode,
  type ReadState,
  type Ready,
} from '../../src/raft/rawnode.ts';
import type {
  ConfChange,
  Entry,
  Index,
  LeaseView,
  MemberConfig,
  Millis,
  NodeId,
  Term,
  Timing,
} from '../../src/raft/types.ts';
import { MemoryLog } from './storage.ts';

export const lan: Timing = { heartbeatMs: 30, promiseMs: 230, jitterMs: 60 };

/** A small reproducible source of draws (mulberry32). */
export function draws(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function configFor(id: NodeId, overrides: Partial<RaftConfig> = {}): RaftConfig {
  return {
    id,
    timing: lan,
    clockDrift: 0.01,
    maxMessageBytes: 4_096,
    maxInflightMessages: 16,
    maxInflightBytes: 65_536,
    maxUncommittedBytes: 65_536,
    priority: 0,
    rng: draws([...id].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7)),
    ...overrides,
  };
}

export function encodeChange(change: ConfChange): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(change));
}

export function decodeChange(data: Uint8Array): ConfChange {
  if (data.length === 0) return { mode: 'leave', changes: [] };
  return JSON.parse(new TextDecoder().decode(data));
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}

/** A core with its disk and its state machine, which only remembers what it was given. */
export class TestNode {
  readonly id: NodeId;
  readonly disk: MemoryLog;
  raft: RawNode;
  up = true;
  /** Its clock runs this much faster than the world's. */
  rate = 1;
  /** Stopped until then, as by SIGSTOP: messages and writes wait. */
  pausedUntil: Millis = 0;
  lease: LeaseView;
  /** Every entry applied by this incarnation, by index. */
  applied: Entry[] = [];
  reads: ReadState[] = [];
  failedReads: number[] = [];
  /** Bumped by each restart, so that what was under way before is dropped. */
  incarnation = 0;
  readonly config: RaftConfig;

  /** How many of `applied` were compared with the other nodes. */
  checked = 0;

  constructor(config: RaftConfig, disk: MemoryLog, now: Millis) {
    this.id = config.id;
    this.config = config;
    this.disk = disk;
    this.raft = new RawNode(config, disk, now);
    this.lease = this.#idle();
  }

  /** Its own clock at the world's `now`. */
  clock(now: Millis): Millis {
    return now * this.rate;
  }

  status(now: Millis): RaftStatus {
    return this.raft.status(this.clock(now));
  }

  /** When it next wants to be woken, in the world's time. */
  wakeAt(): Millis {
    return Math.max(this.raft.nextDeadline() / this.rate, this.pausedUntil);
  }

  restart(now: Millis): void {
    this.incarnation += 1;
    this.up = true;
    this.applied = [];
    this.checked = 0;
    this.pausedUntil = 0;
    this.raft = new RawNode(this.config, this.disk, this.clock(now));
    this.lease = this.#idle();
  }

  apply(now: Millis, entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.applied.push(entry);
      if (entry.type !== 'conf-change') continue;
      this.raft.applyConfChange(this.clock(now), decodeChange(entry.data));
    }
  }

  payloads(): string[] {
    return this.applied
      .filter((entry) => entry.type === 'normal' && entry.data.length > 0)
      .map((entry) => text(entry.data));
  }

  #idle(): LeaseView {
    return {
      role: 'follower',
      term: 0,
      leader: null,
      deadline: 0,
      claimNotBefore: 0,
      ownTermCommitted: false,
      released: false,
      wantsRelease: false,
    };
  }
}

export interface NetworkOptions {
  /** One way; a function is asked for each message. */
  readonly latencyMs?: Millis | (() => Millis);
  /** How long a write takes; may grow, but a later write never overtakes an earlier one. */
  readonly diskMs?: Millis | ((id: NodeId) => Millis);
  readonly configs?: (id: NodeId) => Partial<RaftConfig>;
  /** Let the owner of the VIP let go as soon as it is asked (default). */
  readonly autoRelease?: boolean;
}

interface Event {
  readonly at: Millis;
  readonly order: number;
  readonly run: () => void;
}

export class Network {
  readonly nodes = new Map<NodeId, TestNode>();
  /** Called for each message about to be sent; false loses it. */
  filter: (m: Message) => boolean = () => true;
  readonly sent: Message[] = [];
  now: Millis = 1_000;
  readonly #options: Required<NetworkOptions>;
  readonly #cuts = new Set<string>();
  /** Who led each term. */
  readonly leaders = new Map<Term, NodeId>();
  readonly #truth = new Map<Index, Entry>();
  #events: Event[] = [];
  #order = 0;

  constructor(options: NetworkOptions = {}) {
    this.#options = {
      latencyMs: 1,
      diskMs: 1,
      configs: () => ({}),
      autoRelease: true,
      ...options,
    };
  }

  /** Nodes that all know the same voters from the start. */
  static ofVoters(ids: readonly NodeId[], options: NetworkOptions = {}): Network {
    const network = new Network(options);
    for (const id of ids) network.add(id, MemoryLog.booted({ voters: [...ids] }));
    return network;
  }

  add(id: NodeId, disk: MemoryLog): TestNode {
    const node = new TestNode(configFor(id, this.#options.configs(id)), disk, this.now);
    this.nodes.set(id, node);
    return node;
  }

  node(id: NodeId): TestNode {
    return defined(this.nodes.get(id), `node ${id}`);
  }

  // Faults.

  /** Loses everything from `from` to `to`. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Cuts `id` off from everybody, both ways. */
  isolate(id: NodeId): void {
    for (const other of this.nodes.keys()) {
      if (other === id) continue;
      this.cut(id, other);
      this.cut(other, id);
    }
  }

  heal(): void {
    this.#cuts.clear();
    this.filter = () => true;
  }

  crash(id: NodeId): void {
    this.node(id).up = false;
  }

  restart(id: NodeId): void {
    this.node(id).restart(this.now);
  }

  // Time.

  /** Lets `ms` pass, event by event. */
  run(ms: Millis): void {
    const end = this.now + ms;
    this.#settle();
    for (;;) {
      const at = this.#nextAt();
      if (at > end) break;
      this.now = Math.max(this.now, at);
      this.#runDue();
      for (const node of this.#up()) {
        if (node.wakeAt() <= this.now) this.#wake(node);
      }
      this.#settle();
    }
    this.now = end;
  }

  /** Lets time pass until `done`, for at most `ms`; how long it took. */
  runUntil(done: () => boolean, ms: Millis = 10_000): Millis {
    const start = this.now;
    while (!done()) {
      assert(this.now - start < ms, `not reached within ${ms} ms`);
      this.run(1);
    }
    return this.now - start;
  }

  /** Elects somebody and lets everything settle; who leads. */
  elect(): TestNode {
    this.runUntil(() => this.holder() !== undefined);
    return defined(this.holder(), 'a leader with a lease');
  }

  /** Floating point may leave a deadline a hair ahead of the clock that it was read from. */
  #wake(node: TestNode): void {
    const due = node.raft.nextDeadline();
    const now = node.clock(this.now);
    node.raft.tick(due < now + 0.01 ? Math.max(due, now) : now);
  }

  // Views.

  /** The node in role leader with the newest term. */
  leader(): TestNode | undefined {
    const leaders = this.#up().filter((node) => node.status(this.now).role === 'leader');
    return leaders.sort((a, b) => b.status(this.now).term - a.status(this.now).term)[0];
  }

  /** Who may hold the VIP now (R4 to R7, with no margin). */
  holder(): TestNode | undefined {
    return this.holders()[0];
  }

  holders(): TestNode[] {
    return this.#up().filter((node) => this.#holds(node));
  }

  #holds(node: TestNode): boolean {
    return node.lease.deadline > node.clock(this.now) && !node.lease.released;
  }

  propose(payload: string): void {
    const result = defined(this.leader(), 'a leader').raft.propose(bytes(payload));
    assert(result.ok, `refused: ${JSON.stringify(result)}`);
  }

  changeConfig(change: ConfChange): void {
    const { raft } = defined(this.leader(), 'a leader');
    const result = raft.proposeConfChange(change, encodeChange(change));
    assert(result.ok, `refused: ${JSON.stringify(result)}`);
  }

  /** As `propose`, where a refusal is fine. */
  tryPropose(payload: string): boolean {
    const leader = this.leader();
    if (leader === undefined || leader.pausedUntil > this.now) return false;
    return leader.raft.propose(bytes(payload)).ok;
  }

  tryChange(change: ConfChange): boolean {
    const leader = this.leader();
    if (leader === undefined || leader.pausedUntil > this.now) return false;
    return leader.raft.proposeConfChange(change, encodeChange(change)).ok;
  }

  /** Makes a snapshot of everything that `id` has applied. */
  compact(id: NodeId): void {
    const node = this.node(id);
    const last = node.applied.at(-1);
    if (last === undefined || last.index <= node.disk.snapshot().meta.index) return;
    node.disk.compact(last.index, node.status(this.now).config);
  }

  configOf(id: NodeId): MemberConfig {
    return this.node(id).status(this.now).config;
  }

  #up(): TestNode[] {
    return [...this.nodes.values()].filter((node) => node.up);
  }

  #nextAt(): Millis {
    let at = this.#events[0]?.at ?? Number.POSITIVE_INFINITY;
    for (const node of this.#up()) at = Math.min(at, node.wakeAt());
    return at;
  }

  #runDue(): void {
    while (this.#events.length > 0 && defined(this.#events[0], 'event').at <= this.now) {
      defined(this.#events.shift(), 'event').run();
      this.#settle();
    }
  }

  #at(delay: Millis, run: () => void): void {
    this.#order += 1;
    this.#events.push({ at: this.now + delay, order: this.#order, run });
    this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
  }

  #settle(): void {
    for (const node of this.#up()) {
      if (node.pausedUntil > this.now) continue;
      while (node.raft.hasReady()) this.#process(node, node.raft.ready(node.clock(this.now)));
    }
    this.#check();
  }

  /** The driver's order, with a disk that takes its time. */
  #process(node: TestNode, ready: Ready): void {
    node.lease = ready.lease;
    for (const m of ready.messages) this.#send(m);
    const { incarnation } = node;
    const durable = (): void => {
      if (!node.up || node.incarnation !== incarnation) return;
      if (node.pausedUntil > this.now) {
        this.#at(node.pausedUntil - this.now, durable);
        return;
      }
      node.disk.write(ready);
      for (const m of ready.afterAppend) this.#send(m);
      node.raft.advance(node.clock(this.now));
      node.apply(this.now, ready.committed);
    };
    // A batch without anything to write still waits for those before it.
    const { diskMs } = this.#options;
    this.#at(typeof diskMs === 'number' ? diskMs : diskMs(node.id), durable);
    node.reads.push(...ready.readStates);
    node.failedReads.push(...ready.failedReads);
    for (const m of ready.messages) {
      if (m.type === 'snapshot') {
        this.#at(5, () => node.up && node.raft.reportSnapshot(m.to, !this.#isCut(m)));
      }
    }
    if (ready.lease.wantsRelease && this.#options.autoRelease) {
      this.#at(1, () => node.up && node.raft.releaseLease(node.clock(this.now)));
    }
  }

  #isCut(m: Message): boolean {
    return this.#cuts.has(`${m.from}>${m.to}`);
  }

  #send(m: Message): void {
    this.sent.push(m);
    if (this.#isCut(m) || !this.filter(m)) return;
    const { latencyMs } = this.#options;
    const arrive = (): void => {
      const to = this.nodes.get(m.to);
      if (to === undefined || !to.up) return;
      if (to.pausedUntil > this.now) this.#at(to.pausedUntil - this.now, arrive);
      else to.raft.step(to.clock(this.now), m);
    };
    this.#at(typeof latencyMs === 'number' ? latencyMs : latencyMs(), arrive);
  }

  #check(): void {
    for (const node of this.#up()) {
      const { role, term, commit, applied, lastIndex } = node.status(this.now);
      assert(applied <= commit && commit <= lastIndex, 'applied <= commit <= last');
      if (role === 'leader') {
        const known = this.leaders.get(term) ?? node.id;
        assert(known === node.id, `${known} and ${node.id} both led term ${term}`);
        this.leaders.set(term, node.id);
      }
      for (const entry of node.applied.slice(node.checked)) {
        const truth = this.#truth.get(entry.index) ?? entry;
        assert(truth.term === entry.term, `entry ${entry.index} was applied with two terms`);
        assert(text(truth.data) === text(entry.data), `entry ${entry.index} has two payloads`);
        this.#truth.set(entry.index, entry);
      }
      node.checked = node.applied.length;
    }
    // A crashed or stopped node's kernel goes on answering until the lease runs out.
    const holders = [...this.nodes.values()].filter((node) => this.#holds(node));
    assert(holders.length <= 1, `two live leases: ${holders.map((node) => node.id).join(', ')}`);
  }
}
