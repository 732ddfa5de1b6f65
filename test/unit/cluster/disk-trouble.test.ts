/** Rule R13: a leader that cannot write hands over where that helps, and stays elsewhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import type { Proposed } from '../../../src/cluster/proposals.ts';
import { TestCluster } from './cluster.ts';

async function grownWithFull(...full: readonly string[]): Promise<TestCluster> {
  const cluster = new TestCluster();
  await cluster.grown();
  assert.equal(cluster.leader()?.id, 'n1');
  for (const id of full) cluster.host(id).disk.fill();
  return cluster;
}

/** Proposed while disks are full: it may well be agreed on without the leader's own disk. */
function change(cluster: TestCluster): Promise<Proposed | OperatingError> {
  return cluster
    .node('n1')
    .propose({ type: 'noop' })
    .catch((error: OperatingError) => error);
}

test('a leader without room hands over to a member that can write', async () => {
  const cluster = await grownWithFull('n1');
  const made = change(cluster);
  const began = cluster.clock.now();

  await cluster.elected('n1');

  assert.ok(cluster.clock.now() - began < 2_000, `${cluster.clock.now() - began} ms`);
  const outcome = await cluster.settled(made);
  assert.ok(outcome instanceof OperatingError, 'what it has not on disk it applies to nothing');
  assert.match(outcome.line, /may still happen/);
  assert.match(cluster.node('n1').eligibility().reason, /cannot write its log: .*no space/);
  assert.equal(cluster.node('n1').isRunning(), true);

  cluster.host('n1').disk.makeRoom();
  await cluster.clock.advance(1_000);
  assert.equal(cluster.node('n1').eligibility().eligible, true);
  assert.equal(cluster.node('n1').view().leader, cluster.leader()?.id);
});

for (const full of [
  ['n1', 'n2'],
  ['n1', 'n2', 'n3'],
]) {
  test(`a leader stays where only it could lead: ${full} are full`, async () => {
    const cluster = await grownWithFull(...full);
    const { term } = cluster.node('n1').view();
    const made = change(cluster);

    for (let second = 0; second < 20; second++) {
      await cluster.clock.advance(1_000);
      assert.equal(cluster.leader()?.id, 'n1');
    }
    assert.equal(cluster.node('n1').view().term, term);
    const refused = await change(cluster);
    assert.ok(refused instanceof OperatingError);
    assert.equal(refused.code, 'disk-trouble');
    assert.match(refused.line, /no space left.*nothing was changed/);
    assert.ok((await cluster.settled(made)) instanceof OperatingError, 'nothing to rest on');

    for (const id of full) cluster.host(id).disk.makeRoom();
    await cluster.clock.advance(1_000);
    const again = await cluster.propose({ type: 'noop' });
    assert.ok(again.index > 0);
    assert.equal(cluster.leader()?.id, 'n1');
  });
}

test('who cannot write asks nobody for a vote', async () => {
  const cluster = await grownWithFull('n1', 'n2', 'n3');
  void change(cluster);
  await cluster.clock.advance(1_500);
  const { term } = cluster.node('n2').view();

  cluster.kill('n1');
  await cluster.clock.advance(5_000);

  const votes = cluster.sent.filter((message) => message.type === 'vote' && message.term > term);
  assert.deepEqual(votes, [], 'who could not keep its own vote asks for none');
  assert.equal(cluster.leader(), undefined);
});
