/** A cluster of cores as a whole: it elects, replicates, survives and changes its members. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Network } from './network.ts';
import { MemoryLog } from './storage.ts';

test('a sole voter leads within milliseconds and grows to three', () => {
  const net = new Network();
  net.add('a', MemoryLog.booted({ voters: ['a'] }));
  assert.ok(net.runUntil(() => net.holder() !== undefined) <= 10);
  net.propose('x');
  net.run(20);
  for (const id of ['b', 'c']) {
    net.add(id, new MemoryLog());
    net.changeConfig({ mode: 'simple', changes: [{ type: 'add-learner', id }] });
    net.runUntil(
      () => net.node(id).payloads().includes('x') || net.node(id).disk.snapshot().meta.index > 1,
    );
    net.run(100);
    net.changeConfig({ mode: 'simple', changes: [{ type: 'add-voter', id }] });
    net.run(200);
    assert.ok(net.configOf(id).voters.includes(id));
  }
  assert.deepEqual(net.configOf('a').voters, ['a', 'b', 'c']);
  net.crash('a');
  const took = net.runUntil(() => net.holder() !== undefined);
  assert.ok(took < 450, `${took}`);
});

test('three voters elect, replicate, and fail over', () => {
  const net = Network.ofVoters(['a', 'b', 'c']);
  const first = net.elect();
  net.propose('one');
  net.run(50);
  for (const node of net.nodes.values()) assert.deepEqual(node.payloads(), ['one']);
  net.crash(first.id);
  const took = net.runUntil(() => net.holder() !== undefined);
  assert.ok(took < 450, `${took}`);
  net.propose('two');
  net.run(50);
  net.restart(first.id);
  net.run(1_000);
  assert.deepEqual(first.payloads(), ['one', 'two']);
});
