/**
 * One run of one seed: build the world, let it go wrong for a while, heal it, and ask whether what
 * must come back comes back. Safety is checked throughout, liveness only after the healing.
 */
import { defined } from '../../src/base/assert.ts';
import type { Millis } from '../../src/base/clock.ts';
import type { RaftConfig } from '../../src/raft/config.ts';
import type { NodeId } from '../../src/raft/types.ts';
import { firstSnapshot, joinerLog, NodeBrain } from './brain.ts';
import { HistoryChecker } from './checkers/history.ts';
import { RaftChecker } from './checkers/raft.ts';
import { VipChecker } from './checkers/vip.ts';
import { type DrillResult, drill } from './drills.ts';
import { Faults } from './faults.ts';
import { newestLeader, SimHost } from './host.ts';
import { VIP } from './kernel.ts';
import { Lan } from './lan.ts';
import { LogImage } from './log-image.ts';
import { SimNet } from './net.ts';
import { conditionsOf, describeOptions, type Mode, type Options, optionsOf } from './options.ts';
import { recover } from './recovery.ts';
import { Trace } from './trace.ts';
import { Workload } from './workload.ts';
import { type Failure, World } from './world.ts';

/** Hosts beyond the seed's nodes, which may join later. */
const SPARES = 3;
/**
 * A healed cluster must be whole again after this: the longest sleep, promise and delay together.
 */
const RECOVERY_MS = 15_000;
/** A run has at least so many events: quiet worlds go on until then, though not for ever. */
const LEAST_EVENTS = 3_000;
const LONGEST_FAULTY_MS = 300_000;
/** After this a person sees that the quorum is lost for good, where hosts were. */
const PATIENCE_MS = 6_000;
/** What was asked for before the healing may still change things for this long. */
const SETTLE_MS = 1_000;
/** And then nothing may change for this long. */
const QUIET_MS = 2_500;

export interface Outcome {
  readonly seed: number;
  readonly failure: Failure | null;
  readonly hash: string;
  readonly events: number;
  readonly tenures: number;
  readonly committed: number;
  /** True time, ms. */
  readonly lasted: Millis;
  /** From the healing until the cluster was whole again; null if it was not. */
  readonly recoveredMs: Millis | null;
  readonly drill: DrillResult | null;
  readonly mode: Mode;
  /** Rules that broke outside of what is promised. */
  readonly excused: readonly string[];
  /** What took effect of all that may. */
  readonly exercised: readonly string[];
  readonly options: string;
  readonly tail: readonly string[];
}

/**
 * @param trace gets every line; by default only the tail is kept.
 * @param steps ends the run, without a verdict on liveness, after so many events.
 * @param wallClocks `true`: nobody sets them, which must change nothing.
 * @param onState gets what every core does; it changes nothing of the run.
 */
export async function simulate(
  seed: number,
  trace: Trace = new Trace(),
  steps: number = Number.POSITIVE_INFINITY,
  wallClocks: 'jump' | 'true' = 'jump',
  onState?: RaftConfig['trace'],
): Promise<Outcome> {
  const world = new World(seed, trace);
  const options = { ...optionsOf(world), wallClocks };
  for (const condition of conditionsOf(options)) world.exercise(condition);
  world.note('WORLD', `seed ${seed}: ${describeOptions(options)}`);
  const run = new Run(world, options, onState);
  await run.faultyPhase(steps);
  if (!world.isOver && world.events < steps) await run.healedPhase();
  return run.outcome();
}

class Run {
  readonly #world: World;
  readonly #options: Options;
  readonly #net: SimNet;
  readonly #lan: Lan;
  readonly #hosts: readonly SimHost[];
  readonly #raft: RaftChecker;
  readonly #vip: VipChecker;
  readonly #history: HistoryChecker;
  readonly #workload: Workload;
  readonly #faults: Faults;
  #recoveredMs: Millis | null = null;
  #wentOnAlone = false;
  #drill: DrillResult | null = null;

  constructor(world: World, options: Options, onState: RaftConfig['trace']) {
    this.#world = world;
    this.#options = options;
    this.#net = new SimNet(world, options.net);
    this.#lan = new Lan(world, VIP);
    this.#history = new HistoryChecker(world);
    const numbers = Array.from({ length: options.nodes + SPARES }, (_, at) => at + 1);
    const formed = options.start === 'formed' ? options.nodes : 1;
    const first = numbers.slice(0, formed).map((number) => `n${number}`);
    const byId = new Map<NodeId, SimHost>();
    this.#hosts = numbers.map(
      (number) =>
        new SimHost({
          world,
          options,
          net: this.#net,
          lan: this.#lan,
          number,
          log: number <= formed ? new LogImage(firstSnapshot(first, options)) : null,
          boot: (around) => new NodeBrain(around, options),
          admitted: (id, members) => byId.get(id)?.provision(new LogImage(joinerLog(members))),
          trace: onState,
          answered: (request, answer) => this.#workload.answered(request, answer),
        }),
    );
    for (const host of this.#hosts) byId.set(host.id, host);
    this.#raft = new RaftChecker(world, byId, (entry) => this.#history.committed(entry));
    this.#lan.inhabitedBy(this.#hosts);
    this.#raft.foundedOn(firstSnapshot(first, options).meta);
    this.#vip = new VipChecker(world, this.#hosts, [VIP]);
    for (const host of this.#hosts) host.watchedBy({ raft: this.#raft, vip: this.#vip });
    this.#net.onDelivery((message) => byId.get(message.to)?.deliver(message));
    this.#net.onSnapshotResult(({ from, to }, ok) =>
      byId.get(from)?.inProcess((brain) => brain.snapshotResult(to, ok)),
    );
    this.#workload = new Workload({
      world,
      options,
      hosts: this.#hosts,
      history: this.#history,
    });
    this.#faults = new Faults({
      world,
      options,
      net: this.#net,
      lan: this.#lan,
      hosts: this.#hosts,
      workload: this.#workload,
      vip: VIP,
      recover: (survivor) => this.#recover(survivor),
    });
  }

  async faultyPhase(steps: number): Promise<void> {
    const { nodes, start, faultyMs } = this.#options;
    for (const host of this.#hosts) host.start();
    if (start === 'grown') {
      for (const host of this.#hosts.slice(1, nodes)) this.#workload.admit(host.id);
    }
    this.#workload.begin();
    this.#faults.begin();
    const goOn = (until: Millis, events: number): Promise<void> =>
      this.#world.run(
        until,
        () => undefined,
        () => this.#world.events >= Math.min(events, steps),
      );
    await goOn(faultyMs, steps);
    if (!this.#world.isOver) await goOn(LONGEST_FAULTY_MS, LEAST_EVENTS);
  }

  async healedPhase(): Promise<void> {
    const healedAt = this.#world.now;
    this.#faults.heal();
    this.#workload.end();
    const committed = this.#raft.committedIndex;
    let settled: number | null = null;
    const isWhole = (): boolean =>
      settled !== null &&
      this.#workload.isAcknowledgedSince(settled) &&
      this.#raft.committedIndex > committed &&
      this.#whatLacks() === null &&
      !this.#isUnderWay();
    let whole = false;
    while (!whole && !this.#world.isOver) {
      if (this.#world.now > healedAt + RECOVERY_MS) {
        this.#world.fail('recovery', this.#whatLacks() ?? 'nothing is committed any more');
        return;
      }
      if (this.#world.now > healedAt + SETTLE_MS) settled ??= this.#workload.mark();
      this.#workload.write();
      this.#tidyUp();
      if (this.#world.now > healedAt + PATIENCE_MS) this.#goOnAlone();
      await this.#world.run(this.#world.now + 200, () => undefined, isWhole);
      whole = isWhole();
    }
    this.#recoveredMs = this.#world.now - healedAt;
    await this.#quietPhase();
    if (this.#world.isOver) return;
    this.#drill = await drill({ world: this.#world, net: this.#net, hosts: this.#hosts, vip: VIP });
  }

  /**
   * Whoever was admitted without hearing of it asks again, lost members are removed, drained ones
   * let in.
   */
  #tidyUp(): void {
    const leader = newestLeader(this.#hosts);
    const config = leader?.config();
    if (config === undefined || config === null) return;
    for (const { id, isProvisioned, isScrapped } of this.#hosts) {
      if (isScrapped) {
        const isMember = [...config.voters, ...config.learners].includes(id);
        if (isMember) this.#workload.ask({ type: 'remove', id });
      } else if (!isProvisioned && config.learners.includes(id)) {
        this.#workload.ask({ type: 'add', id });
      }
    }
    for (const { id, draining } of leader?.state()?.members ?? []) {
      if (draining) this.#workload.ask({ type: 'drain', id, draining: false });
    }
  }

  #recover(survivor: SimHost): boolean {
    const parts = { world: this.#world, hosts: this.#hosts };
    return recover({ ...parts, history: this.#history, vip: this.#vip }, survivor);
  }

  /** Where hosts were lost and the rest elects nobody, a person chooses the fullest log. */
  #goOnAlone(): void {
    if (this.#wentOnAlone || !this.#hosts.some((host) => host.isScrapped)) return;
    if (this.#hosts.some((host) => host.leads)) return;
    this.#wentOnAlone = true;
    const left = this.#hosts.filter((host) => host.isProvisioned && !host.isScrapped);
    const position = ({ platters }: SimHost): number => {
      const index = platters.lastIndex();
      return (platters.term(index) ?? 0) * 1e6 + index;
    };
    const fullestFirst = left.toSorted((one, other) => position(other) - position(one));
    fullestFirst.some((host) => this.#recover(host));
  }

  outcome(): Outcome {
    const { seed, failure, trace, events, now, excused, exercised } = this.#world;
    return {
      seed,
      failure,
      hash: trace.hash,
      events,
      tenures: this.#vip.tenures,
      committed: this.#raft.committedIndex,
      lasted: now,
      recoveredMs: this.#recoveredMs,
      drill: this.#drill,
      mode: this.#options.mode,
      excused,
      exercised,
      options: describeOptions(this.#options),
      tail: trace.tail,
    };
  }

  /** A whole cluster stays as it is: nobody else leads, no term passes, the VIP stays. */
  async #quietPhase(): Promise<void> {
    const leader = defined(
      this.#hosts.find((host) => host.leads),
      'the leader',
    );
    const term = leader.lease?.term;
    this.#world.note('WORLD', `whole again under ${leader.id}`);
    await this.#world.run(this.#world.now + QUIET_MS, () => {
      if (leader.lease?.role !== 'leader' || leader.lease.term !== term) {
        this.#world.fail('stability', `${leader.id} lost term ${term} in a healthy cluster`);
      } else if (!leader.answers(VIP)) {
        this.#world.fail('stability', `${leader.id} dropped the VIP in a healthy cluster`);
      }
    });
    const lack = this.#world.isOver ? null : this.#whatLacks();
    if (lack !== null) this.#world.fail('stability', lack);
  }

  /** What was asked for in the faults and is still on its way may be the leader's own removal. */
  #isUnderWay(): boolean {
    const leader = newestLeader(this.#hosts);
    return leader !== undefined && leader.platters.lastIndex() > this.#raft.committedIndex;
  }

  /** What a healthy cluster has and this one has not, or null. */
  #whatLacks(): string | null {
    const stopping = this.#hosts.find((host) => host.isStopping);
    if (stopping !== undefined) return `${stopping.id} is still stopping`;
    const leaders = this.#hosts.filter((host) => host.leads);
    const [leader] = leaders;
    if (leader === undefined) return 'nobody leads';
    if (leaders.length > 1) return `${leaders.map((host) => host.id).join(' and ')} lead`;
    const preferred = leader.preferred();
    if (preferred !== null) return `${preferred} is preferred to ${leader.id}`;
    if (!leader.answers(VIP)) return `${leader.id} leads without the VIP`;
    if (this.#lan.neighbourCache !== leader.id) return 'the neighbours look elsewhere for the VIP';
    const config = leader.config();
    if (config === null) return 'the leader has no configuration';
    if (config.votersOutgoing.length > 0) return 'a joint configuration stays';
    for (const id of [...config.voters, ...config.learners]) {
      const host = this.#hosts.find((each) => each.id === id);
      if (host === undefined || host.applied < this.#raft.committedIndex) {
        return `${id} applied ${host?.applied}, ${this.#raft.committedIndex} is committed`;
      }
    }
    return null;
  }
}
