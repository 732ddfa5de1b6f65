/**
 * Faults that other implementations of Raft had, each as the smallest situation that shows it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from '../../src/base/assert.ts';
import type { Message } from '../../src/raft/message.ts';
import type { ConfChange } from '../../src/raft/types.ts';
import { bytes, encodeChange, lan, Network } from './network.ts';
import {
  acks,
  append,
  appendReply,
  echo,
  echoes,
  grant,
  heartbeat,
  install,
  names,
  ofType,
  only,
  Solo,
  vote,
  voteReply,
} from './solo.ts';
import { entriesOf, MemoryLog } from './storage.ts';

const addD: ConfChange = { mode: 'simple', changes: [{ type: 'add-voter', id: 'd' }] };

test('no membership change is taken before the first commit of the term', () => {
  const solo = Solo.of(3);
  const sent = solo.lead();
  const early = solo.raft.proposeConfChange(addD, encodeChange(addD));
  assert.equal(!early.ok && early.reason, 'not-ready');
  solo.step(...acks(sent, 'b'));
  assert.ok(solo.raft.proposeConfChange(addD, encodeChange(addD)).ok);
});

test('a node does not campaign with a committed membership change that it has not applied', () => {
  const solo = Solo.of(3);
  const change = { index: 2, term: 2, type: 'conf-change', data: encodeChange(addD) } as const;
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: [change], commit: 2 }));
  const first = raft.ready(solo.now);
  solo.disk.write(first);
  raft.advance(solo.now);
  raft.campaign(solo.now);
  assert.equal(solo.role, 'follower', 'committed, not handed out');
  assert.equal(raft.ready(solo.now).committed.length, 1);
  raft.advance(solo.now);
  raft.campaign(solo.now);
  assert.equal(solo.role, 'follower', 'handed out, not applied');
  const due = raft.nextDeadline();
  raft.tick(due);
  assert.ok(raft.nextDeadline() > due, 'no busy waiting');
  raft.applyConfChange(due, addD);
  raft.campaign(due);
  assert.equal(solo.role, 'pre-candidate');
});

test('the survivor of two can be elected after the leader removed itself', () => {
  for (let seed = 0; seed < 20; seed++) {
    const net = Network.ofVoters(['a', 'b'], { latencyMs: 1 + (seed % 5) });
    const leader = net.elect();
    net.run(100 + seed);
    net.changeConfig({ mode: 'simple', changes: [{ type: 'remove', id: leader.id }] });
    net.tryPropose('behind the removal');
    // Nobody hears that it is committed.
    net.filter = (m) => m.type !== 'append' || m.entries.length > 0;
    net.run(100);
    net.filter = () => true;
    net.runUntil(() => net.leader() !== undefined && net.leader() !== leader, 5_000);
  }
});

test('a pre-vote from a smaller term is answered, so that its sender catches up', () => {
  const solo = Solo.of(3);
  solo.step(voteReply({ term: 9, granted: false }));
  const reply = only(solo.step(vote({ type: 'pre-vote', term: 4 })), 'pre-vote-reply');
  assert.deepEqual([reply.granted, reply.term], [false, 9]);

  const asking = Solo.of(3);
  asking.raft.campaign(asking.now);
  asking.drain();
  asking.step(voteReply({ type: 'pre-vote-reply', granted: false, term: 9 }));
  assert.deepEqual([asking.term, asking.role], [9, 'follower']);
  assert.ok(asking.raft.nextDeadline() - asking.now <= 20, 'and asks again in the right term');
});

test('a pre-candidate forgets its old leader and its old votes', () => {
  const solo = Solo.of(5);
  solo.runForOffice();
  solo.step(voteReply({ term: solo.term, granted: true }));
  solo.step(append({ from: 'c', term: solo.term }));
  solo.raft.campaign(solo.now);
  assert.deepEqual([solo.role, solo.status.leader], ['pre-candidate', null]);
  solo.step(voteReply({ type: 'pre-vote-reply', from: 'd', term: solo.term + 1 }));
  assert.equal(solo.role, 'pre-candidate', 'two of five');
});

test('a vote is remembered across appends, roles and restarts', () => {
  const solo = Solo.of(3);
  assert.equal(only(solo.step(vote({ from: 'b', term: 5 })), 'vote-reply').granted, true);
  solo.step(append({ from: 'b', term: 5 }));
  assert.equal(only(solo.step(vote({ from: 'c', term: 5 })), 'vote-reply').granted, false);
  const again = new Solo(solo.disk);
  assert.equal(only(again.step(vote({ from: 'c', term: 5 })), 'vote-reply').granted, false);
  assert.equal(only(again.step(vote({ from: 'b', term: 5 })), 'vote-reply').granted, true);
});

test('a vote that comes twice is counted once', () => {
  const solo = Solo.of(5);
  solo.runForOffice();
  const yes = voteReply({ term: solo.term });
  solo.step(yes, yes, yes);
  assert.equal(solo.role, 'candidate');
});

test('an answer from an earlier campaign does not count in this one', () => {
  const solo = Solo.of(3);
  const [first] = solo.runForOffice();
  assert.ok(first);
  const late = grant(first);
  solo.raft.campaign(solo.now);
  solo.step(...ofType(solo.drain(), 'pre-vote').map(grant));
  assert.equal(solo.term, late.term + 1);
  solo.step(late);
  assert.equal(solo.role, 'candidate');
});

test('a candidate does not take office before its own vote is on disk', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.campaign(solo.now);
  const asking = raft.ready(solo.now);
  raft.advance(solo.now);
  for (const m of asking.messages) raft.step(solo.now, grant(m));
  const running = raft.ready(solo.now);
  assert.deepEqual([running.hard?.term, running.hard?.vote], [2, 'a']);
  for (const m of ofType(running.messages, 'vote')) raft.step(solo.now, grant(m));
  assert.equal(solo.role, 'candidate');
  solo.disk.write(running);
  raft.advance(solo.now);
  assert.equal(solo.role, 'leader');
});

test('a candidate claims only the log that no crash can take from it', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.step(solo.now, append({ term: 2, entries: entriesOf(2, 2, 2) }));
  raft.ready(solo.now);
  raft.campaign(solo.now);
  const asked = ofType(raft.ready(solo.now).messages, 'pre-vote');
  assert.deepEqual(
    asked.map((m) => [m.lastIndex, m.lastTerm]),
    [
      [1, 1],
      [1, 1],
    ],
  );
});

test('the answer of the disk to an old term is not counted in a new one', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  raft.campaign(solo.now);
  for (const m of raft.ready(solo.now).messages) raft.step(solo.now, grant(m));
  raft.advance(solo.now);
  const old = raft.ready(solo.now);
  raft.step(solo.now, append({ from: 'c', term: 3 }));
  raft.ready(solo.now);
  solo.disk.write(old);
  raft.advance(solo.now);
  assert.deepEqual([solo.role, solo.term, solo.status.vote], ['follower', 3, null]);
});

test('an entry written, overwritten and written again is durable with the last answer only', () => {
  const solo = Solo.of(5, 1);
  const { raft } = solo;
  const from = (id: string, term: number): Message =>
    append({ from: id, term, prevIndex: 2, prevTerm: 1, entries: entriesOf(3, term) });
  raft.step(solo.now, from('b', 2));
  raft.ready(solo.now);
  raft.step(solo.now, from('c', 3));
  raft.ready(solo.now);
  const back = append({ from: 'd', term: 4, prevIndex: 2, prevTerm: 1, entries: entriesOf(3, 2) });
  raft.step(solo.now, back);
  const third = raft.ready(solo.now);
  raft.step(solo.now, append({ from: 'd', term: 4, prevIndex: 3, prevTerm: 2, commit: 3 }));

  solo.disk.write(third);
  const advanced = (): number[] => {
    raft.advance(solo.now);
    return raft.ready(solo.now).committed.map((entry) => entry.index);
  };
  assert.deepEqual(advanced(), [2], 'the disk goes through another entry 3 yet');
  assert.deepEqual(advanced(), []);
  assert.deepEqual(advanced(), [3]);
});

test('a heartbeat carries no commit index beyond what the follower is known to hold', () => {
  const solo = Solo.of(3);
  const sent = solo.lead();
  solo.step(...acks(sent, 'b'));
  assert.equal(solo.status.commit, 2);
  const beats = ofType(solo.pass(lan.heartbeatMs), 'heartbeat');
  assert.deepEqual(
    beats.map((m) => [m.to, m.commit]),
    [
      ['b', 2],
      ['c', 0],
    ],
  );
});

test('a commit index beyond the log is a broken invariant: the disk was set back', () => {
  const solo = Solo.of(3);
  assert.throws(() => solo.step(heartbeat({ term: 2, commit: 7 })), InvariantViolation);
});

test('an empty append raises the commit index only as far as it proves', () => {
  const solo = Solo.of(3, 1, 1, 1);
  solo.step(append({ term: 2, prevIndex: 2, prevTerm: 1, commit: 4 }));
  assert.equal(solo.status.commit, 2);
});

test('a late append truncates nothing that came after it', () => {
  const solo = Solo.of(3);
  const first = append({ term: 2, entries: entriesOf(2, 2) });
  const second = append({ term: 2, entries: entriesOf(2, 2, 2, 2) });
  solo.step(second, first);
  assert.equal(solo.status.lastIndex, 4);
});

test('a snapshot drops a conflicting suffix, and is the last position from then on', () => {
  const solo = Solo.of(3, 1, 1, 1, 1, 1);
  const snapshot = { meta: { index: 3, term: 2, config: solo.status.config }, data: bytes('') };
  solo.step(install({ term: 3, snapshot }));
  assert.deepEqual([solo.status.firstIndex, solo.status.lastIndex], [4, 3]);
  assert.deepEqual(solo.disk.all(), []);
  const reply = only(
    solo.step(vote({ from: 'c', term: 9, lastTerm: 2, lastIndex: 3 })),
    'vote-reply',
  );
  assert.equal(reply.granted, true, 'the last position is that of the snapshot');
});

test('of two snapshots in a short time the second counts', () => {
  const solo = Solo.of(3);
  const { raft } = solo;
  const { config } = solo.status;
  const at = (index: number): Message =>
    install({ term: 3, snapshot: { meta: { index, term: 2, config }, data: bytes('') } });
  raft.step(solo.now, at(5));
  const first = raft.ready(solo.now);
  raft.step(solo.now, at(9));
  const second = raft.ready(solo.now);
  solo.disk.write(first);
  raft.advance(solo.now);
  assert.equal(raft.nextDeadline(), Number.POSITIVE_INFINITY, 'the newer one is not durable');
  solo.disk.write(second);
  raft.advance(solo.now);
  assert.deepEqual([solo.status.applied, solo.status.firstIndex], [9, 10]);
});

/** A leader whose log no longer reaches back to an empty member `d`. */
function compacted(): Solo {
  const disk = MemoryLog.withTerms({ voters: names(3), learners: ['d'] }, 1, 1, 1);
  disk.compact(4, { ...disk.snapshot().meta.config });
  disk.hard = { ...disk.hard, commit: 4 };
  const solo = new Solo(disk);
  const sent = solo.lead();
  solo.step(...acks(sent, 'b'), ...acks(sent, 'c'), ...echoes(sent));
  solo.step(appendReply({ from: 'd', term: solo.term, index: 4, rejected: true }));
  return solo;
}

function stateOf(solo: Solo, id: string): string | undefined {
  return solo.status.peers.find((peer) => peer.id === id)?.state;
}

test('a member leaves the snapshot state when its snapshot arrived, and when it was lost', () => {
  const arrived = compacted();
  assert.equal(stateOf(arrived, 'd'), 'snapshot');
  const out = arrived.step(appendReply({ from: 'd', term: arrived.term, index: 4 }));
  assert.equal(stateOf(arrived, 'd'), 'replicate');
  assert.equal(ofType(out, 'append').find((m) => m.to === 'd')?.entries.length, 1);

  const lost = compacted();
  lost.raft.reportSnapshot('d', false);
  assert.equal(stateOf(lost, 'd'), 'probe');
  const again = lost.step(echo({ from: 'd', term: lost.term, round: 1 }));
  assert.equal(ofType(again, 'snapshot').length, 1);
});

test('a full window whose messages were all lost recovers by an echo', () => {
  const net = Network.ofVoters(names(3), {
    configs: () => ({ maxInflightMessages: 3, maxMessageBytes: 10 }),
  });
  const leader = net.elect();
  net.run(200);
  const peer = names(3).find((id) => id !== leader.id) ?? assert.fail();
  net.filter = (m) => m.type !== 'append' || m.to !== peer;
  for (let i = 0; i < 20; i++) net.propose(`p${i}`);
  net.run(300);
  net.filter = () => true;
  net.run(500);
  assert.equal(net.node(peer).payloads().length, 20);
});

test('a voter that has just granted waits a whole timeout', () => {
  const solo = Solo.of(3);
  solo.pass(lan.promiseMs - 1);
  solo.step(vote({ term: 5 }));
  assert.ok(solo.raft.nextDeadline() - solo.now >= lan.promiseMs);
});

test('a learner answers a vote request: the candidate may know it as a voter', () => {
  const solo = new Solo(MemoryLog.booted({ voters: ['b', 'c'], learners: ['a'] }));
  assert.equal(only(solo.step(vote({ term: 5 })), 'vote-reply').granted, true);
});

test('a joiner that knows nothing never campaigns, but answers', () => {
  const solo = new Solo(new MemoryLog());
  assert.equal(solo.raft.nextDeadline(), Number.POSITIVE_INFINITY);
  solo.raft.campaign(solo.now);
  assert.equal(solo.role, 'follower');
  assert.equal(only(solo.step(vote({ term: 5 })), 'vote-reply').granted, true);
});

test('a node stuck in a higher term is freed by the leader that it cannot follow', () => {
  const net = Network.ofVoters(names(3));
  const leader = net.elect();
  const stuck = names(3).find((id) => id !== leader.id) ?? assert.fail();
  net.run(100);
  net
    .node(stuck)
    .raft.step(net.now, voteReply({ from: leader.id, to: stuck, term: 50, granted: false }));
  net.runUntil(() => net.holder()?.status(net.now).term === 51, 3_000);
});

test('an unreachable member is probed instead of flooded', () => {
  const solo = Solo.of(3);
  const sent = solo.lead();
  solo.step(...acks(sent));
  solo.drain();
  solo.raft.reportUnreachable(solo.now, 'b');
  assert.equal(stateOf(solo, 'b'), 'probe');
  for (let i = 0; i < 5; i++) {
    solo.raft.propose(bytes('x'));
    solo.drain();
  }
  assert.equal(solo.status.peers.find((peer) => peer.id === 'b')?.match, 2);
});

test('two leaders of one term are a broken invariant', () => {
  const solo = Solo.of(3);
  solo.step(append({ from: 'b', term: 2 }));
  assert.throws(() => solo.step(append({ from: 'c', term: 2 })), InvariantViolation);
});
