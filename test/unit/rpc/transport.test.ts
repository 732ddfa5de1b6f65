/** The transport over real TLS on loopback: who may talk, what arrives, and what never waits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defined } from '../../../src/base/assert.ts';
import { exchange, TestCluster, until } from './fixture.ts';

const timeout = 20_000;

async function threeNodes(): Promise<TestCluster> {
  const cluster = await TestCluster.create();
  for (const id of ['a', 'b', 'c']) await cluster.start({ id });
  cluster.connect();
  return cluster;
}

function node(cluster: TestCluster, id: string) {
  return defined(cluster.nodes.get(id), id);
}

test('three nodes exchange messages, each with each', { timeout }, async (t) => {
  const cluster = await threeNodes();
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
});
