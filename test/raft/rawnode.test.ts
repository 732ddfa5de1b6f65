/**
 * The contract of Ready: what goes to the disk when, what may leave before, what is handed out
 * once.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from '../../src/base/assert.ts';
import { maxWaitingReads } from '../../src/raft/readonly.ts';
import type { ConfChange } from '../../src/raft/types.ts';
import { bytes, encodeChange, lan, Network, text } from './network.ts';
import {
  acks,
  append,
  echoes,
  heartbeat,
  install,
  names,
  ofType,
  only,
  Solo,
  timeoutNow,
  vote,
} from './solo.ts';
import { entriesOf, MemoryLog } from './storage.ts';

function leading(count = 3): Solo {
  const solo = Solo.of(count);
  if (count === 1) {
    solo.pass(0);
    return solo;
  }
  const sent = solo.lead();
  solo.step(...echoes(sent), ...acks(sent));
  solo.step(...acks(solo.drain()));
  return solo;
}

test('a quiet node has nothing ready', () => {
  const { raft } = Solo.of(3);
  assert.equal(raft.hasReady(), false);
});

test('entries and hard state are handed out once, and again only if they change', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: entriesOf(2, 2, 2) }));
  const first = raft.ready(solo.now);
  assert.deepEqual([first.entries.length, first.hard?.term, first.mustSync], [2, 2, true]);

  raft.step(solo.now, append({ term: 2, prevIndex: 3, prevTerm: 2, entries: entriesOf(4, 2) }));
  const second = raft.ready(solo.now);
  assert.deepEqual(
    second.entries.map((entry) => entry.index),
    [4],
  );
  assert.equal(second.hard, undefined);
  assert.equal(raft.hasReady(), false);
});

test('a truncation takes back what the disk was given and replaces it', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: entriesOf(2, 2, 2) }));
  raft.ready(solo.now);
  raft.step(
    solo.now,
    append({ from: 'c', term: 3, prevIndex: 2, prevTerm: 2, entries: entriesOf(3, 3) }),
  );
  const second = raft.ready(solo.now);
  assert.deepEqual(second.entries, entriesOf(3, 3));
});

test('an acknowledgement waits for the disk, an echo only for the hard state', () => {
  const solo = Solo.of(3);
  solo.step(heartbeat({ term: 2 }));
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: entriesOf(2, 2) }));
  raft.step(solo.now, heartbeat({ term: 2, round: 2 }));
  const ready = raft.ready(solo.now);
  assert.deepEqual(
    ready.messages.map((m) => m.type),
    ['heartbeat-reply'],
  );
  assert.deepEqual(
    ready.afterAppend.map((m) => m.type),
    ['append-reply'],
  );
});

test('nothing of a new term leaves a follower before that term is on disk', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.step(solo.now, vote({ term: 5 }));
  const granting = raft.ready(solo.now);
  assert.deepEqual(granting.messages, []);
  assert.deepEqual(
    granting.afterAppend.map((m) => m.type),
    ['vote-reply'],
  );
  assert.deepEqual([granting.hard?.term, granting.hard?.vote], [5, 'b']);

  raft.step(solo.now, heartbeat({ term: 5, promiseMs: 100 }));
  const echoing = raft.ready(solo.now);
  assert.deepEqual(echoing.messages, []);
  assert.deepEqual(
    echoing.afterAppend.map((m) => m.type),
    ['heartbeat-reply'],
  );
});

test('a commit index alone needs no sync', () => {
  const solo = Solo.of(3);
  solo.step(append({ term: 2, entries: entriesOf(2, 2), commit: 1 }));
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, prevIndex: 2, prevTerm: 2, commit: 2 }));
  const ready = raft.ready(solo.now);
  assert.deepEqual([ready.hard?.commit, ready.mustSync], [2, false]);
  assert.equal(ready.committed.length, 1);
});

test('a committed entry is handed out only once it is durable here', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: entriesOf(2, 2, 2), commit: 3 }));
  const first = raft.ready(solo.now);
  assert.equal(first.hard?.commit, 3);
  assert.deepEqual(first.committed, []);
  solo.disk.write(first);
  raft.advance(solo.now);
  assert.deepEqual(raft.ready(solo.now).committed, entriesOf(2, 2, 2));
  assert.equal(raft.hasReady(), false);
});

test('committed entries come in pages of a message, in order, each once', () => {
  const disk = MemoryLog.booted({ voters: names(3) });
  disk.write({
    entries: entriesOf(2, ...Array.from({ length: 300 }, () => 1)).map((entry) => ({
      ...entry,
      data: bytes(`payload ${entry.index} of some length`),
    })),
    hard: { ...disk.hard, commit: 301 },
  });
  const solo = new Solo(disk);
  const first = solo.raft.ready(solo.now);
  assert.ok(first.committed.length > 1 && first.committed.length < 300);
  solo.raft.advance(solo.now);
  solo.applied.push(...first.committed);
  solo.drain();
  assert.deepEqual(
    solo.applied.map((entry) => entry.index),
    Array.from({ length: 300 }, (_, i) => i + 2),
  );
});

test('a restart hands out again what is committed behind the snapshot, and nothing else', () => {
  const solo = Solo.of(3);
  solo.step(append({ term: 2, entries: entriesOf(2, 2, 2, 2), commit: 3 }));
  const again = new Solo(solo.disk);
  again.drain();
  assert.deepEqual(
    again.applied.map((entry) => entry.index),
    [2, 3],
  );
  assert.deepEqual([again.term, again.status.commit, again.status.lastIndex], [2, 3, 4]);
});

test('a leader sends before its own disk has it, but counts itself only then', () => {
  const solo = leading();
  const { raft } = solo;
  const { commit } = solo.status;
  raft.propose(bytes('x'));
  const ready = raft.ready(solo.now);
  assert.equal(ofType(ready.messages, 'append').length, 2);
  for (const ack of acks(ready.messages, 'b')) raft.step(solo.now, ack);
  assert.equal(solo.status.commit, commit, 'one of three is on disk');
  solo.disk.write(ready);
  raft.advance(solo.now);
  assert.equal(solo.status.commit, commit + 1);
});

test('proposals of one turn leave in one append', () => {
  const solo = leading();
  for (let i = 0; i < 10; i++) solo.raft.propose(bytes(`${i}`));
  const sent = ofType(solo.drain(), 'append');
  assert.deepEqual(
    sent.map((m) => [m.to, m.entries.length]),
    [
      ['b', 10],
      ['c', 10],
    ],
  );
});

test('messages are cut to their size and the window bounds what is in flight', () => {
  const solo = new Solo(MemoryLog.booted({ voters: names(3) }), {
    maxMessageBytes: 100,
    maxInflightMessages: 4,
  });
  const sent = solo.lead();
  solo.step(...acks(sent));
  solo.drain();
  for (let i = 0; i < 10; i++) solo.raft.propose(new Uint8Array(90));
  const first = ofType(solo.drain(), 'append').filter((m) => m.to === 'b');
  assert.deepEqual(
    first.map((m) => m.entries.length),
    [1, 1, 1, 1],
  );
  const more = ofType(solo.step(...acks(first.slice(0, 2))), 'append').filter((m) => m.to === 'b');
  assert.equal(more.filter((m) => m.entries.length > 0).length, 2);
});

test('proposals beyond the bound are refused until some are applied', () => {
  const solo = new Solo(MemoryLog.booted({ voters: names(3) }), { maxUncommittedBytes: 100 });
  solo.step(...acks(solo.lead()));
  solo.drain();
  assert.ok(solo.raft.propose(new Uint8Array(500)).ok, 'one is always let through');
  const refused = solo.raft.propose(new Uint8Array(1));
  assert.deepEqual(!refused.ok && refused.reason, 'too-much-uncommitted');
  solo.step(...acks(solo.drain(), 'b'));
  assert.ok(solo.raft.propose(new Uint8Array(60)).ok);
});

test('who does not lead refuses proposals and says who does', () => {
  const solo = Solo.of(3);
  assert.deepEqual(solo.raft.propose(bytes('x')), {
    ok: false,
    reason: 'not-leader',
    leader: null,
  });
  solo.step(heartbeat({ term: 2 }));
  assert.deepEqual(solo.raft.propose(bytes('x')), { ok: false, reason: 'not-leader', leader: 'b' });
});

test('advance() without a Ready is a broken invariant', () => {
  const solo = Solo.of(3);
  assert.throws(() => solo.raft.advance(solo.now), InvariantViolation);
});

test('the same inputs give the same outputs', () => {
  const trace = (): string => {
    const net = Network.ofVoters(names(5), { latencyMs: 3 });
    const leader = net.elect();
    net.propose('x');
    net.run(100);
    net.crash(leader.id);
    net.run(1_000);
    return JSON.stringify(net.sent);
  };
  assert.equal(trace(), trace());
});

// Reads.

test('a read is confirmed by a round that began after it, at the commit index of its time', () => {
  const solo = leading();
  const { commit } = solo.status;
  solo.now += 5;
  assert.deepEqual(solo.raft.readIndex(7), { ok: true });
  const round = solo.drain();
  assert.equal(ofType(round, 'heartbeat').length, 2, 'it does not wait for the next heartbeat');
  assert.deepEqual(solo.reads, []);
  solo.step(...echoes(round).slice(0, 1));
  assert.deepEqual(solo.reads, [{ context: 7, index: commit }]);
});

test('reads that come during a round share the next one', () => {
  const solo = leading();
  solo.raft.readIndex(1);
  const first = solo.drain();
  solo.raft.readIndex(2);
  solo.raft.readIndex(3);
  assert.deepEqual(solo.drain(), []);
  const second = solo.step(...echoes(first));
  assert.deepEqual(
    solo.reads.map((read) => read.context),
    [1],
  );
  assert.equal(ofType(second, 'heartbeat').length, 2);
  solo.step(...echoes(second));
  assert.deepEqual(
    solo.reads.map((read) => read.context),
    [1, 2, 3],
  );
});

test('a sole voter confirms a read by itself', () => {
  const solo = leading(1);
  solo.raft.readIndex(1);
  solo.drain();
  assert.deepEqual(solo.reads, [{ context: 1, index: solo.status.commit }]);
});

test('reads fail with the leadership that they were asked of', () => {
  const solo = leading();
  solo.raft.readIndex(1);
  solo.drain();
  solo.raft.readIndex(2);
  solo.step(append({ term: solo.term + 1 }));
  assert.deepEqual(solo.failedReads, [1, 2]);
  assert.deepEqual(solo.raft.readIndex(3), { ok: false, reason: 'not-leader' });
});

test('a new leader confirms no read before it has committed in its own term', () => {
  const solo = Solo.of(3);
  const sent = solo.lead();
  assert.deepEqual(solo.raft.readIndex(1), { ok: false, reason: 'not-ready' });
  solo.step(...acks(sent, 'b'));
  assert.deepEqual(solo.raft.readIndex(1), { ok: true });
});

test('too many waiting reads are refused', () => {
  const solo = leading();
  for (let i = 0; i < maxWaitingReads; i++) assert.ok(solo.raft.readIndex(i).ok);
  assert.deepEqual(solo.raft.readIndex(0), { ok: false, reason: 'not-ready' });
});

// Members.

const addLearner: ConfChange = { mode: 'simple', changes: [{ type: 'add-learner', id: 'd' }] };

test('one membership change at a time, and only after the last one was applied', () => {
  const solo = leading();
  const { raft } = solo;
  assert.ok(raft.proposeConfChange(addLearner, encodeChange(addLearner)).ok);
  const again = raft.proposeConfChange(addLearner, encodeChange(addLearner));
  assert.equal(!again.ok && again.reason, 'conf-change-pending');
  const proposed = raft.ready(solo.now);
  solo.disk.write(proposed);
  raft.advance(solo.now);
  for (const ack of acks(proposed.messages, 'b')) raft.step(solo.now, ack);
  const committed = raft.ready(solo.now);
  assert.equal(committed.committed[0]?.type, 'conf-change');
  const early = raft.proposeConfChange(addLearner, encodeChange(addLearner));
  assert.equal(!early.ok && early.reason, 'conf-change-pending', 'handed out is not applied');
  assert.deepEqual(raft.applyConfChange(solo.now, addLearner).learners, ['d']);
  assert.ok(raft.proposeConfChange(addLearner, encodeChange(addLearner)).ok);
});

test('a change that turned out void frees the way', () => {
  const solo = leading(1);
  const { raft } = solo;
  assert.ok(raft.proposeConfChange(addLearner, encodeChange(addLearner)).ok);
  for (let ready = raft.ready(solo.now); ; ready = raft.ready(solo.now)) {
    solo.disk.write(ready);
    raft.advance(solo.now);
    if (ready.committed.length > 0) break;
  }
  assert.equal(solo.status.pendingConfChange, true);
  raft.rejectConfChange();
  assert.equal(solo.status.pendingConfChange, false);
  assert.deepEqual(solo.status.config.learners, []);
});

test('an impossible change is refused before it gets into the log', () => {
  const solo = leading();
  const { lastIndex } = solo.status;
  const two: ConfChange = {
    mode: 'simple',
    changes: [
      { type: 'remove', id: 'b' },
      { type: 'remove', id: 'c' },
    ],
  };
  const result = solo.raft.proposeConfChange(two, encodeChange(two));
  assert.equal(!result.ok && result.reason, 'invalid-change');
  assert.match((!result.ok && result.detail) || '', /at most one voter/);
  assert.equal(solo.status.lastIndex, lastIndex);
});

test('a joint config is left by itself, with an empty entry that means just that', () => {
  const net = Network.ofVoters(names(3));
  net.elect();
  for (const id of ['d', 'e']) net.add(id, new MemoryLog());
  const swap: ConfChange = {
    mode: 'joint',
    changes: [
      { type: 'add-voter', id: 'd' },
      { type: 'add-voter', id: 'e' },
      { type: 'remove', id: net.leader()?.id === 'a' ? 'b' : 'a' },
    ],
  };
  net.changeConfig(swap);
  net.run(1_000);
  const config = net.leader()?.status(net.now).config;
  assert.equal(config?.voters.length, 4);
  assert.deepEqual(config?.votersOutgoing, []);
  for (const id of config?.voters ?? []) assert.deepEqual(net.configOf(id), config);
});

test('a joint config is left by the next leader if the first one dies in it', () => {
  const net = Network.ofVoters(names(3));
  const first = net.elect();
  net.add('d', new MemoryLog());
  net.run(100);
  net.filter = (m) =>
    m.type !== 'append' || !m.entries.some((e) => e.type === 'conf-change' && e.data.length === 0);
  net.changeConfig({ mode: 'joint', changes: [{ type: 'add-voter', id: 'd' }] });
  net.run(300);
  net.crash(first.id);
  net.filter = () => true;
  net.runUntil(() => net.holder() !== undefined, 3_000);
  net.run(500);
  assert.deepEqual(net.leader()?.status(net.now).config.votersOutgoing, []);
  assert.deepEqual(net.leader()?.status(net.now).config.voters, ['a', 'b', 'c', 'd']);
});

test('a leader that removed itself steps down once that is committed, and another follows', () => {
  const net = Network.ofVoters(names(3));
  const first = net.elect();
  net.run(100);
  net.changeConfig({ mode: 'simple', changes: [{ type: 'remove', id: first.id }] });
  net.run(50);
  assert.equal(first.status(net.now).role, 'follower');
  assert.equal(first.lease.deadline, 0);
  net.runUntil(() => net.holder() !== undefined, 2_000);
  assert.notEqual(net.holder(), first);
  net.propose('after');
  net.run(2_000);
  assert.equal(first.status(net.now).role, 'follower', 'a removed node does not campaign');
});

test('a learner replicates and promises but neither counts nor campaigns', () => {
  const net = new Network();
  for (const id of ['a', 'b', 'l'])
    net.add(id, MemoryLog.booted({ voters: ['a', 'b'], learners: ['l'] }));
  net.elect();
  net.propose('x');
  net.run(200);
  const learner = net.node('l');
  assert.deepEqual(learner.payloads(), ['x']);
  assert.ok(learner.status(net.now).promiseRemainingMs > 0);
  net.crash('a');
  net.crash('b');
  net.run(3_000);
  assert.equal(learner.status(net.now).role, 'follower');
});

test('promoting a learner that has been heard does not interrupt the lease', () => {
  const net = Network.ofVoters(['a']);
  net.runUntil(() => net.holder() !== undefined);
  net.run(10);
  net.add('b', new MemoryLog());
  net.changeConfig({ mode: 'simple', changes: [{ type: 'add-learner', id: 'b' }] });
  net.run(300);
  net.changeConfig({ mode: 'simple', changes: [{ type: 'add-voter', id: 'b' }] });
  for (let i = 0; i < 200; i++) {
    net.run(1);
    assert.equal(net.holder()?.id, 'a');
  }
  assert.deepEqual(net.configOf('a').voters, ['a', 'b']);
});

// Snapshots.

test('who is behind the log gets the snapshot and then the rest', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  const late = names(3).find((id) => id !== leader.id) ?? assert.fail();
  net.crash(late);
  for (let i = 0; i < 30; i++) {
    net.propose(`p${i}`);
    net.run(5);
  }
  net.run(50);
  net.compact(leader.id);
  net.propose('after');
  net.restart(late);
  net.run(1_000);
  const node = net.node(late);
  assert.equal(ofType(net.sent, 'snapshot').length, 1);
  assert.deepEqual(node.payloads(), ['after']);
  assert.equal(node.status(net.now).lastIndex, leader.status(net.now).lastIndex);
});

test('a snapshot is handed out before anything behind it, and acknowledged once durable', () => {
  const solo = Solo.of(3, 1);
  const { raft } = solo;
  const config = { ...solo.status.config, learners: ['z'] };
  const snapshot = { meta: { index: 9, term: 2, config }, data: bytes('state') };
  raft.step(solo.now, install({ term: 3, snapshot }));
  raft.step(
    solo.now,
    append({ term: 3, prevIndex: 9, prevTerm: 2, entries: entriesOf(10, 3), commit: 10 }),
  );
  const ready = raft.ready(solo.now);
  assert.equal(text(ready.snapshot?.data ?? bytes('')), 'state');
  assert.deepEqual([ready.entries, ready.committed, ready.mustSync], [entriesOf(10, 3), [], true]);
  assert.deepEqual(ready.messages, []);
  assert.deepEqual(
    ofType(ready.afterAppend, 'append-reply').map((m) => m.index),
    [9, 10],
  );
  solo.disk.write(ready);
  raft.advance(solo.now);
  assert.deepEqual(raft.ready(solo.now).committed, entriesOf(10, 3));
  assert.deepEqual(solo.status.config, config);
});

test('a snapshot that is behind, or that the log contains, throws nothing away', () => {
  const solo = Solo.of(3, 1, 1, 1);
  const config = solo.status.config;
  solo.step(append({ term: 2, prevIndex: 2, prevTerm: 1, commit: 2 }));
  const old = { meta: { index: 2, term: 1, config }, data: bytes('old') };
  const reply = only(solo.step(install({ term: 2, snapshot: old })), 'append-reply');
  assert.deepEqual([reply.index, solo.status.lastIndex], [2, 4]);
  const within = { meta: { index: 3, term: 1, config }, data: bytes('within') };
  const second = only(solo.step(install({ term: 2, snapshot: within })), 'append-reply');
  assert.deepEqual([second.index, solo.status.lastIndex, solo.status.commit], [3, 4, 3]);
});

test('nobody campaigns on a snapshot that is not on disk yet', () => {
  const solo = Solo.of(3);
  const snapshot = { meta: { index: 9, term: 2, config: solo.status.config }, data: bytes('') };
  solo.raft.step(solo.now, install({ term: 3, snapshot }));
  solo.raft.step(solo.now, timeoutNow({ term: 3, release: { term: 3, leader: 'b' } }));
  solo.raft.campaign(solo.now);
  assert.equal(solo.role, 'follower');
  assert.equal(solo.raft.nextDeadline(), Number.POSITIVE_INFINITY);
  solo.drain();
  assert.ok(solo.raft.nextDeadline() < solo.now + lan.promiseMs + lan.jitterMs);
});
