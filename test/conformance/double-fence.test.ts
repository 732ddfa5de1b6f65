/**
 * Which losses the two fences bear together, and which they must not: with two lines left the VIPs
 * stay and the third is put back, with one they have to go. Needs root.
 */
import assert from 'node:assert/strict';
import { after, afterEach, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  attachTcxFirst,
  detachTcxById,
  loadClassifier,
  programId,
  Tcx,
} from '../../src/linux/bpf.ts';
import { assemble, exit, moveValue } from '../../src/linux/bpf-assembler.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { DoubleFence } from '../../src/linux/double-fence.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { interfaceIndex } from '../../src/linux/libc.ts';
import { NftFence } from '../../src/linux/nft-fence.ts';
import { EVERY_ANSWER, fenceBench, VIPS } from './fence-bench.ts';
import { run } from './netns.ts';

const { answers, close } = fenceBench();
after(close);
const eth0 = interfaceIndex('eth0');

const newFence = () => new DoubleFence(new EbpfFence(), new NftFence({ beside: true }));
let fence = newFence();
beforeEach(() => {
  fence = newFence();
  fence.arm(VIPS);
});
afterEach(() => {
  fence.disarm();
  run('nft flush ruleset');
});

test('both kinds stand, and either alone keeps shut what the other lets pass', async () => {
  assert.deepEqual(fence.standing(), ['ebpf', 'nft']);
  fence.open(rawNow() + 60_000);

  run('nft flush set netdev holdfast lease');

  assert.deepEqual(await answers(), []);
});

test('a flush of all rules is borne, and arm() puts ours back', async () => {
  fence.open(rawNow() + 60_000);
  run('nft flush ruleset');
  assert.equal(fence.intact(), true);
  assert.deepEqual(fence.standing(), ['ebpf']);
  assert.deepEqual(await answers(), EVERY_ANSWER);

  fence.arm(VIPS);

  assert.deepEqual(fence.standing(), ['ebpf', 'nft']);
  assert.deepEqual(await answers(), EVERY_ANSWER);
});

test('the loss of clsact is borne, that of clsact and the rules is not', () => {
  run('tc qdisc del dev eth0 clsact');
  assert.equal(fence.intact(), true);

  run('nft flush ruleset');
  assert.equal(fence.intact(), false);

  fence.arm(VIPS);
  assert.equal(fence.intact(), true);
  assert.match(run('tc filter show dev eth0 ingress'), /holdfast/);
});

test('a foreign program at the head of TCX bypasses two lines: not borne', () => {
  const program = loadClassifier(assemble([moveValue(0, 0), exit()]), 'foreign');
  attachTcxFirst(eth0, program, Tcx.ingress);
  try {
    assert.equal(fence.intact(), false);
    assert.deepEqual(fence.standing(), ['nft']);

    fence.arm(VIPS);

    assert.equal(fence.intact(), true);
  } finally {
    detachTcxById(eth0, programId(program), Tcx.ingress);
  }
});

test('a host firewall that drops our renewals leaves the eBPF fence alone for a while', async () => {
  run('nft add table ip foreign');
  run('nft add chain ip foreign out { type filter hook output priority 0; policy drop; }');

  for (let i = 0; i < 4; i++) fence.open(rawNow() + 60_000);

  assert.deepEqual(fence.standing(), ['ebpf']);
  assert.match(fence.trouble() ?? '', /no nftables fence/);
  assert.equal(fence.intact(), true);
  await pause(1_100);
  fence.open(rawNow() + 60_000);
  assert.deepEqual(fence.standing(), ['ebpf'], 'it does not try where it would be mute');

  run('nft delete table ip foreign');
  await pause(2_100);
  fence.open(rawNow() + 60_000);
  assert.deepEqual(fence.standing(), ['ebpf', 'nft']);
  assert.equal(fence.trouble(), null);
  assert.deepEqual(await answers(), EVERY_ANSWER);
  run('nft flush set netdev holdfast lease');
  assert.deepEqual(await answers(), [], 'and guards as before');
});
