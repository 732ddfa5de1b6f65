/** The admin service: every operation over the wire, forwarding to the leader, who may ask. */
import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { defined } from '../../../src/base/assert.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import type { Operations } from '../../../src/cluster/operations.ts';
import type { StatusDocument } from '../../../src/cluster/status-document.ts';
import { connectAdmin } from '../../../src/rpc/admin-client.ts';
import {
  type OperationName,
  type OperationResult,
  operationNames,
  operationsBy,
} from '../../../src/rpc/admin-codec.ts';
import { memberClient } from '../../../src/rpc/member-client.ts';
import { NodeTls } from '../../../src/rpc/node-tls.ts';
import { notLeader, operationsOf, TestCluster, type TestNode } from './fixture.ts';

const options = { timeout: 20_000 };
const clock = systemClock();

function hasCode(code: string) {
  return (error: unknown) => {
    assert.ok(error instanceof OperatingError, String(error));
    assert.equal(error.code, code, error.line);
    return true;
  };
}

/** One call of each operation with every kind of value, and an answer likewise. */
const samples: {
  readonly [K in OperationName]: {
    readonly args: Parameters<Operations[K]>;
    readonly result: OperationResult<K>;
  };
} = {
  status: {
    args: [{ linearizable: true }],
    result: { apiVersion: 'holdfast/v1', warnings: ['é'] } as unknown as StatusDocument,
  },
  getSpec: { args: [{ local: true }], result: { kind: 'Cluster', spec: { vips: [null, 1] } } },
  applySpec: {
    args: [{ document: { a: ['x', null, 1.5] }, dryRun: true, yes: false }],
    result: { revision: 2 ** 40, changed: true, changes: ['+ a', '- b'] },
  },
  createToken: {
    args: [{ ttlMs: 86_400_000, uses: null, description: 'd', token: 'abcdef.0123456789abcdef' }],
    result: { token: 't', id: 'i', expires: 'e', caHash: 'c', joinCommand: 'j' },
  },
  listTokens: {
    args: [],
    result: [
      { id: 'a', expires: 'e', usesLeft: null, description: '' },
      { id: 'b', expires: 'e', usesLeft: 0, description: 'two' },
    ],
  },
  revokeToken: { args: ['abc'], result: undefined },
  removeMember: { args: [{ name: 'n2', force: true }], result: { removed: 'n2' } },
  promoteMember: {
    args: ['n2'],
    result: { promoted: 'n2', changed: true, voters: 2, warnings: ['two'] },
  },
  setMember: {
    args: [{ name: 'n2', priority: -3, address: null, draining: false, force: true }],
    result: { name: 'n2', changed: true },
  },
  saveSnapshot: {
    args: [],
    result: { index: 2 ** 40, term: 3, state: Buffer.from([0, 255]) },
  },
  canStop: { args: [null], result: { ok: false, reason: 'two voters' } },
  transfer: { args: ['n2'], result: { leader: 'n2' } },
  listCertificates: { args: [], result: [{ name: 'a', nodeId: 'x', expires: null }] },
  renewCertificate: { args: [], result: { name: 'a', nodeId: 'x', expires: '2027' } },
  admit: {
    args: [
      {
        ...{ token: 't', name: 'n', address: 'h:1', role: 'witness', csr: 'c', version: 'v' },
        ...{ formatVersion: 1, replace: null },
      },
    ],
    result: {
      ...{ clusterId: 'c', clusterName: 'n', nodeId: 'i', certificate: 'p', caCertificate: 'q' },
      caKey: null,
      vips: [
        { address: '10.0.0.1', interface: null },
        { address: '::1', interface: 'eth0' },
      ],
      members: [{ id: 'a', name: 'n', address: 'h:1', publicKeyHash: 'f' }],
      already: true,
    },
  },
  report: {
    args: [
      {
        ...{ nodeId: 'b', version: 'v', formatVersion: 1, address: 'h:1', certExpires: 'e' },
        macs: ['m'],
      },
    ],
    result: undefined,
  },
  observe: {
    args: [
      {
        nodeId: 'b',
        term: 4,
        ageMs: 12.5,
        observations: [{ address: '10.0.0.100', reached: false, reason: 'no ARP answer' }],
      },
    ],
    result: undefined,
  },
  signCertificate: { args: [{ nodeId: 'b', csr: 'c' }], result: { certificate: 'p' } },
};

/** Answers as in the samples and remembers what it was asked. */
function recording(asked: [OperationName, unknown][]): Operations {
  const answer = async <K extends OperationName>(
    name: K,
    args: Parameters<Operations[K]>,
  ): Promise<OperationResult<K>> => {
    asked.push([name, args]);
    const sample: { readonly result: OperationResult<K> } = samples[name];
    return sample.result;
  };
  return operationsBy(answer);
}

function ask(operations: Operations, name: OperationName): Promise<unknown> {
  const method = operations[name] as (...args: readonly unknown[]) => Promise<unknown>;
  return method(...samples[name].args);
}

/** What `from` may ask of `to`, over mutual TLS, as if `from` forwarded it. */
function remote(from: TestNode, to: TestNode) {
  const tls = new NodeTls(from.material);
  return memberClient({ tls, clock, peer: to.peer, onTimeAlarm: () => undefined });
}

test('every operation arrives between members as it was asked and answered', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const asked: [OperationName, unknown][] = [];
  const a = await cluster.start({ id: 'a', operations: recording(asked) });
  const b = await cluster.start({ id: 'b' });
  const client = remote(b, a);
  t.after(() => client.close());

  for (const name of operationNames) {
    assert.deepEqual(await ask(client, name), samples[name].result, name);
  }

  assert.deepEqual(
    asked,
    operationNames.map((name) => [name, samples[name].args]),
  );
});

test(
  'the local socket offers everything but what members ask of each other',
  options,
  async (t) => {
    const cluster = await TestCluster.create();
    t.after(() => cluster.close());
    const a = await cluster.start({ id: 'a', operations: recording([]) });
    const client = await connectAdmin({ socketPath: a.socketPath, clock });
    t.after(() => client.close());
    const memberOnly = ['admit', 'report', 'observe', 'signCertificate'];

    for (const name of operationNames) {
      if (memberOnly.includes(name)) {
        await assert.rejects(ask(client, name), hasCode('permission-denied'), name);
      } else {
        assert.deepEqual(await ask(client, name), samples[name].result, name);
      }
    }
    assert.equal(statSync(a.socketPath).mode & 0o777, 0o600);
  },
);

test('the group may read; others are told that they may not', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const access = { now: 'read' as 'read' | 'none' };
  const peerOf = () => ({ uid: 1_000, access: access.now });
  const a = await cluster.start({ id: 'a', operations: recording([]), peerOf });
  const readable = ['status', 'getSpec', 'listTokens', 'listCertificates', 'canStop'];

  const reader = await connectAdmin({ socketPath: a.socketPath, clock });
  for (const name of operationNames) {
    if (readable.includes(name)) await ask(reader, name);
    else await assert.rejects(ask(reader, name), hasCode('permission-denied'), name);
  }
  reader.close();
  access.now = 'none';
  const stranger = await connectAdmin({ socketPath: a.socketPath, clock });
  for (const name of operationNames) {
    await assert.rejects(ask(stranger, name), hasCode('permission-denied'), name);
  }
  stranger.close();
});

test('an error arrives with code, hint and facts, however large they are', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const problems = ['spec.vips[0]: ü', 'spec.vips[1]: …'];
  const a = await cluster.start({
    id: 'a',
    operations: {
      applySpec: () =>
        Promise.reject(
          new OperatingError({
            ...{ code: 'spec-invalid', message: 'the spec is not valid', hint: 'correct it' },
            facts: { problems },
          }),
        ),
      revokeToken: (id) =>
        Promise.reject(
          new OperatingError({
            ...{ code: 'token-unknown', message: `no ${id}`, facts: { huge: 'x'.repeat(20_000) } },
          }),
        ),
      canStop: () => Promise.reject(new TypeError('broken')),
    },
  });
  const client = await connectAdmin({ socketPath: a.socketPath, clock });
  t.after(() => client.close());

  await assert.rejects(ask(client, 'applySpec'), (error) => {
    assert.ok(error instanceof OperatingError);
    const { code, message, hint, facts } = error;
    assert.deepEqual(
      { code, message, hint, facts },
      {
        ...{ code: 'spec-invalid', message: 'the spec is not valid', hint: 'correct it' },
        facts: { problems },
      },
    );
    return true;
  });
  await assert.rejects(client.revokeToken('y'.repeat(30_000)), hasCode('token-unknown'));
  await assert.rejects(client.canStop(null), hasCode('internal'));
});

test('a follower asks the leader, once', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const asked: [OperationName, unknown][] = [];
  const refusing = operationsBy(() => Promise.reject(notLeader({ id: 'a' })));
  await cluster.start({ id: 'a', operations: recording(asked) });
  const b = await cluster.start({ id: 'b', operations: refusing });
  const c = await cluster.start({ id: 'c' });
  cluster.connect();
  const client = await connectAdmin({ socketPath: b.socketPath, clock });
  const forwarded = remote(c, b);
  t.after(() => {
    client.close();
    forwarded.close();
  });

  assert.deepEqual(await client.transfer('n2'), { leader: 'n2' });
  assert.deepEqual(await b.rpc.operations.canStop(null), samples.canStop.result);
  await assert.rejects(forwarded.transfer('n2'), hasCode('not-leader'));

  assert.deepEqual(asked, [
    ['transfer', ['n2']],
    ['canStop', [null]],
  ]);
});

test('operationsOf() asks one member and nobody else', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({ id: 'a', operations: recording([]) });
  const b = await cluster.start({
    id: 'b',
    operations: { transfer: () => Promise.reject(notLeader({ id: 'a' })) },
  });
  cluster.connect();

  await assert.rejects(a.rpc.operationsOf('b').transfer(null), hasCode('not-leader'));
  assert.deepEqual(await b.rpc.operationsOf('a').transfer(null), samples.transfer.result);
  assert.deepEqual(await a.rpc.operationsOf('a').transfer(null), samples.transfer.result);
  await assert.rejects(a.rpc.operationsOf('x').transfer(null), hasCode('peer-unreachable'));
});

test('a request waits out an election and then reaches the new leader', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  let elected: string | null = null;
  await cluster.start({ id: 'a', operations: recording([]) });
  const b = await cluster.start({
    id: 'b',
    operations: {
      transfer: () => Promise.reject(notLeader(elected === null ? null : { id: elected })),
    },
  });
  cluster.connect();
  const client = await connectAdmin({ socketPath: b.socketPath, clock });
  t.after(() => client.close());

  const answer = client.transfer(null);
  setTimeout(() => (elected = 'a'), 200);

  assert.deepEqual(await answer, samples.transfer.result);
});

test('two followers that name each other ask each other once at a time', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  let hops = 0;
  // Each asks the other by itself, as reads do, until it is told that it need not any more.
  const follower = (id: string, other: string) => ({
    id,
    operations: {
      canStop: (name: string | null) =>
        defined(cluster.nodes.get(id), id).rpc.operationsOf(other).canStop(name),
    },
    forwarded: {
      canStop: async () => {
        hops += 1;
        if (hops > 2) return samples.canStop.result;
        throw notLeader({ id: other });
      },
    },
  });
  const a = await cluster.start(follower('a', 'b'));
  await cluster.start(follower('b', 'a'));
  cluster.connect();

  assert.deepEqual(await a.rpc.operations.canStop(null), samples.canStop.result);
  // By itself, as the leader's forwarder, and after a while by itself again.
  assert.equal(hops, 3);
});

test('without a leader the answer is that there is none', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({
    id: 'a',
    operations: { transfer: () => Promise.reject(notLeader(null)) },
  });
  const client = await connectAdmin({ socketPath: a.socketPath, clock });
  t.after(() => client.close());

  await assert.rejects(client.transfer(null), hasCode('not-leader'));
});

test('a member speaks only for itself, and who is no member for nobody', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({ id: 'a', operations: recording([]) });
  const c = await cluster.start({ id: 'c' });
  const asMember = remote(c, a);
  cluster.nodes.delete('c');
  const asNobody = remote(c, a);
  t.after(async () => {
    asMember.close();
    asNobody.close();
    await c.rpc.close();
  });

  await assert.rejects(asNobody.status({ linearizable: false }), hasCode('permission-denied'));
  cluster.nodes.set('c', c);
  await asMember.status({ linearizable: false });
  await assert.rejects(ask(asMember, 'report'), hasCode('permission-denied'));
  await assert.rejects(ask(asMember, 'observe'), hasCode('permission-denied'));
  await assert.rejects(ask(asMember, 'signCertificate'), hasCode('permission-denied'));
});

test('connectAdmin() says that the agent is down', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const socketPath = join(cluster.folder, 'nobody.sock');

  await assert.rejects(connectAdmin({ socketPath, clock }), hasCode('agent-down'));
});

test('status gives a stalled agent a quarter of a second', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({
    id: 'a',
    operations: { status: () => new Promise<never>(() => undefined) },
  });
  const client = await connectAdmin({ socketPath: a.socketPath, clock });
  t.after(() => client.close());
  const begunAt = performance.now();

  await assert.rejects(client.status({ linearizable: false }), hasCode('timeout'));

  assert.ok(performance.now() - begunAt < 600);
});

test(
  'the socket of a killed agent is replaced, that of a living one is not',
  options,
  async (t) => {
    const cluster = await TestCluster.create();
    t.after(() => cluster.close());
    const a = await cluster.start({ id: 'a', operations: recording([]) });
    const material = await cluster.material('a');

    await assert.rejects(cluster.start({ id: 'a', material }), hasCode('agent-running'));
    await a.rpc.close();
    await leaveStaleSocket(a.socketPath);
    const again = await cluster.start({ id: 'a', operations: operationsOf({}) });

    const client = await connectAdmin({ socketPath: again.socketPath, clock });
    await assert.rejects(client.canStop(null), hasCode('not-in-this-test'));
    client.close();
  },
);

test('a file that is no socket is left alone', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  writeFileSync(join(cluster.folder, 'a.sock'), 'precious');

  await assert.rejects(cluster.start({ id: 'a' }), hasCode('socket-failed'));
});

test('a port in use is named with the way to find its user', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({ id: 'a' });
  const listenPort = a.rpc.port ?? 0;

  await assert.rejects(cluster.start({ id: 'b', listenPort }), (error) => {
    hasCode('port-in-use')(error);
    assert.ok(error instanceof OperatingError);
    assert.match(error.line, new RegExp(`:${listenPort} is in use.*ss -ltnp`));
    return true;
  });
});

test('a socket path that is too long is named', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const long = 'x'.repeat(120);
  mkdirSync(join(cluster.folder, long));

  await assert.rejects(cluster.start({ id: `${long}/a` }), (error) => {
    assert.ok(error instanceof OperatingError);
    return true;
  });
});

/** Leaves a socket that nobody listens on, as SIGKILL does: a moved one is not cleaned up. */
async function leaveStaleSocket(path: string): Promise<void> {
  const { renameSync } = await import('node:fs');
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen({ path: `${path}.first` }, resolve));
  renameSync(`${path}.first`, path);
  await new Promise<void>((resolve) => server.close(() => resolve()));
}
