/** Handing leadership over (R8): to whom, when to let go, and what happens when it fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../src/raft/message.ts';
import type { TransferResult } from '../../src/raft/rawnode.ts';
import type { NodeId } from '../../src/raft/types.ts';
import { bytes, encodeChange, lan, Network, type TestNode } from './network.ts';
import { acks, append, echo, echoes, names, ofType, only, Solo, timeoutNow, vote } from './solo.ts';
import { MemoryLog } from './storage.ts';

/** A leader of three, heard and up to date everywhere. */
function leading(disk = MemoryLog.booted({ voters: names(3) })): Solo {
  const solo = new Solo(disk);
  const sent = solo.lead();
  solo.step(...echoes(sent), ...acks(sent));
  solo.step(...acks(solo.drain()));
  return solo;
}

function transfer(solo: Solo, to: NodeId): TransferResult {
  return solo.raft.transferLeader(solo.now, to);
}

function refusal(result: TransferResult): string {
  assert.equal(result.ok, false);
  return result.ok ? '' : result.reason;
}

test('a level target wants the release at once; only after it does anything leave', () => {
  const solo = leading();
  assert.deepEqual(transfer(solo, 'b'), { ok: true });
  assert.deepEqual(ofType(solo.drain(), 'timeout-now'), []);
  assert.equal(solo.lease?.wantsRelease, true);
  assert.ok((solo.lease?.deadline ?? 0) > 0);

  solo.raft.releaseLease(solo.now);
  const out = solo.drain();

  const release = { term: solo.term, leader: 'a' };
  assert.deepEqual([only(out, 'timeout-now').to, only(out, 'timeout-now').release], ['b', release]);
  assert.deepEqual(
    [only(out, 'lease-release').to, only(out, 'lease-release').release],
    ['c', release],
  );
  assert.deepEqual(
    [solo.lease?.deadline, solo.lease?.released, solo.lease?.wantsRelease],
    [0, true, false],
  );
});

test('a target that is behind is brought level first', () => {
  const solo = leading();
  solo.raft.propose(bytes('x'));
  const sent = solo.drain();
  assert.deepEqual(transfer(solo, 'b'), { ok: true });
  solo.drain();
  assert.equal(solo.lease?.wantsRelease, false);
  solo.step(...acks(sent, 'b'));
  assert.equal(solo.lease?.wantsRelease, true);
});

test('proposals are refused while leadership is on its way', () => {
  const solo = leading();
  transfer(solo, 'b');
  const result = solo.raft.propose(bytes('x'));
  assert.equal(!result.ok && result.reason, 'transferring');
});

test('a transfer is refused with its reason', () => {
  const follower = Solo.of(3);
  assert.match(refusal(transfer(follower, 'b')), /does not lead/);

  const solo = leading(MemoryLog.booted({ voters: names(3), learners: ['l'] }));
  assert.match(refusal(transfer(solo, 'z')), /not a member/);
  assert.match(refusal(transfer(solo, 'l')), /not a voter/);

  const unfit = { eligible: false, reason: 'draining' };
  solo.step(echo({ term: solo.term, round: 1, eligibility: unfit }));
  assert.match(refusal(transfer(solo, 'b')), /not eligible: draining/);

  solo.pass(2 * lan.heartbeatMs + 1);
  assert.match(refusal(transfer(solo, 'c')), /not heard within 2 heartbeats/);
});

test('a transfer is refused while a membership change is pending', () => {
  const solo = leading();
  const change = { mode: 'simple', changes: [{ type: 'add-learner', id: 'l' }] } as const;
  assert.ok(solo.raft.proposeConfChange(change, encodeChange(change)).ok);
  assert.match(refusal(transfer(solo, 'b')), /membership change/);
});

test('to oneself is fine and ends a transfer under way', () => {
  const solo = leading();
  assert.deepEqual(transfer(solo, 'a'), { ok: true });
  transfer(solo, 'b');
  assert.equal(solo.status.transferTarget, 'b');
  assert.deepEqual(transfer(solo, 'a'), { ok: true });
  assert.equal(solo.status.transferTarget, null);
  assert.ok(solo.raft.propose(bytes('x')).ok);
});

test('a second transfer to the same node changes nothing, to another replaces the first', () => {
  const solo = leading();
  transfer(solo, 'b');
  const due = solo.raft.nextDeadline();
  assert.deepEqual(transfer(solo, 'b'), { ok: true });
  assert.equal(solo.raft.nextDeadline(), due);
  assert.deepEqual(transfer(solo, 'c'), { ok: true });
  assert.equal(solo.status.transferTarget, 'c');
  solo.raft.releaseLease(solo.now);
  assert.equal(only(solo.drain(), 'timeout-now').to, 'c');
});

/** Lets `ms` pass while both followers echo every round. */
function passHeard(solo: Solo, ms: number): Message[] {
  const out: Message[] = [];
  for (let i = 0; i < ms; i += 10) {
    const sent = solo.pass(10);
    out.push(...sent, ...solo.step(...echoes(sent)));
  }
  return out;
}

test('a transfer that gets no release within E is given up, and proposals flow again', () => {
  const solo = leading();
  transfer(solo, 'b');
  passHeard(solo, lan.promiseMs - 10);
  assert.equal(solo.status.transferTarget, 'b');
  const out = passHeard(solo, 20);
  assert.equal(solo.status.transferTarget, null);
  assert.deepEqual(ofType(out, 'timeout-now'), []);
  assert.ok(solo.raft.propose(bytes('x')).ok);
  assert.equal(solo.lease?.wantsRelease, false);
});

test('after the release there is no way back, and in the end no leader', () => {
  const solo = leading();
  transfer(solo, 'b');
  solo.raft.releaseLease(solo.now);
  solo.step(echo({ term: solo.term, round: 1 }));
  assert.match(refusal(transfer(solo, 'a')), /given away/);
  const out = solo.pass(lan.promiseMs - 10);
  assert.deepEqual(ofType(out, 'heartbeat'), []);
  assert.ok(ofType(out, 'timeout-now').length > 3, 'what may be lost is said again');
  assert.equal(solo.lease?.deadline, 0);
  assert.equal(solo.role, 'leader');
  solo.pass(10);
  assert.equal(solo.role, 'follower');
});

test('a release without a target steps down and tells everybody', () => {
  const solo = leading();
  solo.raft.releaseLease(solo.now);
  const out = solo.drain();
  assert.deepEqual(
    ofType(out, 'lease-release').map((m) => m.to),
    ['b', 'c'],
  );
  assert.equal(solo.role, 'follower');
  assert.equal(solo.status.promiseRemainingMs, 0);
});

test('releaseLease() of a node that does not lead is nothing', () => {
  const solo = Solo.of(3);
  solo.raft.releaseLease(solo.now);
  assert.equal(solo.raft.hasReady(), false);
});

/** A follower of `b` in term 2 that has promised. */
function following(): Solo {
  const solo = Solo.of(3);
  solo.step({ ...echoless(), term: 2 });
  assert.equal(solo.status.promiseRemainingMs, lan.promiseMs);
  return solo;
}

function echoless(): Message {
  return {
    type: 'heartbeat',
    from: 'b',
    to: 'a',
    term: 2,
    round: 1,
    promiseMs: lan.promiseMs,
    commit: 1,
  };
}

const release = { term: 2, leader: 'b' };

test('TimeoutNow campaigns at once, without a pre-vote, and shows the release', () => {
  const solo = following();
  const out = solo.step(timeoutNow({ term: 2, release }));
  assert.deepEqual(ofType(out, 'pre-vote'), []);
  assert.deepEqual(
    ofType(out, 'vote').map((m) => [m.term, m.release]),
    [
      [3, release],
      [3, release],
    ],
  );
});

test('TimeoutNow of an older term, or to who still owes another leader, does nothing', () => {
  const late = following();
  late.step(append({ from: 'c', term: 3 }));
  assert.deepEqual(late.step(timeoutNow({ term: 2, release })), []);
  assert.equal(late.role, 'follower');

  const restarted = new Solo(following().disk);
  assert.deepEqual(ofType(restarted.step(timeoutNow({ term: 2, release })), 'vote'), []);
  assert.equal(restarted.role, 'follower');
});

test('a voter believes the release in a vote request, but only of exactly its leader', () => {
  const rows: readonly [{ term: number; leader: NodeId } | null, boolean][] = [
    [release, true],
    [null, false],
    [{ term: 1, leader: 'b' }, false],
    [{ term: 2, leader: 'c' }, false],
  ];
  for (const [shown, want] of rows) {
    const solo = following();
    const reply = only(solo.step(vote({ from: 'c', term: 3, release: shown })), 'vote-reply');
    assert.equal(reply.granted, want, JSON.stringify(shown));
    assert.equal(solo.term, want ? 3 : 2);
  }
});

test('a heartbeat that arrives after its leader let go makes no promise', () => {
  const solo = following();
  solo.step({ type: 'lease-release', from: 'b', to: 'a', term: 2, release });
  assert.equal(solo.status.promiseRemainingMs, 0);
  assert.deepEqual(solo.step({ ...echoless() }), []);
  assert.equal(solo.status.promiseRemainingMs, 0);
});

test('after a release without a successor somebody campaigns soon', () => {
  const solo = following();
  solo.step({ type: 'lease-release', from: 'b', to: 'a', term: 2, release });
  const wait = solo.raft.nextDeadline() - solo.now;
  assert.ok(wait >= lan.heartbeatMs && wait <= lan.heartbeatMs + lan.jitterMs, `${wait}`);
});

// A cluster.

function other(net: Network, than: TestNode): TestNode {
  for (const node of net.nodes.values()) if (node !== than) return node;
  assert.fail();
}

test('a transfer moves the lease in a few round trips and loses nothing', () => {
  const net = Network.ofVoters(names(3));
  const old = net.elect();
  net.run(200);
  for (let i = 0; i < 20; i++) net.propose(`p${i}`);
  const target = other(net, old);
  assert.deepEqual(old.raft.transferLeader(net.now, target.id), { ok: true });
  const took = net.runUntil(() => net.holder() === target);
  assert.ok(took <= 30, `${took}`);
  net.run(200);
  assert.equal(target.payloads().length, 20);
  assert.equal(old.status(net.now).leader, target.id);
});

test('a target that dies after the release costs one election, not the cluster', () => {
  const net = Network.ofVoters(names(3));
  const old = net.elect();
  net.run(200);
  const target = other(net, old);
  net.filter = (m) => m.type !== 'timeout-now';
  old.raft.transferLeader(net.now, target.id);
  net.run(10);
  net.crash(target.id);
  const took = net.runUntil(() => net.holder() !== undefined);
  assert.ok(took < 800, `${took}`);
});

test('a lost TimeoutNow is said again', () => {
  const net = Network.ofVoters(names(3));
  const old = net.elect();
  net.run(200);
  const target = other(net, old);
  let lost = 0;
  net.filter = (m) => m.type !== 'timeout-now' || lost++ > 0;
  old.raft.transferLeader(net.now, target.id);
  const took = net.runUntil(() => net.holder() === target);
  assert.ok(took < 100, `${took}`);
});

test('a transfer back and forth ends where it began', () => {
  const net = Network.ofVoters(names(3));
  const first = net.elect();
  net.run(200);
  const second = other(net, first);
  assert.ok(first.raft.transferLeader(net.now, second.id).ok);
  net.runUntil(() => net.holder() === second);
  net.run(200);
  assert.ok(second.raft.transferLeader(net.now, first.id).ok);
  net.runUntil(() => net.holder() === first);
});

test('no transfer finishes before the owner of the VIP has let go', () => {
  const net = Network.ofVoters(names(3), { autoRelease: false });
  const old = net.elect();
  net.run(200);
  assert.ok(old.raft.transferLeader(net.now, other(net, old).id).ok);
  net.run(1_000);
  assert.equal(net.holder(), old);
  assert.equal(ofType(net.sent, 'timeout-now').length, 0);
});
