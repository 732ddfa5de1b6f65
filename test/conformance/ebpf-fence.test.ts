/**
 * What is particular to the eBPF fence: its place among the programs of others, its succession from
 * one process to the next, and what is left of it. Needs root.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { after, afterEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  attachTcxFirst,
  detachTcxById,
  loadClassifier,
  programId,
  queryTcx,
  Tcx,
} from '../../src/linux/bpf.ts';
import { assemble, exit, moveValue } from '../../src/linux/bpf-assembler.ts';
import { sweep, sweepIdle } from '../../src/linux/cleanup.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { interfaceIndex } from '../../src/linux/libc.ts';
import { EVERY_ANSWER, fenceBench, V4, VIPS } from './fence-bench.ts';
import { run } from './netns.ts';

const { answers, putAddresses, close } = fenceBench();
after(close);

const eth0 = interfaceIndex('eth0');
let fence = new EbpfFence();
afterEach(() => {
  fence.disarm();
  fence = new EbpfFence();
});

/** The ids in the TCX chains of `eth0`, in and out. */
function programs(): readonly (readonly number[])[] {
  return [Tcx.ingress, Tcx.egress].map((hook) => queryTcx(eth0, hook)?.ids ?? []);
}

test('a new process shuts first and then removes the programs of the dead one', async () => {
  const dead = fence;
  dead.arm(VIPS);
  dead.open(rawNow() + 60_000);
  const before = programs();

  fence = new EbpfFence();
  fence.arm(VIPS);

  assert.deepEqual(await answers(), []);
  assert.deepEqual(
    programs().map((ids) => ids.length),
    [1, 1],
  );
  assert.notDeepEqual(programs(), before);
  fence.open(rawNow() + 60_000);
  assert.deepEqual(await answers(), EVERY_ANSWER);
});

test('a fence that was taken away is missed, and arm() puts it back', () => {
  fence.arm(VIPS);
  assert.equal(fence.intact(), true);

  const [[ingress = 0] = []] = programs();
  detachTcxById(eth0, ingress, Tcx.ingress);
  assert.equal(fence.intact(), false);

  fence.arm(VIPS);
  assert.equal(fence.intact(), true);
});

test('arm() goes before a foreign program, and leaves that one where it is', async () => {
  fence.arm(VIPS);
  const foreign = loadClassifier(assemble([moveValue(0, 0), exit()]), 'foreign');
  attachTcxFirst(eth0, foreign, Tcx.ingress);
  assert.equal(fence.intact(), false);

  fence.arm(VIPS);

  assert.equal(fence.intact(), true);
  assert.deepEqual(programs()[0]?.slice(1), [programId(foreign)]);
  assert.deepEqual(await answers(), []);
  fence.disarm();
  assert.deepEqual(programs(), [[programId(foreign)], []]);
  detachTcxById(eth0, programId(foreign), Tcx.ingress);
});

test('arm() follows the VIPs to other links, and disarm() leaves what costs nothing', () => {
  fence.arm(VIPS);
  fence.arm([{ address: V4.address, interface: 'eth1' }]);
  assert.deepEqual(programs(), [[], []]);
  assert.equal(run('tc filter show dev eth0 ingress').includes('holdfast'), false);
  assert.equal(run('tc filter show dev eth1 ingress').includes('holdfast'), true);

  fence.disarm();

  assert.equal(run('tc filter show dev eth1 ingress').includes('holdfast'), false);
  assert.equal(run('nft list tables'), '');
  // To take the clsact away would lose what the host sends meanwhile, at each stop of an agent.
  assert.equal(run('tc qdisc show dev eth1').includes('clsact'), true);
  assert.deepEqual(sweepIdle(), ['empty clsact on eth0', 'empty clsact on eth1']);
  assert.equal(run('tc qdisc show').includes('clsact'), false);
  assert.deepEqual(sweepIdle(), []);
});

test('coming and going loses nothing that the host sends, once clsact is there', async () => {
  fence.arm(VIPS);
  // Each answer brings the next question at once; without one it takes 10 ms.
  const flood = spawn('ping', ['-f', '-q', '-n', '-w', '2', '10.77.0.2']);
  const told = text(flood.stdout);
  while (flood.exitCode === null) {
    fence.disarm();
    fence.arm(VIPS);
    await pause(20);
  }
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(await told) ?? [];
  assert.ok(Number(sent) > 1_000, `only ${sent} were sent`);
  // The last one may have been on its way when the time was up.
  assert.ok(Number(sent) - Number(received) <= 1, `${received} of ${sent} were answered`);
});

test('a filter of somebody else keeps its queueing discipline', () => {
  run('tc qdisc replace dev eth0 clsact');
  // Two classic instructions that a person might have put there: take everything.
  const theirs = ['bytecode', '1,6 0 0 4294967295,', 'flowid', '1:1'];
  const place = ['filter', 'add', 'dev', 'eth0', 'ingress', 'prio', '7', 'bpf'];
  execFileSync('tc', [...place, ...theirs]);
  fence.arm(VIPS);

  fence.disarm();

  assert.deepEqual(sweepIdle(), []);
  assert.match(run('tc filter show dev eth0 ingress'), /pref 7 bpf/);
  run('tc qdisc del dev eth0 clsact');
});

test('sweep() removes all that a killed process left, and says what; twice is once', () => {
  new EbpfFence().arm(VIPS);

  assert.deepEqual(sweep(), [
    'address 10.77.0.100 of eth0',
    'address fd77::100 of eth0',
    'fence on eth0',
    'nft table arp holdfast',
  ]);

  assert.deepEqual(sweep(), []);
  assert.deepEqual(programs(), [[], []]);
  assert.deepEqual(sweepIdle(), ['empty clsact on eth0']);
  assert.equal(run('nft list tables'), '');
  putAddresses();
});
