/** The handshake gate: floods are turned away cheaply, counted, and logged now and then. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Clock } from '../../../src/base/clock.ts';
import type { Logger } from '../../../src/base/log.ts';
import { defaultGateLimits, type GateLimits, HandshakeGate } from '../../../src/rpc/gate.ts';
import { Refusals } from '../../../src/rpc/refusals.ts';
import { exchange, TestCluster, until } from './fixture.ts';

const limits: GateLimits = {
  stranger: { burst: 2, perSecond: 1 },
  strangers: { burst: 5, perSecond: 1 },
  member: { burst: 3, perSecond: 2 },
  pendingStrangers: 100,
  pendingMembers: 100,
  addresses: 4,
};

function enter(gate: HandshakeGate, address: string, now: number): boolean {
  const verdict = gate.enter(address, now);
  if (verdict.ok) verdict.done();
  return verdict.ok;
}

function count(times: number, attempt: () => boolean): number {
  return Array.from({ length: times }, attempt).filter(Boolean).length;
}

test('enter() grants an address its burst, then its rate', () => {
  const gate = new HandshakeGate(limits, 0);

  assert.equal(
    count(10, () => enter(gate, '10.0.0.9', 0)),
    2,
  );
  assert.equal(
    count(10, () => enter(gate, '10.0.0.9', 1_000)),
    1,
  );
});

test('strangers together cannot exceed their common bucket', () => {
  const gate = new HandshakeGate(limits, 0);

  const granted = ['1', '2', '3', '4'].map((host) => count(2, () => enter(gate, host, 0)));

  assert.deepEqual(granted, [2, 2, 1, 0]);
});

test('strangers cannot empty the bucket of a member, whatever form its address has', () => {
  const gate = new HandshakeGate(limits, 0);
  gate.setMembers(['10.0.0.1']);
  count(100, () => enter(gate, '10.0.0.9', 0));
  for (let host = 0; host < 100; host++) enter(gate, `10.1.0.${host}`, 0);

  assert.equal(
    count(10, () => enter(gate, '::ffff:10.0.0.1', 0)),
    3,
  );
});

test('handshakes that do not end are bounded', () => {
  const gate = new HandshakeGate({ ...defaultGateLimits, pendingStrangers: 2 }, 0);
  const first = gate.enter('a', 0);
  gate.enter('b', 0);

  assert.deepEqual(gate.enter('c', 0), { ok: false, reason: 'too-many-pending' });
  assert.ok(first.ok);
  first.done();
  first.done();
  assert.equal(gate.enter('c', 0).ok, true);
  assert.equal(gate.enter('d', 0).ok, false);
});

test('a reason is counted each time and logged once in ten seconds', () => {
  let now = 0;
  const clock: Clock = { now: () => now, wallNow: () => 0, after: () => ({ cancel() {} }) };
  const lines: unknown[] = [];
  const log: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (event, fields) => lines.push([event, fields]),
    error: () => undefined,
    child: () => log,
  };
  const refusals = new Refusals(clock, log, 'rpc.refused');

  for (let i = 0; i < 5; i++) refusals.note('flood', { from: '10.0.0.9' });
  refusals.count('hung-up');
  now = 10_000;
  refusals.note('flood', { from: '10.0.0.9' });

  const line = (times: number) => [
    'rpc.refused',
    { reason: 'flood', from: '10.0.0.9', count: times },
  ];
  assert.deepEqual(lines, [line(1), line(5)]);
  assert.deepEqual(refusals.totals(), { flood: 6, 'hung-up': 1 });
});

test('a scan of the port begins few handshakes, and members still talk', {
  timeout: 20_000,
}, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const gate = { ...defaultGateLimits, member: { burst: 40, perSecond: 40 } };
  const a = await cluster.start({ id: 'a' });
  const b = await cluster.start({ id: 'b', gate });
  cluster.connect();
  await exchange(a, b);

  const closed = Array.from({ length: 400 }, () => knock(b.rpc.port ?? 0));
  await exchange(a, b, 2);
  await Promise.all(closed);
  await until(() => (b.rpc.counters().refused['too-many-handshakes'] ?? 0) > 300);
  await exchange(a, b, 3);

  assert.equal(b.inbox.filter((message) => message.type === 'heartbeat').length >= 3, true);
});

/** Connects, says nothing, and resolves when the server hung up. */
function knock(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    socket.resume();
    socket.once('close', () => resolve());
  });
}
