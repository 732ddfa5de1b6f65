/** Claims of a VIP as the real kernel hands them over: those that matter, and nothing else. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { createClaimSource } from '../../src/linux/claim-source.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { arpProbe, encodeArp, gratuitousArp } from '../../src/vip/arp.ts';
import { rivalOf } from '../../src/vip/frames.ts';
import { neighbourProbe, unsolicitedAdvertisement } from '../../src/vip/ndp.ts';
import type { VipPlacement } from '../../src/vip/ports.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, run } from './netns.ts';
import { Wire } from './wire.ts';

const rival = '02:aa:00:00:00:01';
const vips: readonly VipPlacement[] = [
  { address: '10.77.0.100', interface: 'eth0' },
  { address: '10.77.0.101', interface: 'eth0' },
  { address: 'fd77::100', interface: 'eth0' },
  { address: 'fd77::101', interface: 'eth0' },
];

enterFreshNamespace();
const peer = addNamespace('peer');
cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
const source = createClaimSource(systemClock(rawNow), rivalOf);
let wire = inNamespace(peer, () => new Wire('eth0'));
const heard: string[] = [];
after(() => {
  source.close();
  wire.close();
});

function listen(to = vips): void {
  source.listen(to, ({ address, mac }) => heard.push(`${address} at ${mac}`));
}

async function said(...frames: readonly Uint8Array[]): Promise<string[]> {
  heard.length = 0;
  for (const frame of frames) assert.ok(wire.send(frame));
  await pause(120);
  return [...heard];
}

const claims = vips.flatMap(({ address }) =>
  address.includes(':')
    ? [unsolicitedAdvertisement(address, rival)]
    : gratuitousArp(address, rival).slice(0, 1),
);

test('every claim of every VIP is heard', async () => {
  listen();

  assert.deepEqual(
    (await said(...claims)).sort(),
    vips.map((vip) => `${vip.address} at ${rival}`),
  );
  // A question for another address, asked in the name of a VIP, claims it just as well.
  const asks = { operation: 'request', senderMac: rival, targetMac: rival } as const;
  const question = encodeArp({ ...asks, senderAddress: '10.77.0.101', targetAddress: '10.77.0.1' });
  assert.deepEqual(await said(question), [`10.77.0.101 at ${rival}`]);
});

test('probes, answers to probes and claims of other addresses are not', async () => {
  const answer = {
    operation: 'reply',
    senderMac: rival,
    senderAddress: '10.77.0.100',
    targetMac: rival,
    targetAddress: '0.0.0.0',
  } as const;

  assert.deepEqual(
    await said(
      arpProbe('10.77.0.100', rival),
      neighbourProbe('fd77::100', rival),
      encodeArp(answer),
      ...gratuitousArp('10.77.0.102', rival),
      unsolicitedAdvertisement('fd78::100', rival),
    ),
    [],
  );
});

test('listen() for fewer, and for none, hears no more than that', async () => {
  listen(vips.slice(1, 3));
  assert.deepEqual((await said(...claims)).sort(), [
    `10.77.0.101 at ${rival}`,
    `fd77::100 at ${rival}`,
  ]);

  listen([]);
  assert.deepEqual(await said(...claims), []);
});

test('forget() leaves out what waits, and nothing that comes after', async () => {
  listen();
  heard.length = 0;
  for (const frame of claims) assert.ok(wire.send(frame));
  source.forget();
  await pause(120);
  assert.deepEqual(heard, []);

  assert.equal((await said(...claims)).length, claims.length);
});

test('a link that was down, or was made anew under its name, is heard again', async () => {
  listen();
  run('ip link set eth0 down');
  await pause(50);
  run('ip link set eth0 up');
  assert.equal((await said(...claims)).length, claims.length);

  wire.close();
  run('ip link del eth0');
  listen();
  cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
  wire = inNamespace(peer, () => new Wire('eth0'));
  listen();
  assert.equal((await said(...claims)).length, claims.length);
});

test('a host under ordinary traffic hears nothing of it', async () => {
  listen();
  heard.length = 0;
  run('ping -q -c 50 -i 0.002 10.77.0.2');
  run('ping -q -6 -c 50 -i 0.002 fd77::2');
  await pause(50);

  assert.deepEqual(heard, []);
});
