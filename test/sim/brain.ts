/**
 * The program under test in one simulated process: the real cluster node and the real VIP
 * controller, joined by `assign()` as the agent joins them. It holds nothing that the agent has
 * not.
 */
import { unreachable } from '../../src/base/assert.ts';
import { describeError } from '../../src/base/errors.ts';
import { bootstrapSnapshot } from '../../src/cluster/bootstrap.ts';
import type { Command } from '../../src/cluster/command.ts';
import { Duties } from '../../src/cluster/duties.ts';
import { promoteMember, removeMember, setMember } from '../../src/cluster/member-changes.ts';
import { ClusterNode } from '../../src/cluster/node.ts';
import type { MemberSetRequest } from '../../src/cluster/operations.ts';
import type { PeerAddress, Transport } from '../../src/cluster/ports.ts';
import type { Spec, VipSpec } from '../../src/cluster/spec.ts';
import {
  type ClusterState,
  emptyState,
  formatVersion,
  type Member,
} from '../../src/cluster/state.ts';
import { decodeState, encodeState } from '../../src/cluster/state-codec.ts';
import { agentMarginMs } from '../../src/cluster/timing.ts';
import type { TimingLimits } from '../../src/cluster/timing-choice.ts';
import type { ClusterView } from '../../src/cluster/view.ts';
import type { Message } from '../../src/raft/message.ts';
import {
  emptyConfig,
  type Index,
  type LeaseView,
  type MemberConfig,
  type NodeId,
  type Snapshot,
  type Timing,
} from '../../src/raft/types.ts';
import { VipController } from '../../src/vip/controller.ts';
import { linkTrouble } from '../../src/vip/placement.ts';
import type { VipPlacement } from '../../src/vip/ports.ts';
import { Rivals } from '../../src/vip/rivals.ts';
import { bytesHash } from './checkers/raft.ts';
import { INTERFACE, macOf, VIP } from './kernel.ts';
import type { Options } from './options.ts';
import type { Brain, Request, Surroundings } from './program.ts';
import { traceLogger } from './trace-logger.ts';

/** A run is short: here `auto` shortens as soon as a person would call it rash. */
const hastyTiming: TimingLimits = { shortenAfterMs: 300, delaysNeeded: 5 };
const TOKEN = 'simtok';
const FOR_EVER_MS = 8.64e15;
const CLUSTER = 'simulated';
const carried: readonly VipPlacement[] = [{ address: VIP, interface: INTERFACE }];

/** The first log of a cluster whose voters are `first`. */
export function firstSnapshot(first: readonly NodeId[], options: Options): Snapshot {
  const snapshot = bootstrapSnapshot({
    clusterId: CLUSTER,
    clusterName: CLUSTER,
    spec: specWith(options.timing),
    founder: { ...facts(first[0] ?? ''), version: '', certExpires: '' },
    tokens: [
      {
        id: TOKEN,
        secretHash: '',
        expiresWallMs: FOR_EVER_MS,
        usesLeft: null,
        description: '',
        revoked: false,
      },
    ],
  });
  const state = decodeState(snapshot.data);
  const [founder] = state.members;
  if (founder === undefined) return snapshot;
  const { priorities, witness } = options.ranks;
  const members = first.map((id, at): Member => {
    const role = id === witness ? 'witness' : 'voter';
    return {
      ...founder,
      ...facts(id),
      macs: [macOf(id)],
      role,
      joinsAs: role,
      priority: priorities[at] ?? 0,
    };
  });
  return {
    meta: { ...snapshot.meta, config: { ...emptyConfig, voters: first } },
    data: encodeState({ ...state, members }),
  };
}

/** What an admitted host starts from: whom it may believe, and nothing else. */
export function joinerLog(members: readonly Member[]): Snapshot {
  return {
    meta: { index: 0, term: 0, config: emptyConfig },
    data: encodeState({ ...emptyState, clusterId: CLUSTER, clusterName: CLUSTER, members }),
  };
}

export class NodeBrain implements Brain, Transport {
  readonly #around: Surroundings;
  readonly #options: Options;
  readonly #vips: VipController;
  readonly #rivals: Rivals;
  readonly #duties: Duties;
  readonly #node: ClusterNode;
  #peers: ReadonlySet<NodeId> = new Set();
  #state: ClusterState | null = null;

  constructor(around: Surroundings, options: Options) {
    const { clock, kernel, storage, rng } = around;
    const log = traceLogger(around.note);
    this.#around = around;
    this.#options = options;
    const parts = { clock, table: kernel, fence: kernel, link: kernel, log };
    this.#vips = new VipController({ ...parts, marginMs: agentMarginMs });
    this.#rivals = new Rivals({
      clock,
      link: kernel,
      log,
      known: () => this.#knownMacs(),
      holds: (address) =>
        this.#vips.view().some((view) => view.address === address && view.heldHere),
      term: () => this.#node.view().term,
      onChange: () => this.#guarded(() => this.#duties.hostChanged()),
    });
    this.#duties = this.#newDuties();
    const compaction = { maxEntries: options.compactAfterEntries, maxBytes: 1_000_000 };
    this.#node = new ClusterNode(
      { selfId: around.id, compaction, holdDown: options.ranks.holdDown, timing: hastyTiming },
      {
        clock,
        storage,
        transport: this,
        sink: { update: (lease) => this.#leaseIs(lease) },
        log,
        rng,
        ...(around.trace === undefined ? {} : { trace: around.trace }),
        yieldToIo: (callback) => clock.post('immediate', callback),
        onFatal: (error) => around.died(error),
      },
    );
    this.#vips.start();
    this.#node.onView((view) => {
      this.#observe(view);
      if (view.role !== 'pre-candidate' && view.role !== 'candidate') return;
      void this.#rivals.look(carried);
    });
    this.#observe(this.#node.view());
    this.#duties.attach(this.#node);
    kernel.watch(() => this.#duties.hostChanged());
    this.#node.start();
  }

  get applied(): number {
    return this.#node.view().appliedIndex;
  }

  config(): MemberConfig {
    return this.#node.raftStatus().config;
  }

  timing(): Timing {
    return this.#node.timing().timing;
  }

  preferred(): NodeId | null {
    const { members } = this.#node.view().state;
    const own = members.find(({ id }) => id === this.#around.id)?.priority ?? 0;
    return members.find((it) => it.role === 'voter' && it.priority > own)?.id ?? null;
  }

  state(): ClusterState {
    return this.#node.view().state;
  }

  knows(id: NodeId): boolean {
    return this.#peers.has(id);
  }

  refuses(id: NodeId): boolean {
    return this.#node.view().state.removedIds.includes(id);
  }

  receive(message: Message): void {
    this.#node.receive(message);
  }

  snapshotResult(to: NodeId, ok: boolean): void {
    this.#node.reportSnapshot(to, ok);
  }

  ask(request: Request): void {
    const { answered, note } = this.#around;
    this.#grant(request).then(
      (index) => answered(request, { ok: true, index }),
      (error: unknown) => {
        const isChange = request.type !== 'write' && request.type !== 'read';
        if (isChange) note(`${request.type} refused: ${describeError(error)}`);
        answered(request, { ok: false, error });
      },
    );
  }

  stop(stopped: () => void): void {
    const end = (): void => {
      this.#vips.stop();
      stopped();
    };
    this.#rivals.stop();
    this.#node
      .stop()
      .then(end)
      .catch((error: unknown) => this.#around.died(error));
  }

  send(message: Message): void {
    this.#around.send(message);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.#peers = new Set(peers.map((peer) => peer.id));
  }

  /** What escapes from a promise's continuation ends the process, as Node does it. */
  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#around.died(error);
    }
  }

  #knownMacs(): ReadonlySet<string> {
    const { members, removedMacs } = this.#node.view().state;
    return new Set([...members.flatMap(({ macs }) => macs), ...removedMacs]);
  }

  #leaseIs(lease: LeaseView): void {
    this.#around.leaseIs(lease);
    this.#duties.update(lease);
  }

  #observe(view: ClusterView): void {
    if (view.state === this.#state) return;
    this.#state = view.state;
    this.#around.applied(view.appliedIndex, bytesHash(encodeState(view.state)));
  }

  #newDuties(): Duties {
    const { clock, kernel } = this.#around;
    return new Duties({
      clock,
      marginMs: agentMarginMs,
      vip: {
        take: (duty) => this.#vips.set({ ...duty, vips: duty.vips.map(placed) }),
        renew: (deadline) => this.#vips.renew(deadline),
      },
      balance: () => undefined,
      problem: () => linkTrouble(INTERFACE, kernel.links()) ?? this.#rivals.problem(),
    });
  }

  async #grant(request: Request): Promise<Index> {
    switch (request.type) {
      case 'write':
        return this.#propose({
          type: 'update-member',
          ...facts(this.#around.id),
          version: request.value,
          formatVersion,
          certExpires: '',
          macs: [macOf(this.#around.id)],
        });
      case 'read':
        await this.#node.confirmRead();
        return this.#node.view().appliedIndex;
      case 'add':
        return this.#admit(request.id);
      case 'replace':
        return this.#admit(request.id, request.replaces);
      case 'retire':
        await removeMember(this.#node, { name: request.id, force: false });
        return 0;
      case 'promote':
        await promoteMember(this.#node, request.id);
        return 0;
      case 'drain':
        return this.#set(request.id, { draining: request.draining });
      case 'move':
        return this.#set(request.id, { address: request.address });
      case 'remove':
        return this.#propose({ type: 'remove-member', id: request.id });
      case 'retime':
        return this.#propose({
          type: 'set-spec',
          spec: specWith(request.timing),
          expectedRevision: null,
        });
      case 'transfer':
        await this.#node.transfer(request.to);
        return 0;
      default:
        return unreachable(request);
    }
  }

  async #propose(command: Command): Promise<Index> {
    return (await this.#node.propose(command)).index;
  }

  async #set(
    name: NodeId,
    decided: Partial<Pick<MemberSetRequest, 'address' | 'draining'>>,
  ): Promise<Index> {
    const nothing = { priority: null, address: null, draining: null, force: false };
    await setMember(this.#node, { ...nothing, name, ...decided });
    return 0;
  }

  async #admit(id: NodeId, replaces?: NodeId): Promise<Index> {
    const index = await this.#propose({
      type: 'add-member',
      ...facts(id),
      ...(replaces === undefined ? {} : { replaces }),
      joinsAs: id === this.#options.ranks.witness ? 'witness' : 'voter',
      version: '',
      formatVersion,
      certExpires: '',
      tokenId: TOKEN,
      nowWallMs: this.#around.clock.wallNow(),
    });
    this.#around.admitted(id, this.#node.view().state.members);
    const priority = this.#options.ranks.priorities[Number(id.slice(1)) - 1] ?? 0;
    if (priority === 0) return index;
    return this.#propose({ type: 'set-member', id, priority, address: null, draining: null });
  }
}

function facts(id: NodeId): Pick<Member, 'id' | 'name' | 'address' | 'publicKeyHash'> {
  return { id, name: id, address: `${id}:7443`, publicKeyHash: `key-${id}` };
}

function placed({ address }: VipSpec): VipPlacement {
  return { address, interface: INTERFACE };
}

function specWith(timing: Spec['timing']): Spec {
  return {
    timing,
    vips: [{ address: VIP, interface: INTERFACE, onConflict: 'defend' }],
    frontends: [],
  };
}
