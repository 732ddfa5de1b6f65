/**
 * The program under test in one simulated process: the real cluster node and the real VIP controller,
 * joined by `assign()` as the agent joins them. It holds nothing that the agent has not.
 */
import { describeError } from '../../src/base/errors.ts';
import { assign, eligibilityOf } from '../../src/cluster/assign.ts';
import { bootstrapSnapshot } from '../../src/cluster/bootstrap.ts';
import type { Command } from '../../src/cluster/command.ts';
import { ClusterNode } from '../../src/cluster/node.ts';
import type { LeaseSink, PeerAddress, Transport } from '../../src/cluster/ports.ts';
import type { Spec } from '../../src/cluster/spec.ts';
import { type ClusterState, emptyState, type Member } from '../../src/cluster/state.ts';
import { decodeState, encodeState } from '../../src/cluster/state-codec.ts';
import { agentMarginMs } from '../../src/cluster/timing.ts';
import type { Message } from '../../src/raft/message.ts';
import {
  emptyConfig,
  type LeaseView,
  type MemberConfig,
  type NodeId,
  type Snapshot,
} from '../../src/raft/types.ts';
import { VipController } from '../../src/vip/controller.ts';
import { bytesHash } from './checkers/raft.ts';
import type { Brain, Request, Surroundings } from './host.ts';
import { INTERFACE, VIP } from './kernel.ts';
import type { Options } from './options.ts';
import { traceLogger } from './trace-logger.ts';

const TOKEN = 'simtok';
const FOR_EVER_MS = 8.64e15;
const CLUSTER = 'simulated';

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
  const members = first.map((id) => ({ ...founder, ...facts(id) }));
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

export class NodeBrain implements Brain, Transport, LeaseSink {
  readonly #around: Surroundings;
  readonly #node: ClusterNode;
  readonly #vips: VipController;
  #peers: ReadonlySet<NodeId> = new Set();
  #state: ClusterState | null = null;
  #epoch: number | null = null;
  #started = false;

  constructor(around: Surroundings, options: Options) {
    const { clock, kernel, storage } = around;
    const log = traceLogger(around.note);
    this.#around = around;
    this.#vips = new VipController({
      clock,
      table: kernel,
      fence: kernel,
      link: kernel,
      log,
      marginMs: agentMarginMs,
    });
    this.#vips.start();
    this.#node = new ClusterNode(
      {
        selfId: around.id,
        compaction: { maxEntries: options.compactAfterEntries, maxBytes: 1_000_000 },
      },
      {
        clock,
        storage,
        transport: this,
        sink: this,
        log,
        rng: around.rng,
        yieldToIo: (callback) => clock.post('immediate', callback),
        onFatal: (error) => around.died(error),
      },
    );
    this.#started = true;
    kernel.watch(() => this.#tellEligibility());
    this.#node.onView(() => {
      this.#assign();
      this.#tellEligibility();
    });
    this.#node.start();
    this.#assign();
    this.#tellEligibility();
  }

  get applied(): number {
    return this.#node.view().appliedIndex;
  }

  config(): MemberConfig {
    return this.#node.raftStatus().config;
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
    if (request.type === 'transfer') {
      this.#outcome(request, this.#node.transfer(request.to));
      return;
    }
    const answer = this.#node.propose(this.#command(request));
    this.#outcome(request, answer);
    if (request.type !== 'add') return;
    const admitted = (): void => this.#around.admitted(request.id, this.#node.view().state.members);
    answer.then(admitted, () => undefined);
  }

  stop(stopped: () => void): void {
    const end = (): void => {
      this.#vips.stop();
      stopped();
    };
    this.#node.stop().then(end, (error: unknown) => this.#around.died(error));
  }

  send(message: Message): void {
    this.#around.send(message);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.#peers = new Set(peers.map((peer) => peer.id));
  }

  update(lease: LeaseView): void {
    this.#around.leaseIs(lease);
    if (this.#started) this.#assign();
  }

  /** What this node may hold now; renewed where it is held already. */
  #assign(): void {
    const view = this.#node.view();
    if (view.state !== this.#state) {
      this.#state = view.state;
      this.#around.applied(view.appliedIndex, bytesHash(encodeState(view.state)));
    }
    const now = this.#around.clock.now();
    const { vip } = assign(view, { marginMs: agentMarginMs, problem: this.#problem() }, now);
    if (vip.hold !== null && vip.hold.epoch === this.#epoch) {
      this.#vips.renew(vip.hold.deadline);
      return;
    }
    this.#epoch = vip.hold?.epoch ?? null;
    this.#vips.set({
      ...vip,
      vips: vip.vips.map(({ address }) => ({ address, interface: INTERFACE })),
    });
  }

  #problem(): string | null {
    const { eligible, reason } = this.#vips.eligibility();
    return eligible ? null : reason;
  }

  #tellEligibility(): void {
    const self = { marginMs: agentMarginMs, problem: this.#problem() };
    this.#node.setEligibility(eligibilityOf(this.#node.view(), self));
  }

  #command(request: Exclude<Request, { type: 'transfer' }>): Command {
    switch (request.type) {
      case 'write':
        return {
          type: 'update-member',
          ...facts(this.#around.id),
          version: request.value,
          formatVersion: 1,
          certExpires: '',
          macs: [],
        };
      case 'add':
        return {
          type: 'add-member',
          ...facts(request.id),
          joinsAs: 'voter',
          version: '',
          formatVersion: 1,
          certExpires: '',
          tokenId: TOKEN,
          nowWallMs: this.#around.clock.wallNow(),
        };
      case 'remove':
        return { type: 'remove-member', id: request.id };
      case 'retime':
        return { type: 'set-spec', spec: specWith(request.timing), expectedRevision: null };
    }
  }

  #outcome(request: Request, answer: Promise<unknown>): void {
    answer.then(
      (value) => this.#around.answered(request, { ok: true, value }),
      (error: unknown) => {
        if (request.type !== 'write') {
          this.#around.note(`${request.type} refused: ${describeError(error)}`);
        }
        this.#around.answered(request, { ok: false, error });
      },
    );
  }
}

function facts(id: NodeId): Pick<Member, 'id' | 'name' | 'address' | 'publicKeyHash'> {
  return { id, name: id, address: `${id}:7443`, publicKeyHash: `key-${id}` };
}

function specWith(timing: Spec['timing']): Spec {
  return { timing, vips: [{ address: VIP, interface: INTERFACE }], frontends: [] };
}
