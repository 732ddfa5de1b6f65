/**
 * One suite for the address table's port, on the kernel of paper and on the real one; then what
 * only the real one can show. Needs root.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { createPacketLink } from '../../src/linux/packet-link.ts';
import { probeCodec } from '../../src/vip/frames.ts';
import type { AddressTable, VipPlacement } from '../../src/vip/ports.ts';
import { FakeClock, FakeKernel } from './fakes.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, macOf, run } from './netns.ts';

const V4: VipPlacement = { address: '10.77.0.100', interface: 'eth0' };
const V6: VipPlacement = { address: 'fd77::100', interface: 'eth0' };

enterFreshNamespace();
const peer = addNamespace('peer');
cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
run('ip link add eth1 type veth peer name eth2');
const clock = systemClock(rawNow);
const real = createAddressTable(clock);

interface Body {
  readonly name: string;
  readonly table: AddressTable;
  /** Lets `forMs` pass for the table. */
  wait(forMs: number): Promise<void>;
}

function bodies(): Body[] {
  const fakeClock = new FakeClock();
  const fake = new FakeKernel(fakeClock);
  fake.plug('eth0', { addresses: [{ address: '10.77.0.1', prefixLength: 24 }] });
  fake.plug('eth1', { up: false });
  return [
    { name: 'on paper', table: fake, wait: async (forMs) => fakeClock.advance(forMs) },
    { name: 'in the kernel', table: real, wait: (forMs) => pause(forMs) },
  ];
}

const byAddress = (left: VipPlacement, right: VipPlacement): number =>
  left.address.localeCompare(right.address);
const ours = (table: AddressTable): VipPlacement[] => [...table.ours()].sort(byAddress);

for (const { name, table, wait } of bodies()) {
  test(`${name}: put() adds the VIP alone, marked as ours, and refreshes it`, () => {
    table.put(V4, 60);
    table.put(V6, 60);
    table.put(V4, 60);

    assert.deepEqual(ours(table), [V4, V6]);
    const eth0 = table.links().find((link) => link.name === 'eth0');
    const found = eth0?.addresses.filter(({ address }) => address === V4.address);
    assert.deepEqual(found, [{ address: V4.address, prefixLength: 32 }]);
  });

  test(`${name}: remove() takes it away and nothing else; twice is once`, () => {
    table.remove(V4.address);
    table.remove(V4.address);

    assert.deepEqual(ours(table), [V6]);
    const eth0 = table.links().find((link) => link.name === 'eth0');
    assert.ok(eth0?.addresses.some(({ address }) => address === '10.77.0.1'));
    table.remove(V6.address);
  });

  test(`${name}: a VIP that nobody refreshes goes by itself`, async () => {
    table.put(V4, 1);
    table.put(V6, 1);

    // The kernel looks after lifetimes when it has nothing better to do.
    for (let looks = 0; looks < 8 && ours(table).length > 0; looks++) await wait(500);

    assert.deepEqual(ours(table), []);
  });

  test(`${name}: put() on an interface that is not there throws`, () => {
    assert.throws(() => table.put({ ...V4, interface: 'eth9' }, 1));
  });

  test(`${name}: links() tells index, name, MAC and whether frames can pass`, () => {
    const links = table.links();
    const state = new Map(links.map((link) => [link.name, link.up]));

    assert.equal(state.get('eth0'), true);
    assert.equal(state.get('eth1'), false);
    assert.match(links.find((link) => link.name === 'eth0')?.mac ?? '', /^([0-9a-f]{2}:){5}/);
  });
}

test('in the kernel: the VIP is never a source, not even as the only address', () => {
  run('ip link set eth1 up');
  run('ip link set eth2 up');
  run('ip route add 192.0.2.0/24 dev eth1');
  real.put({ address: '10.99.0.100', interface: 'eth1' }, 60);

  assert.doesNotMatch(run('ip route get 192.0.2.1'), /10\.99\.0\.100/);
  assert.match(run('ip addr show dev eth1'), /scope host deprecated dynamic noprefixroute eth1:hf/);
  real.remove('10.99.0.100');
  run('ip link set eth1 down');
});

test('in the kernel: the VIP comes after the own address, which kubelet takes for the node', () => {
  const firstOf = (): string => /inet (\S+)/.exec(run('ip -4 addr show dev eth0'))?.[1] ?? '';
  real.put(V4, 60);
  assert.equal(firstOf(), '10.77.0.1/24');
  assert.match(run('ip route get 10.77.0.2'), /src 10\.77\.0\.1 /);

  // The own address goes and comes back, as when a network daemon is restarted.
  run('ip addr del 10.77.0.1/24 dev eth0');
  real.put(V4, 60);
  assert.match(run('ip addr show dev eth0'), /10\.77\.0\.100\/32 .*scope host/);
  run('ip addr add 10.77.0.1/24 dev eth0');
  real.put(V4, 60);

  assert.equal(firstOf(), '10.77.0.1/24');
  assert.deepEqual(real.ours(), [V4]);
  real.remove(V4.address);
});

test('in the kernel: an IPv6 VIP is deprecated, so it is no source, and tests no duplicates', () => {
  real.put(V6, 60);

  assert.match(run('ip -6 addr show dev eth0'), /fd77::100\/128 .*nodad deprecated/);
  assert.doesNotMatch(run('ip -6 addr show dev eth0'), /tentative dadfailed/);
  assert.match(run('ip -6 route get fd77::2'), /src fd77::1 /);
  real.remove(V6.address);
});

test('in the kernel: links() tells what carries a bridge and a macvlan', () => {
  run('ip link add br9 type bridge');
  run('ip link add port9 type veth peer name far9');
  run('ip link set port9 master br9');
  run('ip link add mv9 link br9 type macvlan mode bridge');
  for (const name of ['br9', 'port9', 'far9', 'mv9']) run(`ip link set ${name} up`);
  const carriers = (name: string): readonly string[] | undefined =>
    real.links().find((link) => link.name === name)?.carriers;

  assert.deepEqual(carriers('br9'), ['far9', 'port9']);
  assert.deepEqual(carriers('mv9'), ['br9', 'far9', 'port9']);
  run('ip link set far9 down');
  assert.deepEqual(carriers('br9'), []);
  run('ip link del br9');
  run('ip link del port9');
});

test('in the kernel: defaultRoute() finds interface and gateway, of one interface or of all', () => {
  assert.equal(real.defaultRoute(4), null);
  run('ip route add default via 10.77.0.2 dev eth0');
  run('ip -6 route add default via fd77::2 dev eth0');

  assert.deepEqual(real.defaultRoute(4), { interface: 'eth0', gateway: '10.77.0.2' });
  assert.deepEqual(real.defaultRoute(6, 'eth0'), { interface: 'eth0', gateway: 'fd77::2' });
  assert.equal(real.defaultRoute(4, 'eth1'), null);
  assert.equal(real.defaultRoute(4, 'eth9'), null);
  const eth0 = real.links().find((link) => link.name === 'eth0');
  assert.deepEqual(eth0?.defaultRouteOf, [4, 6]);
  run('ip route del default');
  run('ip route add 192.0.2.0/24 via 10.77.0.2');
  assert.equal(real.defaultRoute(4), null, 'a narrower route is not the default route');
  run('ip route del 192.0.2.0/24 via 10.77.0.2');
  run('ip -6 route del default');
});

test('in the kernel: remove() finds the VIP on whichever interface, whoever put it there', () => {
  run('ip addr add 10.77.0.100/24 dev eth1');

  real.remove('10.77.0.100');

  assert.doesNotMatch(run('ip addr show dev eth1'), /10\.77\.0\.100/);
});

test('in the kernel: addresses of others are not ours', () => {
  run('ip addr add 10.88.0.1/32 dev eth0 label eth0:foo');

  assert.deepEqual(real.ours(), []);
});

test('in the kernel: watch() tells of changes by others, also after a storm', async (t) => {
  let calls = 0;
  const watch = real.watch(() => {
    calls++;
  });
  t.after(() => watch.close());
  const told = async (change: () => void): Promise<void> => {
    const before = calls;
    change();
    for (let tries = 0; tries < 200 && calls === before; tries++) await pause(10);
    assert.ok(calls > before);
  };

  await told(() => run('ip addr add 10.88.0.2/32 dev eth0'));
  // More than the socket's queue holds: the kernel drops events, and says so.
  await told(() => {
    for (let i = 0; i < 3000; i++) real.put(V4, 60);
  });
  await pause(200);
  await told(() => run('ip addr del 10.88.0.2/32 dev eth0'));

  real.remove(V4.address);
});

test('probe() reports who answers for an address, and nobody for a free one', async () => {
  const link = createPacketLink(clock, probeCodec);
  const peerMac = inNamespace(peer, () => macOf('eth0'));

  for (const address of ['10.77.0.2', 'fd77::2']) {
    assert.deepEqual(await link.probe({ address, interface: 'eth0' }, 100), [peerMac], address);
  }
  for (const address of ['10.77.0.77', 'fd77::77', '10.77.0.1']) {
    assert.deepEqual(await link.probe({ address, interface: 'eth0' }, 50), [], address);
  }
  await assert.rejects(link.probe({ ...V4, interface: 'eth9' }, 10), {
    code: 'interface-missing',
  });
  await assert.rejects(link.probe({ ...V4, interface: 'lo' }, 10), {
    code: 'interface-not-ethernet',
  });
});

test('probe() takes no answer to an earlier question for one to its own', async () => {
  const link = createPacketLink(clock, probeCodec);
  inNamespace(peer, () => run('ip addr add 10.77.0.78/24 dev eth0'));
  const vip = { address: '10.77.0.78', interface: 'eth0' };

  await link.probe(vip, 0);
  await pause(50);
  inNamespace(peer, () => run('ip addr del 10.77.0.78/24 dev eth0'));

  assert.deepEqual(await link.probe(vip, 50), []);
});

test('probe() in the name of an own address asks as a neighbour does', async () => {
  const link = createPacketLink(clock, probeCodec);
  const peerMac = inNamespace(peer, () => macOf('eth0'));

  for (const [address, own] of [
    ['10.77.0.2', '10.77.0.1'],
    ['fd77::2', 'fd77::1'],
  ] as const) {
    assert.deepEqual(await link.probe({ address, interface: 'eth0' }, 100, own), [peerMac]);
  }
});

test('send() reports a link that is not there', () => {
  const link = createPacketLink(clock, probeCodec);

  const sent = link.send('eth9', new Uint8Array(42));

  assert.deepEqual(sent, { ok: false, error: 'interface eth9 is not there' });
});

test('the table of a closed socket is closed', () => {
  real.close();

  assert.throws(() => real.links(), { code: 'kernel-refused' });
});
