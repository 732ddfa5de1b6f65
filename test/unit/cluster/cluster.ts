/** A small cluster of real nodes on a virtual clock, an in-memory network and in-memory disks. */
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Millis, Timer } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { bootstrapSnapshot, joinerSnapshot } from '../../../src/cluster/bootstrap.ts';
import type { Command } from '../../../src/cluster/command.ts';
import { ClusterNode } from '../../../src/cluster/node.ts';
import type { PeerAddress } from '../../../src/cluster/ports.ts';
import { defaultHoldDown, type HoldDown } from '../../../src/cluster/preference.ts';
import type { Proposed } from '../../../src/cluster/proposals.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { formatVersion } from '../../../src/cluster/state.ts';
import type { Message } from '../../../src/raft/message.ts';
import type { LeaseView, NodeId } from '../../../src/raft/types.ts';
import { MemoryDisk } from '../../conformance/memory-storage.ts';

const epochMs = Date.UTC(2026, 0, 1);

interface Due {
  readonly at: Millis;
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

export class VirtualClock implements Clock {
  #now = 1000;
  #order = 0;
  #due: Due[] = [];

  now(): Millis {
    return this.#now;
  }

  wallNow(): Millis {
    return epochMs + this.#now;
  }

  after(delayMs: Millis, callback: () => void): Timer {
    const at = this.#now + Math.max(0, delayMs);
    const due: Due = { at, order: ++this.#order, callback, cancelled: false };
    this.#due.push(due);
    return {
      cancel: () => {
        due.cancelled = true;
      },
    };
  }

  /** Lets `ms` pass, event by event, with every promise settled in between. */
  async advance(ms: Millis): Promise<void> {
    const end = this.#now + ms;
    await nextTurn();
    for (;;) {
      this.#due = this.#due.filter((due) => !due.cancelled);
      this.#due.sort((left, right) => left.at - right.at || left.order - right.order);
      const next = this.#due[0];
      if (next === undefined || next.at > end) break;
      this.#due.shift();
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await nextTurn();
    }
    this.#now = end;
  }

  /** Lets time pass until `condition` holds, 1 ms at a time; throws after `withinMs`. */
  async until(what: string, condition: () => boolean, withinMs: Millis = 10_000): Promise<void> {
    for (let passed = 0; !condition(); passed++) {
      if (passed > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
      await this.advance(1);
    }
  }
}

export interface Host {
  readonly id: NodeId;
  readonly disk: MemoryDisk;
  node: ClusterNode;
  /** Null while it is down. */
  running: boolean;
  /** Every lease the sink was told of. */
  lease: LeaseView | null;
  fatal: unknown;
  peers: readonly PeerAddress[];
}

export class TestCluster {
  readonly clock = new VirtualClock();
  readonly hosts = new Map<NodeId, Host>();
  /** Everything that was sent. */
  readonly sent: Message[] = [];
  readonly holdDown: HoldDown;
  readonly #cut = new Set<string>();
  readonly #delayMs: Millis;

  constructor(delayMs: Millis = 1, holdDown: HoldDown = defaultHoldDown) {
    this.#delayMs = delayMs;
    this.holdDown = holdDown;
    this.#addHost('n1', bootstrapSnapshot(this.#init()));
  }

  #init() {
    return {
      clusterId: 'c1',
      clusterName: 'test',
      spec: defaultSpec({
        vips: [{ address: '10.0.0.100', interface: null }],
        vipPort: 6443,
        backendPort: 6443,
        frontends: [],
      }),
      founder: {
        id: 'n1',
        name: 'n1',
        address: 'n1:7443',
        publicKeyHash: 'key-n1',
        version: '1.0.0',
        certExpires: '',
      },
      tokens: [
        {
          id: 'aaaaaa',
          secretHash: 'hash',
          expiresWallMs: epochMs + 24 * 3600 * 1000,
          usesLeft: null,
          description: '',
          revoked: false,
        },
      ],
    };
  }

  #addHost(id: NodeId, first: Parameters<typeof bootHost>[2]): Host {
    const host = bootHost(this, id, first, this.clock);
    this.hosts.set(id, host);
    return host;
  }

  host(id: NodeId): Host {
    const host = this.hosts.get(id);
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }

  node(id: NodeId): ClusterNode {
    return this.host(id).node;
  }

  leader(): Host | undefined {
    return [...this.hosts.values()].find(
      (host) => host.running && host.node.view().lease.deadline > this.clock.now(),
    );
  }

  /** Waits for a leader with a lease. */
  async elected(except: NodeId | null = null): Promise<Host> {
    await this.clock.until('a leader', () => {
      const leader = this.leader();
      return leader !== undefined && leader.id !== except;
    });
    return this.leader() as Host;
  }

  async propose(command: Command): Promise<Proposed> {
    const leader = await this.elected();
    return this.settled(leader.node.propose(command));
  }

  /** Waits for a promise while virtual time goes on. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    await this.clock.until('the promise', () => done);
    return promise;
  }

  /** Adds `id` as a learner and starts it. */
  async join(id: NodeId, joinsAs: 'voter' | 'witness' = 'voter'): Promise<Host> {
    await this.propose({
      type: 'add-member',
      id,
      name: id,
      address: `${id}:7443`,
      joinsAs,
      publicKeyHash: `key-${id}`,
      version: '1.0.0',
      formatVersion,
      certExpires: '',
      tokenId: 'aaaaaa',
      nowWallMs: this.clock.wallNow(),
    });
    const { state } = (await this.elected()).node.view();
    const host = this.#addHost(
      id,
      joinerSnapshot({
        clusterId: 'c1',
        clusterName: 'test',
        nodeId: id,
        certificate: '',
        caCertificate: '',
        caKey: null,
        vips: [],
        members: state.members.filter((member) => member.id !== id),
        already: false,
      }),
    );
    host.node.start();
    return host;
  }

  /** n1, n2 and n3, all voters. */
  async grown(): Promise<void> {
    this.node('n1').start();
    await this.join('n2');
    await this.join('n3');
    await this.clock.until('three voters', () =>
      this.node('n1')
        .view()
        .state.members.every((member) => member.role === 'voter'),
    );
    // Until everybody has left the joint configuration, the old one has a say.
    await this.clock.until('nobody between two configurations', () =>
      [...this.hosts.values()].every(
        ({ node }) => node.raftStatus().config.votersOutgoing.length === 0,
      ),
    );
  }

  /** SIGKILL, with the loss of whatever was not synced. */
  kill(id: NodeId): void {
    this.host(id).running = false;
    this.host(id).disk.cut(0);
  }

  restart(id: NodeId): void {
    const host = this.host(id);
    host.running = true;
    host.fatal = null;
    host.node = makeNode(this, host, this.clock);
    host.node.start();
  }

  cut(from: NodeId, to: NodeId): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(id: NodeId): void {
    for (const other of this.hosts.keys()) {
      this.cut(id, other);
      this.cut(other, id);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  deliver(message: Message): void {
    this.sent.push(message);
    this.clock.after(this.#delayMs, () => {
      const host = this.hosts.get(message.to);
      if (host === undefined || !host.running) return;
      if (this.#cut.has(`${message.from}>${message.to}`)) return;
      host.node.receive(message);
    });
  }
}

function bootHost(
  cluster: TestCluster,
  id: NodeId,
  first: ConstructorParameters<typeof MemoryDisk>[2],
  clock: VirtualClock,
): Host {
  const host = {
    id,
    disk: new MemoryDisk(clock, () => 1, first),
    running: true,
    lease: null,
    fatal: null,
    peers: [],
  } as unknown as Host;
  host.node = makeNode(cluster, host, clock);
  return host;
}

function makeNode(cluster: TestCluster, host: Host, clock: VirtualClock): ClusterNode {
  const isCurrent = (): boolean => host.node === node && host.running;
  const node: ClusterNode = new ClusterNode(
    {
      selfId: host.id,
      compaction: { maxEntries: 40, maxBytes: 1 << 20 },
      holdDown: cluster.holdDown,
    },
    {
      // A killed process runs no timers.
      clock: {
        now: () => clock.now(),
        wallNow: () => clock.wallNow(),
        after: (delayMs, callback) => clock.after(delayMs, () => isCurrent() && callback()),
      },
      storage: host.disk.open(),
      transport: {
        send: (message) => {
          if (isCurrent() && host.peers.some((peer) => peer.id === message.to)) {
            cluster.deliver(message);
          }
        },
        setPeers: (peers) => {
          host.peers = peers;
        },
      },
      sink: {
        update: (lease) => {
          host.lease = lease;
          assert.equal(node.view().lease, lease);
        },
      },
      log: silentLogger,
      rng: prng(host.id.charCodeAt(1)),
      yieldToIo: (callback) => callback(),
      onFatal: (error) => {
        host.fatal = error;
      },
    },
  );
  return node;
}
