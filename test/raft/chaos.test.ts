/**
 * Clusters under random faults from a seed: crashes, pauses, one-way cuts, loss, slow disks,
 * drifting clocks, transfers and membership changes. The network helper checks safety after every
 * event; at the end everything heals and the cluster must lead, commit and agree.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Timing } from '../../src/raft/types.ts';
import { draws, lan, Network, type TestNode } from './network.ts';
import { MemoryLog } from './storage.ts';

const seeds = 60;
const stormMs = 8_000;

interface Storm {
  readonly net: Network;
  readonly rng: () => number;
  proposals: number;
}

function pick<T>(rng: () => number, items: readonly T[]): T {
  const item = items[Math.floor(rng() * items.length)];
  assert.ok(item !== undefined);
  return item;
}

const timings: readonly Timing[] = [
  lan,
  { heartbeatMs: 50, promiseMs: 400, jitterMs: 150 },
  { heartbeatMs: 75, promiseMs: 600, jitterMs: 200 },
  { heartbeatMs: 20, promiseMs: 100, jitterMs: 40 },
];

const faults: readonly ((storm: Storm, node: TestNode) => void)[] = [
  ({ net, rng }, node) => {
    const ids = [...net.nodes.keys()];
    net.cut(node.id, pick(rng, ids));
  },
  ({ net }, node) => net.isolate(node.id),
  ({ net }) => net.heal(),
  ({ net }) => net.heal(),
  ({ net }, node) => net.crash(node.id),
  ({ net }, node) => {
    if (!node.up) net.restart(node.id);
  },
  ({ net }, node) => {
    if (!node.up) net.restart(node.id);
  },
  ({ net }, node) => {
    if (!node.up) return;
    net.crash(node.id);
    net.restart(node.id);
  },
  ({ net, rng }, node) => {
    node.pausedUntil = Math.max(node.pausedUntil, net.now + rng() * 600);
  },
  ({ net, rng }) => {
    const leader = net.leader();
    if (leader !== undefined && leader.pausedUntil <= net.now) {
      leader.raft.transferLeader(leader.clock(net.now), pick(rng, [...net.nodes.keys()]));
    }
  },
  ({ net, rng }, node) => {
    const types = ['add-voter', 'add-learner', 'remove'] as const;
    const change = { type: pick(rng, types), id: node.id };
    net.tryChange({ mode: rng() < 0.5 ? 'simple' : 'joint', changes: [change] });
  },
  ({ net }, node) => {
    if (node.up) net.compact(node.id);
  },
  ({ rng }, node) => {
    if (node.up) node.raft.setTiming(pick(rng, timings));
  },
];

export function storm(seed: number): Network {
  const rng = draws(seed);
  const wild = 0.1 + rng() * 0.5;
  const lossy = rng() < 0.3 ? rng() * 0.1 : 0;
  const slow = rng() < 0.3 ? 40 : 3;
  const net = Network.ofVoters(['a', 'b', 'c'].slice(0, 1 + Math.floor(rng() * 3)), {
    latencyMs: () => 0.2 + rng() * slow * (rng() < 0.05 ? 10 : 1),
    diskMs: rng() < 0.3 ? 30 : 0.5,
    configs: () => ({ rng }),
  });
  for (const id of ['d', 'e']) net.add(id, new MemoryLog());
  for (const node of net.nodes.values()) node.rate = 1 + (rng() - 0.5) * 0.018;
  for (const node of net.nodes.values()) node.restart(net.now);
  const state: Storm = { net, rng, proposals: 0 };
  const end = net.now + stormMs;
  while (net.now < end) {
    net.filter = () => rng() >= lossy;
    net.run(rng() * 60);
    state.proposals += 1;
    net.tryPropose(`p${state.proposals}`);
    if (rng() < wild) pick(rng, faults)(state, pick(rng, [...net.nodes.values()]));
  }
  settle(net);
  return net;
}

/** Heals everything; a cluster that has a quorum must then work. */
function settle(net: Network): void {
  net.heal();
  for (const node of net.nodes.values()) if (!node.up) net.restart(node.id);
  net.run(1_000);
  net.runUntil(() => net.holder() !== undefined && net.tryPropose('last'), 15_000);
  const leader = net.leader();
  assert.ok(leader !== undefined);
  net.runUntil(() => {
    const { config } = leader.status(net.now);
    return config.voters.every((id) => net.node(id).payloads().at(-1) === 'last');
  });
}

for (let seed = 1; seed <= seeds; seed++) {
  test(`a storm of faults leaves a safe and live cluster (seed ${seed})`, () => {
    storm(seed);
  });
}
