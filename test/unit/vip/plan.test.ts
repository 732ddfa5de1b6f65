/** The pure parts: what to do in a situation, where a VIP belongs, when to announce. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Announcer } from '../../../src/vip/announcer.ts';
import { placeVip, vipEligibility } from '../../../src/vip/placement.ts';
import { plan, type Situation, type Step } from '../../../src/vip/plan.ts';
import type { Link, VipPlacement } from '../../../src/vip/ports.ts';

const at = (text: string): VipPlacement => {
  const [address = '', name = ''] = text.split('@');
  return { address, interface: name };
};

function link(name: string, subnets: readonly string[] = [], up = true): Link {
  const addresses = subnets.map((subnet) => {
    const [address = '', prefix = ''] = subnet.split('/');
    return { address, prefixLength: Number(prefix) };
  });
  const index = Number(name.replace(/\D/g, '')) + 1;
  const mac = `02:00:00:00:00:0${index}`;
  const rest = {
    up,
    loopback: false,
    addresses,
    carrierChanges: 0,
    carriers: [],
    defaultRouteOf: [],
  };
  return { index, name, mac, ...rest };
}

const show = (step: Step): string =>
  step.kind === 'withdraw'
    ? `withdraw ${step.address}`
    : `${step.kind} ${step.vip.address}@${step.vip.interface}`;

const V = '10.0.0.100';

test('plan() closes the difference between the wish and the kernel', () => {
  const rows: readonly {
    readonly vips: readonly string[];
    readonly ours?: readonly string[];
    readonly held?: readonly string[];
    readonly links?: readonly Link[];
    readonly want: readonly string[];
  }[] = [
    { vips: [], want: [] },
    { vips: [`${V}@eth0`], want: [`claim ${V}@eth0`] },
    {
      vips: [`${V}@eth0`],
      ours: [`${V}@eth0`],
      held: [`${V}@eth0`],
      want: [`keep ${V}@eth0`],
    },
    { vips: [`${V}@eth0`], held: [`${V}@eth0`], want: [`restore ${V}@eth0`] },
    // A leftover of a former process is claimed like a new one: the clock is read after the put.
    { vips: [`${V}@eth0`], ours: [`${V}@eth0`], want: [`claim ${V}@eth0`] },
    { vips: [], ours: [`${V}@eth0`], want: [`withdraw ${V}`] },
    { vips: [], held: [`${V}@eth0`], want: [`withdraw ${V}`] },
    {
      vips: [`${V}@eth1`],
      ours: [`${V}@eth0`],
      held: [`${V}@eth0`],
      want: [`withdraw ${V}`, `claim ${V}@eth1`],
    },
    {
      vips: [`${V}@eth0`],
      ours: [`${V}@eth0`, `${V}@eth1`],
      held: [`${V}@eth0`],
      want: [`withdraw ${V}`, `claim ${V}@eth0`],
    },
    { vips: [`${V}@eth9`], want: [`wait ${V}@eth9`] },
    { vips: [`${V}@eth9`], held: [`${V}@eth9`], want: [`withdraw ${V}`, `wait ${V}@eth9`] },
    { vips: [`${V}@eth0`], links: [link('eth0', [], false)], want: [`wait ${V}@eth0`] },
    {
      vips: [`${V}@eth0`],
      ours: [`${V}@eth0`],
      held: [`${V}@eth0`],
      links: [link('eth0', [], false)],
      want: [`keep ${V}@eth0`],
    },
  ];

  for (const [index, row] of rows.entries()) {
    const situation: Situation = {
      vips: row.vips.map(at),
      ours: (row.ours ?? []).map(at),
      held: (row.held ?? []).map(at),
      links: row.links ?? [link('eth0'), link('eth1')],
    };
    assert.deepEqual(plan(situation).map(show), row.want, `row ${index}`);
  }
});

test('placeVip() finds the interface, warns, or says why not', () => {
  const links = [
    link('eth0', ['10.0.0.1/24', 'fd00::1/64']),
    link('eth1', ['192.168.1.1/24', '10.0.0.101/32']),
    { ...link('tun2', ['10.9.0.1/24']), mac: null },
  ];
  const outside = (vip: string, name: string): string =>
    `${vip} is in no subnet of ${name}: only hosts that have a route will reach it`;

  assert.deepEqual(placeVip(V, links), { interface: 'eth0', warning: null });
  assert.deepEqual(placeVip('fd00::100', links), { interface: 'eth0', warning: null });
  assert.deepEqual(placeVip('192.168.1.9', links, { wanted: 'eth1' }), {
    interface: 'eth1',
    warning: null,
  });
  // A /32 of the same address is somebody's VIP, not a subnet.
  assert.deepEqual(placeVip('10.0.0.101', [link('eth1', ['10.0.0.101/32'])]), {
    refused: 'no interface has a subnet with 10.0.0.101 in it, and none was named',
  });
  assert.deepEqual(placeVip(V, links, { wanted: 'eth1' }), {
    interface: 'eth1',
    warning: outside(V, 'eth1'),
  });
  assert.deepEqual(placeVip(V, links, { wanted: 'eth7' }), {
    refused: 'interface eth7 is not there',
  });
  assert.deepEqual(placeVip(V, links, { wanted: 'tun2' }), {
    refused: 'interface tun2 has no MAC address',
  });
  assert.deepEqual(placeVip('10.0.0', links), { refused: '10.0.0 is not an IP address' });
});

test('placeVip() finds the interface by MAC, by subnet and by default route', () => {
  const mac = '02:00:00:00:00:0a';
  const links: readonly Link[] = [
    { ...link('eth0'), mac },
    { ...link('eth1'), mac },
    { ...link('bond0', ['10.0.0.1/24']), mac, carriers: ['eth0'], defaultRouteOf: [4] },
    { ...link('bond0.7', ['10.7.0.1/24']), mac, carriers: ['bond0', 'eth0'] },
    link('eth5', ['10.5.0.1/24', 'fd05::1/64'], false),
  ];
  const place = (address: string, wanted: string): string => {
    const placed = placeVip(address, links, { wanted });
    return 'refused' in placed ? placed.refused : placed.interface;
  };

  assert.equal(place('10.0.0.100', `mac:${mac}`), 'bond0');
  assert.equal(place('10.7.0.100', `mac:${mac}`), 'bond0.7');
  assert.equal(place('192.0.2.1', 'mac:02:00:00:00:00:06'), 'eth5');
  assert.equal(
    place('192.0.2.1', 'mac:02:00:00:00:00:ff'),
    'no interface has the MAC 02:00:00:00:00:ff',
  );
  assert.equal(place('192.0.2.1', 'subnet:10.5.0.0/16'), 'eth5');
  assert.equal(place('192.0.2.1', 'subnet:fd05::/64'), 'eth5');
  assert.equal(
    place('192.0.2.1', 'subnet:10.9.0.0/24'),
    'no interface has an address in 10.9.0.0/24',
  );
  assert.equal(place('192.0.2.1', 'route:default'), 'bond0');
  assert.equal(place('fd00::1', 'route:default'), 'there is no default route for IPv6');
});

test('vipEligibility() names the first interface that could not carry its VIP', () => {
  const links = [link('eth0'), link('eth1', [], false)];

  assert.equal(vipEligibility([at(`${V}@eth0`)], links).eligible, true);
  assert.equal(vipEligibility([], links).eligible, true);
  assert.deepEqual(vipEligibility([at(`${V}@eth0`), at('10.0.0.2@eth1')], links), {
    eligible: false,
    reason: 'interface eth1 is down or has no carrier',
  });
});

test('due() counts several overdue announcements as one', () => {
  const announcer = new Announcer(1000);

  assert.equal(announcer.due(999), false);
  assert.equal(announcer.due(1000), true);
  assert.equal(announcer.due(1000), false);
  assert.equal(announcer.nextDeadline(), 1100);
  assert.equal(announcer.due(1700), true);
  assert.equal(announcer.nextDeadline(), 2000);
  announcer.restart(1800);
  assert.equal(announcer.due(1800), true);
  assert.equal(announcer.nextDeadline(), 1900);
});
