/**
 * A cluster on loopback for the tests of this room: a real CA, real TLS, inboxes in place of nodes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defined } from '../../../src/base/assert.ts';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import type { Operations } from '../../../src/cluster/operations.ts';
import type { PeerAddress } from '../../../src/cluster/ports.ts';
import { inspectNodeCertificate, parseCertificates } from '../../../src/pki/inspect.ts';
import {
  createCa,
  createKey,
  createRequest,
  issueNodeCertificate,
  type KeyedCertificate,
} from '../../../src/pki/issue.ts';
import type { Heartbeat, Message } from '../../../src/raft/message.ts';
import { operationsBy } from '../../../src/rpc/admin-codec.ts';
import type { Standing } from '../../../src/rpc/identity.ts';
import type { TlsMaterial } from '../../../src/rpc/node-tls.ts';
import { Rpc, type RpcOptions } from '../../../src/rpc/server.ts';

export const clusterId = 'c-1';

/** Operations of which each test fills in what it needs. */
export function operationsOf(given: Partial<Operations>): Operations {
  const missing = operationsBy(async (name) => {
    throw new OperatingError({ code: 'not-in-this-test', message: `${name} is not there` });
  });
  return { ...missing, ...given };
}

export function notLeader(leader: { id: string } | null): OperatingError {
  return new OperatingError({
    code: 'not-leader',
    message: 'this node does not lead',
    facts: { leader: leader === null ? null : { ...leader, name: leader.id, address: '' } },
  });
}

export interface TestNode {
  readonly id: string;
  readonly rpc: Rpc;
  readonly peer: PeerAddress;
  readonly material: TlsMaterial;
  readonly inbox: Message[];
  readonly alarms: string[];
  readonly unreachable: string[];
  readonly snapshots: [id: string, ok: boolean][];
  readonly socketPath: string;
  /** Resolves with the first message, old or new, that `wanted` accepts. */
  next(wanted: (message: Message) => boolean): Promise<Message>;
}

export interface NodeInit {
  readonly id: string;
  readonly material?: TlsMaterial;
  readonly operations?: Partial<Operations>;
  /** For what another member asks; the same operations by default. */
  readonly forwarded?: Partial<Operations>;
  readonly standingOf?: (id: string) => Standing;
  readonly listenPort?: number;
  readonly wallOffsetMs?: number;
  readonly peerOf?: NonNullable<RpcOptions['local']>['peerOf'];
  readonly gate?: RpcOptions['gate'];
  /** Gets each message at once. */
  readonly deliver?: (message: Message) => void;
}

/** All nodes of one test; `close` ends them and removes what they wrote. */
export class TestCluster {
  readonly ca: KeyedCertificate;
  readonly nodes = new Map<string, TestNode>();
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-rpc-'));

  constructor(ca: KeyedCertificate) {
    this.ca = ca;
  }

  static async create(): Promise<TestCluster> {
    return new TestCluster(await createCa({ clusterName: 'test', wallNowMs: Date.now() }));
  }

  material(id: string, change: { wallNowMs?: number; clusterId?: string } = {}) {
    return materialOf(this.ca, id, change);
  }

  async start(init: NodeInit): Promise<TestNode> {
    const material = init.material ?? (await this.material(init.id));
    const socketPath = join(this.folder, `${init.id}.sock`);
    const inbox: Message[] = [];
    const alarms: string[] = [];
    const unreachable: string[] = [];
    const snapshots: [string, boolean][] = [];
    const waiting = new Set<(message: Message) => void>();
    const clock = shiftedClock(init.wallOffsetMs ?? 0);
    const options = (port: number): RpcOptions => ({
      listen: { host: '127.0.0.1', port },
      advertise: `127.0.0.1:${port}`,
      material,
      clock,
      random: prng(1),
      log: silentLogger,
      standingOf: init.standingOf ?? ((id) => this.standingOf(id)),
      operations: operationsOf(init.operations ?? {}),
      forwarded: operationsOf(init.forwarded ?? init.operations ?? {}),
      local: {
        path: socketPath,
        peerOf: init.peerOf ?? (() => ({ uid: 0, access: 'all' })),
        gid: null,
      },
      deliver: (message) => {
        init.deliver?.(message);
        inbox.push(message);
        for (const each of waiting) each(message);
      },
      onUnreachable: (id) => unreachable.push(id),
      onSnapshotResult: (id, ok) => snapshots.push([id, ok]),
      onTimeAlarm: (id, time) => alarms.push(`${id} ${time}`),
      ...(init.gate === undefined ? {} : { gate: init.gate }),
    });
    // The port must be known before the node is built, because it advertises it.
    const rpc = new Rpc(options(init.listenPort ?? (await freePort())));
    await rpc.start();
    const node: TestNode = {
      id: init.id,
      rpc,
      peer: peerOf(material, `127.0.0.1:${rpc.port}`),
      material,
      inbox,
      alarms,
      unreachable,
      snapshots,
      socketPath,
      next: (wanted) =>
        new Promise((resolve) => {
          const seen = inbox.find(wanted);
          if (seen !== undefined) resolve(seen);
          const check = (message: Message): void => {
            if (!wanted(message)) return;
            waiting.delete(check);
            resolve(message);
          };
          waiting.add(check);
        }),
    };
    this.nodes.set(init.id, node);
    return node;
  }

  /** Tells every node who the peers are. */
  connect(): void {
    const peers = [...this.nodes.values()].map(({ peer }) => peer);
    for (const { rpc } of this.nodes.values()) rpc.transport.setPeers(peers);
  }

  standingOf(id: string): Standing {
    const node = this.nodes.get(id);
    if (node === undefined) return { kind: 'unknown' };
    return { kind: 'member', publicKeyHash: node.peer.publicKeyHash };
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.values()].map(({ rpc }) => rpc.close()));
    rmSync(this.folder, { recursive: true });
  }
}

export async function materialOf(
  ca: KeyedCertificate,
  nodeId: string,
  change: { wallNowMs?: number; clusterId?: string } = {},
): Promise<TlsMaterial> {
  const key = createKey();
  const cluster = change.clusterId ?? clusterId;
  const certificate = await issueNodeCertificate({
    ca,
    csr: await createRequest({ key, name: nodeId }),
    clusterId: cluster,
    nodeId,
    name: nodeId,
    wallNowMs: change.wallNowMs ?? Date.now(),
  });
  return { clusterId: cluster, nodeId, certificate, key, caCertificate: ca.certificate };
}

export function peerOf(material: TlsMaterial, address: string): PeerAddress {
  const leaf = defined(parseCertificates(material.certificate)?.[0], 'certificate');
  const { publicKeyHash } = defined(inspectNodeCertificate(leaf), 'node certificate');
  return { id: material.nodeId, address, publicKeyHash };
}

export function heartbeat(from: string, to: string, round = 1): Heartbeat {
  return { type: 'heartbeat', from, to, term: 1, round, promiseMs: 400, commit: 0 };
}

/** Sends until it arrives: the streams may still be opening. */
export async function exchange(from: TestNode, to: TestNode, round = 1): Promise<void> {
  const sent = heartbeat(from.id, to.id, round);
  const timer = setInterval(() => from.rpc.transport.send(sent), 10);
  try {
    await to.next(
      (message) =>
        message.type === 'heartbeat' && message.from === from.id && message.round === round,
    );
  } finally {
    clearInterval(timer);
  }
}

/** Resolves when `condition` holds; the test's own time limit ends a vain wait. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export function shiftedClock(wallOffsetMs: number): Clock {
  const clock = systemClock();
  return { ...clock, wallNow: () => clock.wallNow() + wallOffsetMs };
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
