/**
 * The fence's port on the real kernel, and what no fake can show: that it guards both directions
 * and the other links, outlives its process, and yields to nobody. Needs root.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, afterEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import {
  attachTcxFirst,
  detachTcxById,
  loadClassifier,
  programId,
  queryTcx,
  Tcx,
} from '../../src/linux/bpf.ts';
import { assemble, exit, moveValue } from '../../src/linux/bpf-assembler.ts';
import { sweep } from '../../src/linux/cleanup.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { interfaceIndex } from '../../src/linux/libc.ts';
import { createPacketLink } from '../../src/linux/packet-link.ts';
import { announcement, probeCodec } from '../../src/vip/frames.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, macOf, run } from './netns.ts';
import { answerKind, questions, Wire } from './wire.ts';

const V4 = { address: '10.77.0.100', interface: 'eth0' };
const V6 = { address: 'fd77::100', interface: 'eth0' };
const VIPS = [V4, V6];
const EVERY_ANSWER = [
  '10.77.0.100 arp',
  '10.77.0.100 ping',
  'fd77::100 neighbour',
  'fd77::100 ping',
];
/** Long enough for a kernel to answer over a cable that is no cable. */
const ANSWER_MS = 30;

enterFreshNamespace();
const peer = addNamespace('peer');
const other = addNamespace('other');
cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
cable('eth1', other, { v4: '10.78.0', v6: 'fd78' });
const clock = systemClock(rawNow);
const table = createAddressTable(clock);
const link = createPacketLink(clock, probeCodec);
const mac = inNamespace(peer, () => macOf('eth0'));
const peerMac = macOf('eth0');
const wire = inNamespace(peer, () => new Wire('eth0'));
const eth0 = interfaceIndex('eth0');
let fence = new EbpfFence();

for (const vip of VIPS) table.put(vip, 600);
after(() => {
  wire.close();
  table.close();
});
afterEach(() => {
  fence.disarm();
  fence = new EbpfFence();
});

/** Asks everything about the addresses once; which of it was answered. */
async function answers(addresses = VIPS.map((vip) => vip.address)): Promise<string[]> {
  wire.take();
  for (const vip of addresses) {
    const address = vip.includes(':') ? 'fd77::2' : '10.77.0.2';
    for (const frame of questions({ mac, address, peerMac, vip }).values()) wire.send(frame);
  }
  await pause(ANSWER_MS);
  return answered(wire, addresses);
}

function answered(on: Wire, addresses: readonly string[]): string[] {
  const found = new Set<string>();
  for (const frame of on.take()) {
    for (const vip of addresses) {
      const kind = answerKind(vip, frame);
      if (kind !== null) found.add(`${vip} ${kind}`);
    }
  }
  return [...found].sort();
}

function programs(): readonly (readonly number[])[] {
  return [Tcx.ingress, Tcx.egress].map((hook) => queryTcx(eth0, hook)?.ids ?? []);
}

test('nothing passes for or from a VIP until open(), and nothing after the deadline', async () => {
  fence.arm(VIPS);
  assert.deepEqual(await answers(), []);

  fence.open(rawNow() + 200);
  assert.deepEqual(await answers(), EVERY_ANSWER);

  await pause(200);
  assert.deepEqual(await answers(), []);
});

test('shut() closes at once, and leaves other addresses of the host alone', async () => {
  fence.arm(VIPS);
  fence.open(rawNow() + 60_000);
  fence.shut();

  assert.deepEqual(await answers(), []);
  assert.deepEqual(await answers(['10.77.0.1', 'fd77::1']), [
    '10.77.0.1 arp',
    '10.77.0.1 ping',
    'fd77::1 neighbour',
    'fd77::1 ping',
  ]);
});

test('open() with a deadline that has passed opens nothing', async () => {
  fence.arm(VIPS);
  fence.open(rawNow() - 1);

  assert.deepEqual(await answers(), []);
});

test('an announcement by a packet socket leaves the host only before the deadline', async () => {
  fence.arm(VIPS);
  const frames = VIPS.flatMap((vip) => announcement(vip.address, peerMac));
  const announce = (): boolean[] => frames.map((frame) => link.send('eth0', frame).ok);

  assert.deepEqual(announce(), [false, false, false]);
  await pause(ANSWER_MS);
  assert.deepEqual(
    answered(
      wire,
      VIPS.map((vip) => vip.address),
    ),
    [],
  );

  fence.open(rawNow() + 60_000);
  assert.deepEqual(announce(), [true, true, true]);
  await pause(ANSWER_MS);
  assert.deepEqual(
    answered(
      wire,
      VIPS.map((vip) => vip.address),
    ),
    ['10.77.0.100 arp', 'fd77::100 neighbour'],
  );
});

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

test('questions for a VIP on another link are not answered, whatever the lease', async () => {
  const elsewhere = inNamespace(other, () => new Wire('eth0'));
  const ends = {
    mac: inNamespace(other, () => macOf('eth0')),
    address: '10.78.0.2',
    peerMac: macOf('eth1'),
    vip: V4.address,
  };
  const ask = async (): Promise<string[]> => {
    elsewhere.send(questions(ends).get('arp') ?? new Uint8Array(0));
    await pause(ANSWER_MS);
    return answered(elsewhere, [V4.address]);
  };
  assert.deepEqual(await ask(), ['10.77.0.100 arp'], 'the host is as weak as Linux comes');

  fence.arm(VIPS);
  fence.open(rawNow() + 60_000);
  assert.deepEqual(await ask(), []);

  run('nft flush ruleset');
  fence.arm(VIPS);
  assert.deepEqual(await ask(), []);
  elsewhere.close();
});

test('arm() follows the VIPs to other links, and disarm() leaves nothing', () => {
  fence.arm(VIPS);
  fence.arm([{ address: V4.address, interface: 'eth1' }]);
  assert.deepEqual(programs(), [[], []]);
  assert.equal(run('tc qdisc show dev eth0').includes('clsact'), false);
  assert.equal(run('tc filter show dev eth1 ingress').includes('holdfast'), true);

  fence.disarm();

  assert.equal(run('tc qdisc show').includes('clsact'), false);
  assert.equal(run('nft list tables'), '');
});

test('a filter of somebody else keeps its queueing discipline', () => {
  run('tc qdisc add dev eth0 clsact');
  // Two classic instructions that a person might have put there: take everything.
  const theirs = ['bytecode', '1,6 0 0 4294967295,', 'flowid', '1:1'];
  const place = ['filter', 'add', 'dev', 'eth0', 'ingress', 'prio', '7', 'bpf'];
  execFileSync('tc', [...place, ...theirs]);
  fence.arm(VIPS);

  fence.disarm();

  assert.match(run('tc filter show dev eth0 ingress'), /pref 7 bpf/);
  run('tc qdisc del dev eth0 clsact');
});

test('a guarded link that vanishes is no lost fence, and arm() goes on without it', () => {
  run('ip link add eth8 type veth peer name eth9');
  fence.arm([...VIPS, { address: '10.77.0.101', interface: 'eth8' }]);

  run('ip link del eth8');

  assert.equal(fence.intact(), true);
  fence.arm(VIPS);
  assert.equal(fence.intact(), true);
});

test('arm() refuses an interface that is not there', () => {
  assert.throws(() => fence.arm([{ address: V4.address, interface: 'eth7' }]), {
    code: 'interface-missing',
  });
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
  assert.equal(run('tc qdisc show').includes('clsact'), false);
  assert.equal(run('nft list tables'), '');
  for (const vip of VIPS) table.put(vip, 600);
});
