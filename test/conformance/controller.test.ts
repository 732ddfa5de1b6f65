/**
 * The VIP controller on the real kernel, while others interfere: what the neighbours hear, and how
 * soon it heals. Needs root.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { createPacketLink } from '../../src/linux/packet-link.ts';
import { VipController } from '../../src/vip/controller.ts';
import { probeCodec } from '../../src/vip/frames.ts';
import { EVERY_ANSWER, fenceBench, VIPS } from './fence-bench.ts';
import { run } from './netns.ts';

const LEASE_MS = 400;
const RENEW_EVERY_MS = 50;
/** From an interference to the neighbours knowing better: one look at the events, and some. */
const HEALED_MS = 250;
/** The kernel tells of a carrier's return at most once a second. */
const CARRIER_MS = 1_200;
const ANNOUNCED = ['10.77.0.100 arp', 'fd77::100 neighbour'];

const bench = fenceBench();
const clock = systemClock(rawNow);
const table = createAddressTable(clock);
const controller = new VipController({
  clock,
  table,
  fence: new EbpfFence(),
  link: createPacketLink(clock, probeCodec),
  log: silentLogger,
  marginMs: 60,
});
let epoch = 0;

before(() => controller.start());
after(() => {
  clearInterval(renewal);
  controller.stop();
  table.close();
  bench.close();
});
const renewal = setInterval(() => controller.renew(rawNow() + LEASE_MS), RENEW_EVERY_MS);

const claim = (): void => {
  const hold = { epoch: ++epoch, deadline: rawNow() + LEASE_MS };
  controller.set({ vips: VIPS, hold, reason: 'leader' });
};
const withdraw = (): void => controller.set({ vips: VIPS, hold: null, reason: 'follower' });

beforeEach(async () => {
  withdraw();
  await pause(30);
  bench.heard();
});

test('start() has removed what a former process left', () => {
  assert.deepEqual(table.ours(), []);
});

test('a claim is on the wire before set() has long returned, and then serves', async () => {
  claim();

  await pause(5);
  assert.deepEqual(bench.heard(), ANNOUNCED);
  assert.deepEqual(await bench.answers(), EVERY_ANSWER);
});

test('when a withdrawal returns, the address is gone and nobody answers', async () => {
  claim();
  withdraw();

  assert.deepEqual(table.ours(), []);
  bench.heard();
  assert.deepEqual(await bench.answers(), []);
});

test('somebody deletes the addresses: back and announced at once', async () => {
  claim();
  await pause(30);
  bench.heard();

  run('ip addr flush dev eth0 to 10.77.0.100/32');
  run('ip addr del fd77::100/128 dev eth0');
  await pause(HEALED_MS);

  assert.deepEqual(bench.heard(), ANNOUNCED);
  assert.deepEqual(await bench.answers(), EVERY_ANSWER);
  assert.equal(controller.counters().repairs, 2);
});

test('the link goes down and up: the VIPs are announced as soon as it is back', async () => {
  claim();
  run('ip link set eth0 down');
  await pause(60);
  bench.heard();

  run('ip link set eth0 up');
  // The kernel takes the host's IPv6 addresses with the link.
  run('ip addr add fd77::1/64 dev eth0 nodad');
  await pause(CARRIER_MS);

  assert.deepEqual(bench.heard(), ANNOUNCED);
  assert.deepEqual(
    controller.view().map(({ heldHere }) => heldHere),
    [true, true],
  );
});

test('somebody removes the queueing discipline and all rules: nothing is lost', async () => {
  claim();
  const { claims, fenceLosses } = controller.counters();

  run('tc qdisc del dev eth0 clsact');
  run('nft flush ruleset');
  await pause(HEALED_MS);

  assert.deepEqual(await bench.answers(), EVERY_ANSWER);
  assert.equal(controller.counters().claims, claims);
  assert.equal(controller.counters().fenceLosses, fenceLosses);
  await pause(1_000);
  assert.match(run('tc filter show dev eth0 egress'), /holdfast/);
  assert.match(run('nft list tables'), /arp holdfast/);
});
