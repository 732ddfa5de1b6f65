/**
 * One simulated host: what lasts (disk, kernel, clock while it has power) and the process that
 * comes and goes on it. Everything that the process does to the world is watched here for the
 * checkers.
 */
import { defined } from '../../src/base/assert.ts';
import type { Millis } from '../../src/base/clock.ts';
import { describeError, OperatingError } from '../../src/base/errors.ts';
import type { ClusterState } from '../../src/cluster/state.ts';
import type { Message } from '../../src/raft/message.ts';
import type { Index, LeaseView, MemberConfig, NodeId, Term, Timing } from '../../src/raft/types.ts';
import type { RaftChecker, Witnessed } from './checkers/raft.ts';
import type { VipChecker, VipHost } from './checkers/vip.ts';
import { DiskFailure, type DiskObserver, SimDisk } from './disk.ts';
import { HostClocks } from './host-clocks.ts';
import { KernelFailure, macOf, SimKernel } from './kernel.ts';
import { type KernelObserver, SimKernelPorts } from './kernel-ports.ts';
import type { Lan } from './lan.ts';
import { LogImage } from './log-image.ts';
import { MachinePause } from './machine-pause.ts';
import type { SimNet } from './net.ts';
import type { Options } from './options.ts';
import { SimProcess } from './process.ts';
import type { Brain, Surroundings } from './program.ts';
import type { World } from './world.ts';

/** How soon the service manager restarts an agent that ended itself. */
const RESTART_MS = 100;

export interface HostParts {
  readonly world: World;
  readonly options: Options;
  readonly net: SimNet;
  readonly lan: Lan;
  readonly number: number;
  /** What a member of the first hour starts from; null for a host that is to join. */
  readonly log: LogImage | null;
  readonly boot: (surroundings: Surroundings) => Brain;
  readonly admitted: Surroundings['admitted'];
  readonly answered: Surroundings['answered'];
  readonly trace: Surroundings['trace'];
}

export interface Checkers {
  readonly raft: RaftChecker;
  readonly vip: VipChecker;
}

export class SimHost implements Witnessed, VipHost, DiskObserver, KernelObserver {
  readonly id: NodeId;
  readonly kernel: SimKernel;
  readonly disk: SimDisk;
  readonly #parts: HostParts;
  readonly #world: World;
  #checkers: Checkers | null = null;
  readonly #clocks: HostClocks;
  readonly #machinePause = new MachinePause();
  #process: SimProcess | null = null;
  #ports: SimKernelPorts | null = null;
  #brain: Brain | null = null;
  #lease: LeaseView | null = null;
  readonly #guests = new Set<NodeId>();
  #powered = true;
  #stopping = false;
  #linkWish = true;
  #incarnation = 0;
  #hesitates: boolean;
  #provisioned: boolean;
  /** Broken or switched off for good. */
  #scrapped = false;

  constructor(parts: HostParts) {
    const { world, options, number } = parts;
    this.#parts = parts;
    this.#world = world;
    this.id = `n${number}`;
    this.#clocks = new HostClocks(world, world.random(`host ${this.id}`), options.drift);
    this.#hesitates = options.hesitateChance > 0;
    this.kernel = new SimKernel(macOf(this.id), `10.0.0.${10 + number}`, this.#clocks.newMono());
    this.disk = new SimDisk(
      world,
      world.random(`disk ${this.id}`),
      options.disk,
      this,
      parts.log ?? new LogImage(),
    );
    this.#provisioned = parts.log !== null;
  }

  watchedBy(checkers: Checkers): void {
    this.#checkers = checkers;
  }

  get isUp(): boolean {
    return this.#process !== null;
  }

  get isScrapped(): boolean {
    return this.#scrapped;
  }

  get isProvisioned(): boolean {
    return this.#provisioned;
  }

  get isStopping(): boolean {
    return this.#stopping;
  }

  get platters(): LogImage {
    return this.disk.platters;
  }

  get lease(): LeaseView | null {
    return this.#lease;
  }

  get leads(): boolean {
    return this.#lease?.role === 'leader';
  }

  /** How far the living process has applied the log. */
  get applied(): Index {
    return this.#brain?.applied ?? 0;
  }

  config(): MemberConfig | null {
    return this.#brain?.config() ?? null;
  }

  state(): ClusterState | null {
    return this.#brain?.state() ?? null;
  }

  /** A voter that would rather lead than this host, if there is one. */
  preferred(): NodeId | null {
    return this.#brain?.preferred() ?? null;
  }

  /** Of a living process. */
  timing(): Timing {
    return defined(this.#brain, `the program on ${this.id}`).timing();
  }

  isVoter(): boolean {
    const config = this.config();
    if (config === null) return false;
    return config.voters.includes(this.id) || config.votersOutgoing.includes(this.id);
  }

  answers(address: string): boolean {
    return this.kernel.answers(address, this.#world.now);
  }

  overlapTerm(): Term | null {
    return this.#machinePause.term(this.#world.now);
  }

  overlapIsOver(): void {
    this.#machinePause.isOver();
  }

  localNow(): Millis {
    return this.#clocks.raw.local(this.#world.now);
  }

  /** A joiner's first start; nothing on a host that has its log. */
  provision(log: LogImage): void {
    if (this.#provisioned) return;
    this.#provisioned = true;
    this.disk.format(log);
    this.start();
  }

  /** Powers the host on if need be, and starts the process. */
  start(): void {
    if (this.#process !== null || !this.#provisioned || this.#scrapped) return;
    if (!this.#powered) {
      this.#powered = true;
      this.#linkWish = true;
      this.#clocks.reboot();
      this.kernel.powerOn(this.#clocks.newMono());
    }
    this.#incarnation++;
    this.#world.note(this.id, `starts, incarnation ${this.#incarnation}`);
    this.#checkers?.raft.started(this);
    const process = this.#newProcess();
    const storage = this.disk.open(process);
    const kernel = new SimKernelPorts(this.kernel, process, this);
    this.#process = process;
    this.#ports = kernel;
    process.post('io', () => {
      this.#brain = this.#parts.boot({
        id: this.id,
        clock: process,
        storage,
        kernel,
        rng: this.#world.random(`rng ${this.id} ${this.#incarnation}`),
        send: (message) => this.#send(process, message),
        leaseIs: (lease) => this.#leaseIs(lease, storage.memory),
        applied: (index, hash) => this.#appliedIs(index, hash),
        admitted: this.#parts.admitted,
        // A client hears it when the process has got so far, not before.
        answered: (request, answer) => process.effect(() => this.#parts.answered(request, answer)),
        died: (error) => this.#died(error),
        note: (text) => this.#world.note(this.id, text),
        trace: this.#parts.trace,
      });
    });
  }

  /** SIGKILL: the kernel lives on. */
  kill(): void {
    if (this.#process === null || this.kernel.isFrozen(this.#world.now)) return;
    this.#world.note(this.id, 'killed');
    this.#forget();
    this.disk.processDied();
  }

  powerCut(): void {
    this.#world.note(this.id, 'loses power');
    this.#forget();
    this.disk.powerLost();
    this.#powered = false;
    this.kernel.powerOff();
    this.#machinePause.isOver();
    this.#checkers?.vip.look(null, null);
  }

  /** Without power for ever: nobody will see this host again. */
  scrap(): void {
    this.powerCut();
    this.#scrapped = true;
    this.#world.note(this.id, 'never comes back');
  }

  /** Puts an older image of the disk back; false if that would change nothing. */
  rollBackDisk(): boolean {
    if (!this.disk.rollBack()) return false;
    this.#world.note(this.id, 'its disk is set back');
    this.#checkers?.raft.rolledBack(this);
    return true;
  }

  /** Puts another log in the place of a stopped process's. */
  rewriteLog(log: LogImage): void {
    this.disk.rewrite(log);
    this.#checkers?.raft.began(this, log.snapshot().meta);
  }

  /**
   * The whole machine stands still, its clocks and its kernel's timers too; false if it cannot now.
   * When it goes on it believes its lease, and so may answer for what was left of it: at most L.
   */
  pauseMachine(ms: Millis): boolean {
    const process = this.#process;
    if (process === null || process.isAhead || this.#brain === null) return false;
    const { now } = this.#world;
    const until = now + ms;
    this.#world.note(this.id, `its whole machine stands still for ${ms.toFixed(0)} ms`);
    this.#clocks.raw.standStill(now, until);
    this.kernel.freeze(now, until);
    process.sleepUntil(until);
    this.#checkers?.vip.look(null, null);
    const { drift } = this.#parts.options;
    const over = this.#machinePause.begins(this.#lease?.term ?? 0, until, drift);
    for (const at of [until, over + 1e-3]) {
      this.#world.at(at, () => this.#checkers?.vip.look(null, null));
    }
    return true;
  }

  pause(ms: Millis): void {
    if (this.#process === null) return;
    this.#world.note(this.id, `paused for ${ms.toFixed(0)} ms`);
    this.#process.sleepUntil(this.#world.now + ms);
  }

  /** Stops as on SIGTERM; whoever waits for it to end may kill it meanwhile. */
  stop(stopped: () => void): void {
    const process = this.#process;
    const brain = this.#brain;
    if (process === null || brain === null) return;
    this.#world.note(this.id, 'is asked to stop');
    this.#stopping = true;
    process.post('io', () =>
      brain.stop(() => {
        if (this.#process !== process) return;
        this.#world.note(this.id, 'stopped');
        this.#forget();
        this.disk.processDied();
        stopped();
      }),
    );
  }

  deliver(message: Message): void {
    const process = this.#process;
    if (process === null) return;
    process.post('io', () => {
      const brain = this.#brain;
      if (brain === null || (this.#parts.options.pinnedPeers && brain.refuses(message.from)))
        return;
      this.#guests.add(message.from);
      brain.receive(message);
    });
  }

  /** Runs `act` as a turn of the living process. */
  inProcess(act: (brain: Brain) => void): void {
    this.#process?.post('io', () => {
      if (this.#brain !== null) act(this.#brain);
    });
  }

  /** The next write fails, and with it the process. */
  failDisk(): void {
    if (this.#process === null) return;
    this.#world.note(this.id, 'its next write fails');
    this.disk.failNext();
  }

  /** Other rates for its clocks, within their bounds or far beyond them. */
  changeRates(wild = false): void {
    if (this.#process?.isAhead === true) {
      // Its present lies in the world's future, and is not to be rewritten.
      if (!wild) this.#world.at(this.#process.time, () => this.changeRates());
      return;
    }
    this.kernel.setMonoRate(this.#world.now, this.#clocks.changeRate(wild));
    this.#world.note(this.id, `clock rate ${this.#clocks.raw.rate.toFixed(4)}`);
  }

  /** Somebody sets the wall clock: what counts on it is wrong. */
  jumpWallClock(ms: Millis): void {
    if (this.#parts.options.wallClocks === 'jump') this.#clocks.jumpWall(ms);
    this.#world.note(this.id, 'somebody sets the wall clock');
  }

  setLink(up: boolean): void {
    this.#linkWish = up;
    this.#applyLink();
  }

  /** Somebody else takes the VIP off the interface. */
  deleteAddress(address: string): boolean {
    if (this.#process?.isAhead === true || !this.kernel.state.addresses.has(address)) return false;
    this.#world.note(this.id, `somebody deletes ${address}`);
    this.kernel.state.remove(address);
    this.#checkers?.vip.look(null, null);
    this.#ports?.foreignChange((state) => state.remove(address));
    return true;
  }

  /** Somebody else removes the fence; false if there is none, or the process cannot see to it. */
  removeFence(): boolean {
    const ports = this.#ports;
    if (ports === null || this.#process?.isAhead !== false) return false;
    if (this.kernel.state.guarded === null) return false;
    this.#world.note(this.id, 'somebody removes the fence');
    this.kernel.unguard();
    ports.fenceRemoved();
    return true;
  }

  /** Calls to the kernel fail, or take `slowMs` at most, until true time `until`. */
  troubleKernel(what: 'netlink' | 'fence' | 'slow', until: Millis): void {
    this.#world.note(this.id, `${what} trouble until ${until.toFixed(0)}`);
    this.kernel.trouble(what, until);
  }

  /** Nobody disturbs the kernel any more. */
  healKernel(): void {
    for (const what of ['netlink', 'fence', 'slow'] as const) this.kernel.trouble(what, 0);
  }

  /** From now on no process of this host sleeps right before an effect. */
  calm(): void {
    this.#hesitates = false;
  }

  issuing(...[batch, before]: Parameters<DiskObserver['issuing']>): void {
    this.#checkers?.raft.issuing(this, batch, before);
  }

  issued(...[batch, after]: Parameters<DiskObserver['issued']>): void {
    this.#checkers?.raft.issued(this, batch, after);
  }

  stable(): void {
    this.#checkers?.raft.stable(this);
  }

  belief(): LeaseView | null {
    return this.#lease;
  }

  changed(what: string | null, belief: LeaseView | null): void {
    if (what !== null) this.#world.note(this.id, what);
    this.#checkers?.vip.look(this.id, belief);
  }

  announced(frame: Uint8Array): void {
    this.#parts.lan.announced(this.id, this.kernel, frame);
  }

  answersHeard(address: string): readonly string[] {
    return this.kernel.linkUp ? this.#parts.lan.answersFor(address, this.id) : [];
  }

  #applyLink(): void {
    const up = this.#linkWish;
    if (!this.#powered || this.kernel.linkUp === up) return;
    if (this.#process?.isAhead === true) {
      // What a process ahead of the world has seen of its kernel cannot be changed under it.
      this.#world.at(this.#process.time, () => this.#applyLink());
      return;
    }
    this.kernel.linkUp = up;
    this.#world.note(this.id, up ? 'link up' : 'link down');
    this.#checkers?.vip.look(null, null);
    this.#ports?.foreignChange(() => undefined);
  }

  /** A transport reaches the peers it was told of, and answers whoever spoke to it. */
  #canReach(peer: NodeId): boolean {
    if (!this.#parts.options.pinnedPeers) return true;
    return this.#brain?.knows(peer) === true || this.#guests.has(peer);
  }

  #send(process: SimProcess, message: Message): void {
    if (!this.#canReach(message.to)) return;
    if (message.type === 'heartbeat') this.#machinePause.asked(message.promiseMs);
    process.effect(() => {
      this.#checkers?.raft.sent(this, message);
      this.#parts.net.send(message);
    });
  }

  #leaseIs(lease: LeaseView, memory: LogImage): void {
    const before = this.#lease;
    this.#lease = lease;
    if (before?.role !== lease.role || before.term !== lease.term) {
      this.#world.note(this.id, `${lease.role} in term ${lease.term}, leader ${lease.leader}`);
    }
    this.#checkers?.raft.lease(this, lease, memory);
  }

  #died(error: unknown): void {
    if (isForeign(error)) {
      // Not the program's own fault; the service manager starts it again.
      this.#world.note(this.id, `ends itself: ${describeError(error)}`);
      this.kill();
      this.#world.after(RESTART_MS, () => this.start());
      return;
    }
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#world.fail('no-crash', `${this.id}: ${why}`);
  }

  #appliedIs(index: Index, hash: number): void {
    this.#checkers?.raft.applied(this, index, hash);
  }

  #forget(): void {
    this.#machinePause.processDied();
    this.#guests.clear();
    this.#stopping = false;
    this.#process?.kill();
    this.#process = null;
    this.#ports = null;
    this.#brain = null;
    this.#lease = null;
  }

  #newProcess(): SimProcess {
    const { options } = this.#parts;
    const random = this.#world.random(`process ${this.id} ${this.#incarnation}`);
    return new SimProcess({
      world: this.#world,
      name: this.id,
      clock: this.#clocks.raw,
      crashed: (error) => this.#died(error),
      hesitation: () => {
        if (!this.#hesitates || random() >= options.hesitateChance) return 0;
        return -Math.log(1 - random()) * options.hesitateMs;
      },
      wallOffset: () => this.#clocks.wallOffset,
      timerLateness: () => -Math.log(1 - random()) * 0.1,
    });
  }
}

/** An error of a disk or a kernel, and what the program says when one keeps it from letting go. */
function isForeign(error: unknown): boolean {
  if (error instanceof DiskFailure || error instanceof KernelFailure) return true;
  return error instanceof OperatingError && error.cause instanceof KernelFailure;
}

/** Whoever leads the newest term, if anybody leads; older leaders may not know yet. */
export function newestLeader(hosts: readonly SimHost[]): SimHost | undefined {
  let newest: SimHost | undefined;
  for (const host of hosts) {
    if (host.leads && (host.lease?.term ?? 0) > (newest?.lease?.term ?? 0)) newest = host;
  }
  return newest;
}
