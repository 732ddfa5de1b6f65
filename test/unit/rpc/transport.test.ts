/** The transport over real TLS on loopback: who may talk, what arrives, and what never waits. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { Metadata } from '@grpc/grpc-js';
import { defined } from '../../../src/base/assert.ts';
import type { Append, InstallSnapshot, Message } from '../../../src/raft/message.ts';
import { emptyConfig } from '../../../src/raft/types.ts';
import { encodeMessage } from '../../../src/rpc/codec.ts';
import { dialStream } from '../../../src/rpc/dial.ts';
import type { Standing } from '../../../src/rpc/identity.ts';
import { maxMessageBytes } from '../../../src/rpc/limits.ts';
import { NodeTls } from '../../../src/rpc/node-tls.ts';
import {
  exchange,
  heartbeat,
  materialOf,
  peerOf,
  shiftedClock,
  TestCluster,
  type TestNode,
  until,
} from './fixture.ts';
import { Relay } from './relay.ts';

const options = { timeout: 30_000 };
const dayMs = 86_400_000;

async function clusterOf(ids: readonly string[]): Promise<TestCluster> {
  const cluster = await TestCluster.create();
  for (const id of ids) await cluster.start({ id });
  cluster.connect();
  return cluster;
}

function node(cluster: TestCluster, id: string): TestNode {
  return defined(cluster.nodes.get(id), id);
}

/** Keeps `from` calling `to` until `met`. */
async function callUntil(from: TestNode, to: string, met: () => boolean): Promise<void> {
  const timer = setInterval(() => from.rpc.transport.send(heartbeat(from.id, to)), 10);
  try {
    await until(met);
  } finally {
    clearInterval(timer);
  }
}

function refused(at: TestNode, reason: string): boolean {
  return (at.rpc.counters().refused[reason] ?? 0) > 0;
}

test('three nodes exchange messages, each with each', options, async (t) => {
  const cluster = await clusterOf(['a', 'b', 'c']);
  t.after(() => cluster.close());

  for (const from of cluster.nodes.values()) {
    for (const to of cluster.nodes.values()) if (from !== to) await exchange(from, to);
  }

  await until(() =>
    node(cluster, 'a')
      .rpc.peers()
      .every((peer) => peer.connected),
  );
  assert.equal(node(cluster, 'a').rpc.peers().length, 2);
  const { transport } = node(cluster, 'a').rpc.counters();
  assert.ok(transport.control.sentMessages >= 2 && transport.control.receivedMessages >= 2);
});

test('appends and snapshots arrive whole, and the sender learns of it', options, async (t) => {
  const cluster = await clusterOf(['a', 'b']);
  t.after(() => cluster.close());
  const [a, b] = [node(cluster, 'a'), node(cluster, 'b')];
  const data = new Uint8Array(300_000).map((_, index) => index % 251);
  const append: Append = {
    ...{ type: 'append', from: 'a', to: 'b', term: 1, prevIndex: 0, prevTerm: 0, commit: 0 },
    entries: [{ index: 1, term: 1, type: 'normal', data }],
  };

  a.rpc.transport.send(snapshotOf(data));
  const snapshot = await b.next((message) => message.type === 'snapshot');
  await until(() => a.snapshots.length > 0);
  await exchange(a, b);
  await until(() => {
    a.rpc.transport.send(append);
    return b.inbox.some((message) => message.type === 'append');
  });

  assert.deepEqual(snapshot, snapshotOf(data));
  assert.deepEqual(a.snapshots, [['b', true]]);
  assert.deepEqual(
    b.inbox.find((message) => message.type === 'append'),
    append,
  );
});

test('a snapshot for a peer that is not there is reported as failed', options, async (t) => {
  const cluster = await clusterOf(['a']);
  t.after(() => cluster.close());
  const a = node(cluster, 'a');
  const absent = peerOf(await cluster.material('b'), '127.0.0.1:1');
  a.rpc.transport.setPeers([absent]);

  a.rpc.transport.send(snapshotOf(new Uint8Array(10)));
  await until(() => a.snapshots.length > 0);

  assert.deepEqual(a.snapshots, [['b', false]]);
});

test('foreign clusters and foreign CAs are refused on both sides', options, async (t) => {
  const cluster = await clusterOf(['a']);
  const foreign = await TestCluster.create();
  t.after(() => Promise.all([cluster.close(), foreign.close()]));
  const a = node(cluster, 'a');
  const stranger = await foreign.start({ id: 'b' });
  const namesake = await cluster.start({
    id: 'c',
    material: await materialOf(cluster.ca, 'c', { clusterId: 'other' }),
  });

  stranger.rpc.transport.setPeers([a.peer]);
  namesake.rpc.transport.setPeers([a.peer]);
  a.rpc.transport.setPeers([stranger.peer, namesake.peer]);

  // Whoever dials finds out first: that the server is foreign. A dialler that does not care is
  // refused by the listener.
  await callUntil(stranger, 'a', () => !stranger.rpc.peers().some((peer) => peer.connected));
  const reasons = await Promise.all([
    dialFailure(a, stranger.peer),
    dialFailure(a, namesake.peer),
    dialFailure(stranger, a.peer),
  ]);
  assert.deepEqual(reasons, ['foreign-ca', 'foreign-cluster', 'foreign-ca']);
  assert.equal(a.inbox.length + stranger.inbox.length + namesake.inbox.length, 0);
});

test(
  'the listener refuses certificates of another CA and of another cluster',
  options,
  async (t) => {
    const cluster = await clusterOf(['a']);
    const foreign = await TestCluster.create();
    t.after(() => Promise.all([cluster.close(), foreign.close()]));
    const a = node(cluster, 'a');

    // They trust our CA, so that only our listener can refuse them.
    const mixed = { ...(await foreign.material('b')), caCertificate: cluster.ca.certificate };
    const other = await materialOf(cluster.ca, 'c', { clusterId: 'other' });
    await dialAs({ ...mixed }, a);
    await dialAs({ ...other, clusterId: 'c-1' }, a);

    assert.equal(refused(a, 'foreign-ca'), true);
    assert.equal(refused(a, 'foreign-cluster'), true);
  },
);

test('a removed member is refused, and its standing connections end', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const removed = new Set<string>();
  const standingOf = (id: string): Standing =>
    removed.has(id) ? { kind: 'removed' } : cluster.standingOf(id);
  const a = await cluster.start({ id: 'a', standingOf });
  const b = await cluster.start({ id: 'b' });
  cluster.connect();
  await exchange(b, a);

  removed.add('b');
  a.rpc.transport.setPeers([]);
  await callUntil(b, 'a', () => refused(a, 'removed-member'));
  const before = a.inbox.length;
  await callUntil(b, 'a', () => (a.rpc.counters().refused['removed-member'] ?? 0) > 3);

  assert.equal(a.inbox.length, before);
});

test('a known id with another key is refused', options, async (t) => {
  const cluster = await clusterOf(['a', 'b']);
  t.after(() => cluster.close());
  const a = node(cluster, 'a');

  await dialAs(await cluster.material('b'), a);

  assert.equal(refused(a, 'unknown-key'), true);
});

test(
  'members whose certificates are all out of time go on by their keys, with an alarm',
  options,
  async (t) => {
    for (const [wallOffsetMs, word] of [
      [1_000 * dayMs, 'expired'],
      [-20_000 * dayMs, 'not-yet-valid'],
    ] as const) {
      const cluster = await TestCluster.create();
      t.after(() => cluster.close());
      const a = await cluster.start({ id: 'a', wallOffsetMs });
      const b = await cluster.start({ id: 'b', wallOffsetMs });
      cluster.connect();

      await exchange(a, b);
      await exchange(b, a, 2);

      assert.ok(a.alarms.includes(`b ${word}`), a.alarms.join());
      assert.ok(b.alarms.includes(`a ${word}`), b.alarms.join());
    }
  },
);

test('an expired certificate of an unknown node is refused', options, async (t) => {
  const cluster = await clusterOf(['a']);
  t.after(() => cluster.close());
  const a = node(cluster, 'a');

  await dialAs(await cluster.material('x', { wallNowMs: Date.now() - 500 * dayMs }), a);

  assert.equal(refused(a, 'expired'), true);
  assert.deepEqual(a.alarms, []);
});

test('a renewed certificate is used without a restart', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const old = await cluster.material('a', { wallNowMs: Date.now() - 500 * dayMs });
  const a = await cluster.start({ id: 'a', material: old });
  const b = await cluster.start({ id: 'b' });
  cluster.connect();
  await exchange(b, a);
  assert.ok(b.alarms.includes('a expired'));

  const { createRequest, issueNodeCertificate } = await import('../../../src/pki/issue.ts');
  const certificate = await issueNodeCertificate({
    ca: cluster.ca,
    csr: await createRequest({ key: old.key, name: 'a' }),
    ...{ clusterId: 'c-1', nodeId: 'a', name: 'a', wallNowMs: Date.now() },
  });
  a.rpc.updateCertificates({ ...old, certificate });
  b.alarms.length = 0;
  b.rpc.transport.setPeers([]);
  cluster.connect();
  await exchange(b, a, 2);

  assert.deepEqual(b.alarms, []);
});

test('a node that knows nobody can answer whoever reaches it', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const leader = await cluster.start({ id: 'leader' });
  const joiner = await cluster.start({ id: 'joiner', standingOf: () => ({ kind: 'unknown' }) });
  leader.rpc.transport.setPeers([joiner.peer]);

  await exchange(leader, joiner);
  await exchange(joiner, leader, 2);

  assert.deepEqual(joiner.rpc.peers(), []);
});

test('an oversized append is dropped and reported, and the stream stays', options, async (t) => {
  const cluster = await clusterOf(['a', 'b']);
  t.after(() => cluster.close());
  const [a, b] = [node(cluster, 'a'), node(cluster, 'b')];
  await exchange(a, b);
  const dials = a.rpc.counters().transport.dials;

  a.rpc.transport.send({
    ...{ type: 'append', from: 'a', to: 'b', term: 1, prevIndex: 0, prevTerm: 0, commit: 0 },
    entries: [{ index: 1, term: 1, type: 'normal', data: new Uint8Array(maxMessageBytes + 1) }],
  });
  await exchange(a, b, 2);

  assert.deepEqual(a.unreachable, ['b']);
  assert.equal(a.rpc.counters().transport.log.droppedMessages, 1);
  assert.equal(a.rpc.counters().transport.dials, dials);
});

test('what a member should not say is counted and ends nothing', options, async (t) => {
  const cluster = await clusterOf(['a', 'b']);
  t.after(() => cluster.close());
  const [a, b] = [node(cluster, 'a'), node(cluster, 'b')];
  await exchange(a, b);
  const stream = dial(a, b.peer, () => {
    stream.call.write(new Uint8Array([255, 255]));
    stream.call.write(encodeMessage(heartbeat('c', 'b')));
    stream.call.write(encodeMessage(heartbeat('a', 'c')));
    stream.call.write(encodeMessage(emptyAppend));
    stream.call.write(encodeMessage(heartbeat('a', 'b', 99)));
  });
  t.after(() => stream.abandon());

  await b.next((message) => message.type === 'heartbeat' && message.round === 99);

  assert.deepEqual(b.rpc.counters().transport.invalid, {
    malformed: 1,
    'wrong-sender': 1,
    'wrong-receiver': 1,
    'wrong-stream': 1,
  });
});

test('a peer that swallows everything delays nobody else', options, async (t) => {
  const cluster = await clusterOf(['a', 'b']);
  const hole = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => hole.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    await cluster.close();
    hole.close();
  });
  const [a, b] = [node(cluster, 'a'), node(cluster, 'b')];
  const address = hole.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const silent = peerOf(await cluster.material('z'), `127.0.0.1:${port}`);
  a.rpc.transport.setPeers([b.peer, silent]);

  for (let i = 0; i < 500; i++) a.rpc.transport.send(heartbeat('a', 'z', i));
  await exchange(a, b);

  assert.equal(a.rpc.counters().transport.control.droppedMessages >= 500, true);
});

test('a peer is met again soon after a silent cut', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({ id: 'a' });
  const b = await cluster.start({ id: 'b' });
  const relay = await Relay.open(defined(b.rpc.port, 'port'));
  t.after(() => relay.close());
  a.rpc.transport.setPeers([{ ...b.peer, address: `127.0.0.1:${relay.port}` }]);
  await exchange(a, b);

  relay.cut();
  const accepted = relay.accepted;
  // Nobody answers for a second and more, so that a dials again, into the cut cable.
  await callUntil(a, 'b', () => relay.accepted > accepted);
  relay.heal();
  const healedAt = performance.now();
  await exchange(a, b, 2);

  assert.ok(performance.now() - healedAt < 2_500, `${performance.now() - healedAt} ms`);
});

test('a snapshot of 32 MB does not delay a heartbeat', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const sentAt = new Map<number, number>();
  const delays: number[] = [];
  const a = await cluster.start({ id: 'a' });
  const b = await cluster.start({
    id: 'b',
    deliver: (message: Message) => {
      if (message.type !== 'heartbeat') return;
      delays.push(performance.now() - defined(sentAt.get(message.round), 'round'));
    },
  });
  cluster.connect();
  sentAt.set(0, performance.now());
  await exchange(a, b, 0);
  delays.length = 0;

  a.rpc.transport.send(snapshotOf(new Uint8Array(32 * 1024 * 1024)));
  let round = 0;
  const timer = setInterval(() => {
    sentAt.set(++round, performance.now());
    a.rpc.transport.send(heartbeat('a', 'b', round));
  }, 5);
  await b.next((message) => message.type === 'snapshot');
  clearInterval(timer);

  const sorted = delays.sort((x, y) => x - y);
  const median = defined(sorted[Math.floor(sorted.length / 2)], 'a heartbeat during the snapshot');
  t.diagnostic(`${delays.length} heartbeats, median ${median}, longest ${sorted.at(-1)} ms`);
  assert.ok(median < 20, `median ${median} ms`);
  assert.ok(defined(sorted.at(-1), 'longest') < 150, `longest ${sorted.at(-1)} ms`);
});

test(
  'a snapshot that broke off in the middle is not sent again from its start',
  options,
  async (t) => {
    const cluster = await TestCluster.create();
    t.after(() => cluster.close());
    const a = await cluster.start({ id: 'a' });
    const b = await cluster.start({ id: 'b' });
    const relay = await Relay.open(defined(b.rpc.port, 'port'));
    t.after(() => relay.close());
    a.rpc.transport.setPeers([{ ...b.peer, address: `127.0.0.1:${relay.port}` }]);
    const size = 8 * 1024 * 1024;
    const message = snapshotOf(new Uint8Array(size).map((_, index) => index % 251));
    const received = (): number => b.rpc.counters().transport.snapshot.receivedBytes;

    relay.breakAfter(size / 2);
    a.rpc.transport.send(message);
    await until(() => a.snapshots.length > 0);
    const before = received();
    a.rpc.transport.send(message);
    const arrived = await b.next(({ type }) => type === 'snapshot');

    assert.deepEqual(a.snapshots[0], ['b', false]);
    assert.ok(before > size / 4, `only ${before} bytes had arrived`);
    // Everything once, with the headers of its parts.
    assert.ok(received() < size * 1.01, `${received()} bytes for ${size}`);
    assert.deepEqual(arrived, message);
  },
);

const emptyAppend: Append = {
  ...{ type: 'append', from: 'a', to: 'b', term: 1, prevIndex: 0, prevTerm: 0, commit: 0 },
  entries: [],
};

function snapshotOf(data: Uint8Array): InstallSnapshot {
  const config = { ...emptyConfig, voters: ['a', 'b'] };
  const snapshot = { meta: { index: 7, term: 1, config }, data };
  return { type: 'snapshot', from: 'a', to: 'b', term: 1, snapshot };
}

function dial(
  from: Pick<TestNode, 'material'>,
  peer: TestNode['peer'],
  onOpen: () => void,
  onEnd: (error: Error | null) => void = () => undefined,
) {
  return dialStream({
    tls: new NodeTls(from.material),
    clock: shiftedClock(0),
    peer,
    kind: 'control',
    metadata: new Metadata(),
    preflight: false,
    onOpen,
    onEnd,
    onTimeAlarm: () => undefined,
  });
}

/** Why `from` would not talk to `peer`. */
function dialFailure(from: TestNode, peer: TestNode['peer']): Promise<string | undefined> {
  return new Promise((resolve) => {
    dial(
      from,
      peer,
      () => resolve('accepted'),
      (error) => resolve(error?.message),
    );
  });
}

/** Dials `to` with some certificate; resolves when it was refused. */
function dialAs(material: TestNode['material'], to: TestNode): Promise<void> {
  return new Promise((resolve, reject) => {
    dial(
      { material },
      to.peer,
      () => reject(new Error('accepted')),
      () => resolve(),
    );
  });
}
