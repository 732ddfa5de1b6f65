/**
 * The lease and the promise, rule by rule: first their arithmetic, then one core, then a cluster.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { electionTimeout, retryAfter } from '../../src/raft/election.ts';
import {
  LeaderLease,
  leaseLength,
  maxOutstandingRounds,
  VotePromise,
} from '../../src/raft/lease.ts';
import type { Millis } from '../../src/raft/types.ts';
import { lan, Network } from './network.ts';
import {
  acks,
  append,
  echo,
  echoes,
  grant,
  heartbeat,
  names,
  ofType,
  only,
  Solo,
  vote,
  voteReply,
} from './solo.ts';
import { MemoryLog } from './storage.ts';

const drift = 0.01;

test('leaseLength() is what two clocks at the bound leave of a promise', () => {
  const rows: readonly [Millis, number, Millis][] = [
    [230, 0.01, 225],
    [400, 0.01, 392],
    [600, 0.01, 588],
    [100, 0, 100],
    [100, 0.1, 81],
  ];
  for (const [promise, rho, want] of rows) assert.equal(leaseLength(promise, rho), want);
});

test('a lease counts from the send of the round that a quorum echoed', () => {
  const lease = new LeaderLease(1_000, drift);
  assert.equal(lease.deadline, 0);
  const first = lease.start(1_000, 230);
  const second = lease.start(1_030, 230);

  lease.acknowledged(first);
  assert.deepEqual([lease.deadline, lease.provenAt], [1_225, 1_000]);
  lease.acknowledged(second);
  assert.deepEqual([lease.deadline, lease.provenAt], [1_255, 1_030]);
  lease.acknowledged(first);
  assert.equal(lease.deadline, 1_255);
});

test('a round that was never sent, or long ago, proves nothing', () => {
  const lease = new LeaderLease(1_000, drift);
  lease.acknowledged(0);
  lease.acknowledged(7);
  assert.equal(lease.deadline, 0);
  for (let i = 0; i < 40; i++) lease.start(1_000 + i * 30, 230);
  assert.equal(lease.lastRound, 40);
  lease.acknowledged(1);
  assert.ok(lease.deadline <= 1_225);
});

test('an echo of a short round does not prove the promise of an earlier, longer one', () => {
  const lease = new LeaderLease(1_000, drift);
  const long = lease.start(1_000, 5_000);
  const short = lease.start(1_050, 100);
  assert.equal(short, 2);

  // Of the quorum that is known to have echoed the long round, one may have echoed only the short.
  lease.acknowledged(long);

  assert.equal(lease.deadline, 1_050 + leaseLength(100, drift));
});

test('a shorter round does not take back what a quorum promised before it', () => {
  const lease = new LeaderLease(1_000, drift);
  lease.acknowledged(lease.start(1_000, 5_000));
  const { deadline } = lease;
  lease.acknowledged(lease.start(1_050, 100));
  assert.equal(lease.deadline, deadline);
});

test('a change of configuration cuts the lease to what its members have echoed', () => {
  const lease = new LeaderLease(1_000, drift);
  const first = lease.start(1_000, 230);
  const second = lease.start(1_030, 230);
  lease.acknowledged(second);
  lease.reconsider(first);
  assert.equal(lease.deadline, 1_225);
  lease.reconsider(0);
  assert.equal(lease.deadline, 0);
});

test('a released lease stays released whatever is echoed later', () => {
  const lease = new LeaderLease(1_000, drift);
  const round = lease.start(1_000, 230);
  lease.release();
  lease.acknowledged(round);
  assert.deepEqual([lease.deadline, lease.released], [0, true]);
});

test('more unanswered rounds than the limit only shorten the lease', () => {
  const lease = new LeaderLease(0, drift);
  for (let i = 0; i < 2 * maxOutstandingRounds; i++) lease.start(i / 1_000, 5_000);
  lease.acknowledged(1);
  assert.equal(lease.deadline, 0);
  lease.acknowledged(lease.lastRound);
  assert.ok(lease.deadline > 4_000);
});

test('a promise grows, never shrinks, and ends by the release of exactly its leader', () => {
  const promise = new VotePromise(0, 0, drift);
  promise.make(500, 3, 'b');
  promise.make(400, 3, 'b');
  assert.equal(promise.remaining(100), 400);
  assert.equal(promise.remaining(100.5), 400);
  promise.release({ term: 3, leader: 'c' });
  promise.release({ term: 2, leader: 'b' });
  assert.equal(promise.remaining(100), 400);
  promise.release({ term: 3, leader: 'b' });
  assert.equal(promise.remaining(100), 0);
});

test('what an earlier process may have promised outlasts every release (R2)', () => {
  const promise = new VotePromise(1_000, 400, drift);
  assert.equal(promise.until, 1_408);
  promise.make(1_100, 3, 'b');
  promise.release({ term: 3, leader: 'b' });
  assert.equal(promise.remaining(1_000), 408);
});

test('electionTimeout() spreads, prefers and holds the ineligible back by E/2', () => {
  const base = { promiseMs: 230, jitterMs: 60, draw: 0.5, eligible: true, priority: 0 };
  assert.equal(electionTimeout(base), 260);
  assert.equal(electionTimeout({ ...base, eligible: false }), 375);
  assert.equal(electionTimeout({ ...base, priority: 10 }), 245);
  assert.equal(electionTimeout({ ...base, priority: 1_000 }), 245);
  assert.equal(electionTimeout({ ...base, priority: -10 }), 320);
  assert.equal(electionTimeout({ ...base, priority: -1_000 }), 320);
});

test('electionTimeout() of no priority keeps the only candidate waiting for long', () => {
  const base = { promiseMs: 230, jitterMs: 60 };
  for (let priority = -12; priority <= 12; priority++) {
    for (const draw of [0, 0.5, 1 - Number.EPSILON]) {
      for (const eligible of [true, false]) {
        const timeout = electionTimeout({ ...base, draw, eligible, priority });
        assert.ok(timeout >= 230, `${priority} would campaign under its own promise`);
        assert.ok(timeout <= 230 + 2 * 60 + (eligible ? 0 : 115), `${priority} waits ${timeout}`);
      }
    }
  }
});

test('retryAfter() waits for as many promises as are needed, and not for ever', () => {
  const config = { incoming: names(5), outgoing: [] };
  const votes = new Map([['a', true]]);
  const owed = new Map([
    ['b', 90],
    ['c', 30],
    ['d', 60],
  ]);
  assert.equal(retryAfter(config, votes, owed), 60);
  assert.equal(retryAfter(config, votes, new Map([['b', 90]])), undefined);
  assert.equal(retryAfter(config, new Map([...votes, ['e', true]]), owed), 30);
});

// One core.

test('R1: under a promise no vote and no pre-vote is given, and the term stays', () => {
  for (const type of ['vote', 'pre-vote'] as const) {
    const solo = Solo.of(3);
    solo.step(heartbeat({ term: 2 }));
    solo.pass(100);

    const reply = only(solo.step(vote({ type, from: 'c', term: 9, lastTerm: 9 })), `${type}-reply`);

    assert.deepEqual([reply.granted, reply.promiseRemainingMs, reply.term], [false, 130, 2]);
    assert.deepEqual([solo.term, solo.status.leader], [2, 'b']);
  }
});

test('R1: the promise outlives the known leader, the role and the term', () => {
  const solo = Solo.of(3);
  solo.step(heartbeat({ term: 2 }));
  solo.step(voteReply({ from: 'c', term: 6, granted: false }));
  assert.deepEqual([solo.term, solo.status.leader], [6, null]);

  const reply = only(solo.step(vote({ from: 'c', term: 7, lastTerm: 9 })), 'vote-reply');
  assert.equal(reply.granted, false);
  assert.equal(solo.term, 6);

  solo.now += 230;
  const later = only(solo.step(vote({ from: 'c', term: 7, lastTerm: 9 })), 'vote-reply');
  assert.equal(later.granted, true);
});

test('R1: under a promise nobody campaigns, not even when told to', () => {
  const solo = Solo.of(3);
  solo.step(heartbeat({ term: 2, promiseMs: 5_000 }));
  solo.step(heartbeat({ term: 2, promiseMs: 100, round: 2 }));
  solo.raft.campaign(solo.now);
  assert.deepEqual(solo.pass(4_999), []);
  assert.ok(ofType(solo.pass(200), 'pre-vote').length > 0);
});

test('R1: a leader refuses votes until its own deadline and keeps its term', () => {
  const solo = Solo.of(3);
  solo.step(...echoes(solo.lead()));
  assert.equal(solo.lease?.deadline, solo.now + 225);
  const { term } = solo;

  const reply = only(solo.step(vote({ from: 'c', term: 9, lastTerm: 9 })), 'vote-reply');

  assert.deepEqual([reply.granted, reply.promiseRemainingMs], [false, 225]);
  assert.deepEqual([solo.term, solo.role], [term, 'leader']);
});

test('R1: who led goes on being bound by its lease after it stepped down', () => {
  const solo = Solo.of(3);
  solo.step(...echoes(solo.lead()));
  solo.step(append({ from: 'c', term: 8 }));
  assert.equal(solo.role, 'follower');
  const reply = only(solo.step(vote({ from: 'b', term: 9, lastTerm: 9 })), 'vote-reply');
  assert.deepEqual([reply.granted, reply.promiseRemainingMs], [false, 225]);
});

test('R1: a leader without an echo yet is deposed by a vote but does not invite one', () => {
  const solo = Solo.of(3);
  solo.lead();
  const soft = vote({ type: 'pre-vote', from: 'c', term: 9, lastTerm: 9 });
  assert.equal(only(solo.step(soft), 'pre-vote-reply').granted, false);
  assert.equal(solo.role, 'leader');
  const hard = vote({ from: 'c', term: 9, lastTerm: 9 });
  assert.equal(only(solo.step(hard), 'vote-reply').granted, true);
  assert.equal(solo.role, 'follower');
});

test('R2: the longest promise is on disk before its first echo leaves, once', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  solo.step(append({ term: 2 }));
  raft.step(solo.now, heartbeat({ term: 2, promiseMs: 400 }));
  const first = raft.ready(solo.now);
  assert.equal(first.hard?.promiseMaxMs, 400);
  assert.equal(first.mustSync, true);
  assert.deepEqual(ofType(first.messages, 'heartbeat-reply'), []);
  assert.equal(ofType(first.afterAppend, 'heartbeat-reply').length, 1);
  solo.disk.write(first);
  raft.advance(solo.now);

  raft.step(solo.now, heartbeat({ term: 2, promiseMs: 400, round: 2 }));
  const second = raft.ready(solo.now);
  assert.equal(second.hard, undefined);
  assert.equal(second.mustSync, false);
  assert.equal(ofType(second.messages, 'heartbeat-reply').length, 1);
});

test('R2: after a restart nothing is granted before the longest promise has surely run out', () => {
  const solo = Solo.of(3);
  solo.step(heartbeat({ term: 2, promiseMs: 400 }));
  const again = new Solo(solo.disk);
  const ask = vote({ type: 'pre-vote', from: 'c', term: 9, lastTerm: 9 });
  assert.equal(only(again.step(ask), 'pre-vote-reply').promiseRemainingMs, 408);
  again.now += 408;
  assert.equal(only(again.step(ask), 'pre-vote-reply').granted, true);
});

test('R2: a longer promise is kept on disk until it has run out, then the shorter one', () => {
  const solo = Solo.of(3);
  const promised = (): number => solo.disk.hard.promiseMaxMs;
  solo.step(heartbeat({ term: 2, promiseMs: 600 }));
  solo.now += 100;
  solo.step(heartbeat({ term: 2, promiseMs: 400, round: 2 }));
  solo.now += 399;
  solo.step(heartbeat({ term: 2, promiseMs: 230, round: 3 }));
  assert.equal(promised(), 600);
  // 600 is over since 1,600 and 400 since 1,500; 230 binds until 1,729.
  solo.now += 101;
  solo.step(heartbeat({ term: 2, promiseMs: 230, round: 4 }));
  assert.equal(promised(), 230);

  // What a former process promised binds a little longer, and so does its mark.
  const again = new Solo(solo.disk);
  again.step(heartbeat({ term: 2, promiseMs: 150, round: 5 }));
  again.now += 234;
  again.step(heartbeat({ term: 2, promiseMs: 150, round: 6 }));
  assert.equal(promised(), 230);
  again.now += 1;
  again.step(heartbeat({ term: 2, promiseMs: 150, round: 7 }));
  assert.equal(promised(), 150);
});

test('R2: a promise in between is not forgotten with the longest', () => {
  const promise = new VotePromise(0, 0, 0.01);
  assert.equal(promise.echo(0, 600), 600);
  assert.equal(promise.echo(599, 400), 600);
  assert.equal(promise.echo(600, 230), 400);
  assert.equal(promise.echo(998, 230), 400);
  assert.equal(promise.echo(999, 230), 230);
});

test('R2: a longer promise waits for its own write behind a shorter one under way', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  solo.step(heartbeat({ term: 2, promiseMs: 600 }));
  solo.now += 600;
  raft.step(solo.now, heartbeat({ term: 2, promiseMs: 230, round: 2 }));
  const shorter = raft.ready(solo.now);
  assert.equal(shorter.hard?.promiseMaxMs, 230);
  assert.equal(shorter.mustSync, false);
  assert.equal(ofType(shorter.messages, 'heartbeat-reply').length, 1);

  raft.step(solo.now, heartbeat({ term: 2, promiseMs: 600, round: 3 }));
  const longer = raft.ready(solo.now);
  assert.equal(longer.mustSync, true);
  assert.deepEqual(ofType(longer.messages, 'heartbeat-reply'), []);
  assert.equal(ofType(longer.afterAppend, 'heartbeat-reply').length, 1);

  // The disk's word on the first is not its word on the second.
  raft.advance(solo.now);
  raft.step(solo.now, heartbeat({ term: 2, promiseMs: 600, round: 4 }));
  assert.deepEqual(ofType(raft.ready(solo.now).messages, 'heartbeat-reply'), []);
});

test('R2: who never promised anything does not wait', () => {
  const solo = Solo.of(1);
  solo.pass(0);
  assert.equal(solo.role, 'leader');
});

test('R3: an absurd promise is neither made nor echoed', () => {
  for (const promiseMs of [0, 99, 5_001, Number.NaN, Number.POSITIVE_INFINITY]) {
    const solo = Solo.of(3);
    assert.deepEqual(solo.step(heartbeat({ term: 2, promiseMs })), []);
    assert.equal(solo.status.promiseRemainingMs, 0);
    assert.equal(solo.disk.hard.promiseMaxMs, 0);
  }
});

test('R4: a leader waits for whatever a voter that granted still owed', () => {
  const solo = Solo.of(3);
  const [request] = solo.runForOffice();
  assert.ok(request);
  solo.step({ ...grant(request), promiseRemainingMs: 100 });
  assert.equal(solo.role, 'leader');
  assert.equal(solo.lease?.claimNotBefore, solo.now + 102);
});

test('R5: the own-term entry is reported only after it was handed out', () => {
  const solo = Solo.of(3);
  const sent = solo.lead();
  assert.equal(solo.lease?.ownTermCommitted, false);
  for (const ack of acks(sent, 'b')) solo.raft.step(solo.now, ack);
  const committing = solo.raft.ready(solo.now);
  assert.equal(committing.committed.length, 1);
  assert.equal(committing.lease.ownTermCommitted, false);
  solo.disk.write(committing);
  solo.raft.advance(solo.now);
  assert.equal(solo.raft.hasReady(), true);
  assert.equal(solo.raft.ready(solo.now).lease.ownTermCommitted, true);
});

test('R6: only echoes of this term by a quorum of voters make a lease', () => {
  const disk = MemoryLog.booted({ voters: names(3), learners: ['l'] });
  const solo = new Solo(disk);
  solo.lead();
  const { term } = solo;
  const round = 1;
  solo.step(echo({ from: 'l', term, round }), echo({ from: 'x', term, round }));
  solo.step(echo({ from: 'b', term: term - 1, round }), echo({ from: 'b', term, round: 99 }));
  assert.equal(solo.lease?.deadline, 0);
  solo.step(echo({ from: 'b', term, round }));
  assert.equal(solo.lease?.deadline, solo.now + 225);
});

test('R6: in a joint config both majorities must have echoed', () => {
  const voters = ['a', 'b', 'c'];
  const disk = MemoryLog.booted({ voters, votersOutgoing: ['a', 'd', 'e'], autoLeave: true });
  const solo = new Solo(disk);
  solo.lead();
  const { term } = solo;
  solo.step(echo({ from: 'b', term }), echo({ from: 'c', term }));
  assert.equal(solo.lease?.deadline, 0);
  solo.step(echo({ from: 'd', term }));
  assert.ok((solo.lease?.deadline ?? 0) > 0);
});

test('R9: a leader without an answered round sent within E steps down and is silent', () => {
  const solo = Solo.of(3);
  solo.lead();
  solo.pass(lan.promiseMs - 1);
  assert.equal(solo.role, 'leader');
  solo.pass(1);
  assert.equal(solo.role, 'follower');
  assert.deepEqual([solo.lease?.role, solo.lease?.deadline], ['follower', 0]);
  assert.deepEqual(ofType(solo.pass(lan.promiseMs - 1), 'heartbeat'), []);
});

test('R9: what counts is when the answered round was sent, not when the answer came', () => {
  const solo = Solo.of(3);
  const first = solo.lead();
  const elected = solo.now;
  solo.pass(200);
  solo.step(...echoes(first));
  solo.pass(29);
  assert.equal(solo.role, 'leader');
  solo.pass(1);
  assert.equal(solo.now, elected + lan.promiseMs);
  assert.equal(solo.role, 'follower');
});

test('a sole voter survives any stall, because nobody can replace it', () => {
  const solo = Solo.of(1);
  solo.pass(0);
  solo.now += 10_000;
  solo.raft.tick(solo.now);
  solo.drain();
  assert.equal(solo.role, 'leader');
  assert.equal(solo.lease?.deadline, solo.now + 225);
});

test('a refused pre-vote is asked again when the promise has run out, not a timeout later', () => {
  const solo = Solo.of(3);
  solo.raft.campaign(solo.now);
  const [request] = solo.drain();
  assert.ok(request);
  solo.step({ ...grant(request), granted: false, promiseRemainingMs: 70, term: solo.term });
  const wait = solo.raft.nextDeadline() - solo.now;
  assert.ok(wait >= 70 && wait <= 90, `${wait}`);
  assert.ok(ofType(solo.pass(wait), 'pre-vote').length > 0);
});

test('setEligibility() is echoed and holds the election timer back', () => {
  const solo = Solo.of(3);
  const before = solo.raft.nextDeadline();
  solo.raft.setEligibility({ eligible: false, reason: 'link down' });
  assert.equal(solo.raft.nextDeadline(), before + lan.promiseMs / 2);
  const reply = only(solo.step(heartbeat({ term: 2 })), 'heartbeat-reply');
  assert.deepEqual(reply.eligibility, { eligible: false, reason: 'link down' });
});

test('R1: a late heartbeat of an older term is answered and not echoed', () => {
  const solo = Solo.of(3);
  solo.step(heartbeat({ term: 7, round: 1 }));
  const reply = only(solo.step(heartbeat({ term: 5, round: 9 })), 'heartbeat-reply');
  assert.equal(reply.term, 7, 'its sender hears of the newer term');
  assert.equal(reply.round, 0, 'who leads again in term 7 must not count it for its ninth round');
});

// A cluster; the network checks after each event that no two leases are live.

test('a partitioned leader has lost its lease before the others elect', () => {
  for (let seed = 0; seed < 10; seed++) {
    const net = Network.ofVoters(names(3), { latencyMs: 1 + seed });
    const old = net.elect();
    net.run(500 + seed * 7);
    net.isolate(old.id);
    const took = net.runUntil(() => (net.holder() ?? old) !== old);
    assert.ok(took > 200 && took < 450, `${took}`);
    assert.ok(old.status(net.now).role !== 'leader' || old.lease.deadline <= net.now);
  }
});

test('a leader that can send but not hear steps down and is replaced', () => {
  const net = Network.ofVoters(names(3));
  const old = net.elect();
  net.run(300);
  for (const id of names(3)) if (id !== old.id) net.cut(id, old.id);
  net.runUntil(() => net.holder() !== undefined && net.holder() !== old, 3_000);
});

test('R9: a leader that hears nobody asks for less and less, so that its followers are soon free', () => {
  const net = Network.ofVoters(names(3));
  const old = net.elect();
  net.run(300);
  const { heartbeatMs, promiseMs, jitterMs } = lan;
  for (const id of names(3)) if (id !== old.id) net.cut(id, old.id);
  const deafSince = net.now;
  // Else its last round, E later, would bind them for another E.
  const patience = promiseMs + 3 * heartbeatMs + jitterMs + 20;
  net.runUntil(() => net.holder() !== undefined && net.holder() !== old, patience);
  assert.ok(net.now - deafSince < 2 * promiseMs);
});

test('a node that can hear nobody never disturbs the others', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  const { term } = leader.status(net.now);
  const deaf = names(3).find((id) => id !== leader.id) ?? assert.fail();
  for (const id of names(3)) if (id !== deaf) net.cut(id, deaf);
  net.run(5_000);
  net.heal();
  net.run(2_000);
  assert.equal(net.holder(), leader);
  assert.equal(leader.status(net.now).term, term);
});

test('a partial partition in which two cannot see each other keeps one leader', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  const [x, y] = names(3).filter((id) => id !== leader.id);
  assert.ok(x && y);
  net.cut(x, y);
  net.cut(y, x);
  net.run(5_000);
  assert.equal(net.holder(), leader);
});

test('when the leader loses one of two followers to a bridge, the lease goes on', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  const { term } = leader.status(net.now);
  const other = names(3).find((id) => id !== leader.id) ?? assert.fail();
  net.cut(leader.id, other);
  net.cut(other, leader.id);
  for (let i = 0; i < 300; i++) {
    net.run(10);
    assert.equal(net.holder(), leader);
  }
  assert.equal(leader.status(net.now).term, term);
});

test('a changed E takes effect round by round', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  net.run(200);
  leader.raft.setTiming({ heartbeatMs: 75, promiseMs: 600, jitterMs: 200 });
  net.run(300);
  const { deadline } = leader.lease;
  assert.ok(deadline - net.now > 400, `${deadline - net.now}`);
  for (const node of net.nodes.values()) {
    if (node !== leader) assert.equal(node.disk.hard.promiseMaxMs, 600);
  }
});
