/** ClusterNode on a virtual clock: elections, proposals, membership, hand-over, restart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { TestCluster } from './cluster.ts';

const isError = (code: string) => (error: unknown) =>
  error instanceof OperatingError && error.code === code;

test('a founder elects itself and holds the lease within a few milliseconds', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();

  await cluster.clock.advance(20);

  const view = cluster.node('n1').view();
  assert.equal(view.role, 'leader');
  assert.equal(view.quorum, true);
  assert.equal(view.ownTermApplied, true);
  assert.ok(view.lease.deadline > cluster.clock.now());
});

test('two joiners stay learners until both are there, then all three vote', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.join('n2');
  await cluster.clock.advance(2000);
  const rolesOfTwo = cluster
    .node('n1')
    .view()
    .state.members.map((member) => member.role);
  assert.deepEqual(rolesOfTwo, ['voter', 'learner']);

  await cluster.join('n3');
  await cluster.clock.advance(2000);

  for (const id of ['n1', 'n2', 'n3']) {
    const { state } = cluster.node(id).view();
    assert.deepEqual(
      state.members.map((member) => member.role),
      ['voter', 'voter', 'voter'],
      id,
    );
  }
  assert.deepEqual(cluster.node('n1').raftStatus().config.voters, ['n1', 'n2', 'n3']);
});

test('a proposal is applied on every node', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const { spec } = cluster.node('n1').view().state;

  const { index } = await cluster.propose({
    type: 'set-spec',
    spec: { ...spec, timing: 'wan' },
    expectedRevision: null,
  });
  await cluster.clock.advance(200);

  for (const id of ['n1', 'n2', 'n3']) {
    const { state } = cluster.node(id).view();
    assert.equal(state.specRevision, index);
    assert.equal(state.spec.timing, 'wan');
  }
});

test('proposals made while the disk is at work share one append', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const { id, node } = await cluster.elected();
  cluster.sent.length = 0;

  const made = Array.from({ length: 20 }, () => node.propose({ type: 'noop' }));
  await cluster.settled(Promise.all(made));

  for (const peer of ['n1', 'n2', 'n3'].filter((each) => each !== id)) {
    const entries = cluster.sent.flatMap((message) =>
      message.type === 'append' && message.to === peer ? [message.entries.length] : [],
    );
    assert.deepEqual(
      entries.filter((count) => count > 0),
      [1, 1, 18],
      peer,
    );
  }
});

test('a follower refuses a proposal and says who leads', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  const refused = cluster.settled(cluster.node('n2').propose({ type: 'noop' }));

  await assert.rejects(refused, (error: unknown) => {
    assert.ok(isError('not-leader')(error));
    const { facts } = error as OperatingError;
    assert.deepEqual(facts.leader, { id: 'n1', name: 'n1', address: 'n1:7443' });
    return true;
  });
});

test('a stale revision is refused with the one in force', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.elected();
  const { spec } = cluster.node('n1').view().state;

  const stale = cluster.propose({ type: 'set-spec', spec, expectedRevision: 77 });

  await assert.rejects(stale, isError('stale-revision'));
});

test('killing the leader moves the lease; the old one is acted upon before it ends', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const before = cluster.node('n1').view();

  cluster.kill('n1');
  const killedAt = cluster.clock.now();
  const next = await cluster.elected('n1');

  assert.ok(next.node.view().term > before.term);
  assert.ok(cluster.clock.now() >= before.lease.deadline, 'two leases at once');
  assert.ok(cluster.clock.now() - killedAt < 1000);
});

test('an isolated leader loses its quorum, and its sink hears of it', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  cluster.isolate('n1');
  await cluster.elected('n1');

  assert.equal(cluster.host('n1').lease?.role, 'follower');
  assert.equal(cluster.node('n1').view().quorum, false);
  const lost = cluster.settled(cluster.node('n1').propose({ type: 'noop' }));
  await assert.rejects(lost, isError('not-leader'));
});

test('a proposal of a leader that is cut off is reported as unknown or dropped', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  cluster.isolate('n1');

  const lost = cluster.settled(cluster.node('n1').propose({ type: 'noop' }));

  await assert.rejects(lost, isError('no-quorum'));
});

test('a transfer moves the leadership and asks the sink to let go first', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  const leader = await cluster.settled(cluster.node('n1').transfer('n3'));

  assert.equal(leader, 'n3');
  await cluster.clock.advance(50);
  assert.equal(cluster.leader()?.id, 'n3');
  assert.equal(cluster.host('n1').lease?.deadline, 0);
});

test('a leader that may not hold the VIP hands its leadership on', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const problem = { eligible: false, reason: 'eth0 is down' };

  cluster.node('n2').setEligibility(problem);
  // Until the leader has heard of it with an echo.
  await cluster.clock.advance(100);
  cluster.node('n1').setEligibility(problem);
  await cluster.elected('n1');

  assert.equal(cluster.leader()?.id, 'n3');
});

test('a witness votes, so that one of two hosts may fail', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.join('n2');
  const witness = await cluster.join('n3', 'witness');
  witness.node.setEligibility({ eligible: false, reason: 'a witness votes and holds nothing' });
  await cluster.clock.until('three voters', () =>
    [...cluster.hosts.values()].every(({ node }) => {
      const { voters, votersOutgoing } = node.raftStatus().config;
      return voters.length === 3 && votersOutgoing.length === 0;
    }),
  );
  assert.equal(cluster.node('n2').view().state.members[2]?.role, 'witness');

  cluster.kill('n1');
  await cluster.clock.until('n2 leads', () => cluster.leader()?.id === 'n2');

  assert.equal(cluster.node('n3').view().leader, 'n2');
});

test('stop() hands over within a fraction of a lease', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const start = cluster.clock.now();

  await cluster.settled(cluster.node('n1').stop());
  cluster.kill('n1');
  await cluster.elected('n1');

  assert.ok(cluster.clock.now() - start < 100, `${cluster.clock.now() - start} ms`);
});

test('stop() without anybody to hand over to lets go of the VIP all the same', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  for (const id of ['n2', 'n3']) {
    cluster.node(id).setEligibility({ eligible: false, reason: 'eth0 is down' });
  }
  await cluster.clock.advance(200);

  await cluster.settled(cluster.node('n1').stop());

  assert.equal(cluster.host('n1').lease?.deadline, 0);
  assert.equal(cluster.host('n1').lease?.role, 'follower');
});

test('stop() of a founder that is alone lets go at once', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.elected();
  const start = cluster.clock.now();

  await cluster.settled(cluster.node('n1').stop());

  assert.equal(cluster.host('n1').lease?.role, 'follower');
  assert.ok(cluster.clock.now() - start < 5);
});

test('stop() of a follower is immediate', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  await cluster.node('n2').stop();

  await assert.rejects(cluster.node('n2').propose({ type: 'noop' }), isError('node-stopped'));
});

test('a restarted node finds its state again', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  for (const id of ['n1', 'n2', 'n3']) cluster.kill(id);
  await cluster.clock.advance(100);
  for (const id of ['n1', 'n2', 'n3']) cluster.restart(id);

  const leader = await cluster.elected();
  await cluster.clock.advance(200);

  for (const id of ['n1', 'n2', 'n3']) {
    assert.equal(cluster.host(id).fatal, null);
    assert.equal(cluster.node(id).view().state.members.length, 3);
    assert.equal(cluster.node(id).view().leader, leader.id);
  }
});

test('the log is cut, and a node that was away gets a snapshot', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  cluster.kill('n3');
  const { spec } = cluster.node('n1').view().state;
  for (let i = 0; i < 60; i++) {
    const timing = i % 2 === 0 ? 'wan' : 'balanced';
    await cluster.propose({ type: 'set-spec', spec: { ...spec, timing }, expectedRevision: null });
  }
  assert.ok(cluster.node('n1').raftStatus().firstIndex > 20);

  cluster.restart('n3');
  await cluster.clock.advance(3000);

  const { appliedIndex, state } = cluster.node('n1').view();
  assert.equal(cluster.node('n3').view().appliedIndex, appliedIndex);
  assert.deepEqual(cluster.node('n3').view().state, state);
});

test('a removed follower learns of it and is forgotten a moment later', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  await cluster.propose({ type: 'remove-member', id: 'n3' });
  await cluster.clock.advance(300);

  assert.equal(cluster.node('n3').view().removed, true);
  assert.deepEqual(cluster.host('n3').peers, []);
  assert.ok(cluster.host('n1').peers.some((peer) => peer.id === 'n3'));
  await cluster.clock.advance(2000);
  assert.deepEqual(
    cluster.host('n1').peers.map((peer) => peer.id),
    ['n2'],
  );
  assert.equal(cluster.leader()?.id, 'n1');
});

test('a leader may propose its own removal: it steps down and another takes over', async () => {
  const cluster = new TestCluster();
  await cluster.grown();

  await cluster.propose({ type: 'remove-member', id: 'n1' });
  await cluster.elected('n1');

  assert.equal(cluster.node('n1').view().removed, true);
  assert.equal(cluster.host('n1').lease?.deadline, 0);
});

test('a linearizable read sees what was committed before it', async () => {
  const cluster = new TestCluster();
  await cluster.grown();
  const { index } = await cluster.propose({ type: 'add-token', ...aToken(cluster, 'bbbbbb') });

  const read = await cluster.settled(cluster.node('n1').confirmRead());

  assert.ok(read >= index);
  await assert.rejects(cluster.settled(cluster.node('n2').confirmRead()), isError('not-leader'));
});

test('membership changes proposed at the same moment queue', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.elected();

  const joins = await cluster.settled(
    Promise.all(['n2', 'n3', 'n4'].map((id) => cluster.node('n1').propose(joiner(cluster, id)))),
  );

  assert.equal(joins.length, 3);
  assert.equal(cluster.node('n1').view().state.members.length, 4);
});

test('the same join twice changes nothing and costs no token', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.elected();
  await cluster.settled(cluster.node('n1').propose(joiner(cluster, 'n2')));

  const again = cluster.node('n1').propose({ ...joiner(cluster, 'n2'), id: 'other' });

  assert.equal((await cluster.settled(again)).changed, false);
  assert.equal(cluster.node('n1').view().state.members.length, 2);
  assert.deepEqual(cluster.node('n1').raftStatus().config.learners, ['n2']);
});

test('an entry that this version does not know ends the node', async () => {
  const cluster = new TestCluster();
  cluster.node('n1').start();
  await cluster.elected();
  const node = cluster.node('n1');

  // A command of a later version, as a newer leader would have written it.
  const unknown = { type: 'noop' } as const;
  const { encodeCommand } = await import('../../../src/cluster/state-codec.ts');
  const bytes = encodeCommand(unknown);
  bytes[1] = 99;
  node.receive({
    type: 'append',
    from: 'n9',
    to: 'n1',
    term: node.view().term + 1,
    prevIndex: node.raftStatus().lastIndex,
    prevTerm: node.view().term,
    entries: [
      {
        index: node.raftStatus().lastIndex + 1,
        term: node.view().term + 1,
        type: 'normal',
        data: bytes,
      },
    ],
    commit: node.raftStatus().lastIndex + 1,
  });
  await cluster.clock.advance(50);

  assert.ok(isError('data-newer')(cluster.host('n1').fatal));
});

function joiner(cluster: TestCluster, id: string) {
  return {
    type: 'add-member',
    id,
    name: id,
    address: `${id}:7443`,
    joinsAs: 'voter',
    publicKeyHash: `key-${id}`,
    version: '1.0.0',
    formatVersion: 1,
    certExpires: '',
    tokenId: 'aaaaaa',
    nowWallMs: cluster.clock.wallNow(),
  } as const;
}

function aToken(cluster: TestCluster, id: string) {
  const nowWallMs = cluster.clock.wallNow();
  const expiresWallMs = nowWallMs + 1000;
  const token = { id, secretHash: '', expiresWallMs, usesLeft: 1, description: '', revoked: false };
  return { token, nowWallMs };
}
