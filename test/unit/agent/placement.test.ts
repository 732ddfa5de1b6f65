// Which interface carries a VIP, and which source decided it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Places, placeVips } from '../../../src/agent/placement.ts';
import type { Link } from '../../../src/vip/ports.ts';
import { FakeClock } from '../../conformance/fakes.ts';

const link = (name: string, address: string, up = true): Link => ({
  index: name.length,
  name,
  mac: '02:00:00:00:00:01',
  up,
  loopback: false,
  addresses: [{ address, prefixLength: 24 }],
  carrierChanges: 0,
  carriers: [],
  defaultRouteOf: [],
});
const links = [
  link('eth0', '10.0.0.11'),
  link('bond0', '10.1.0.11'),
  link('eth9', '10.2.0.1', false),
];
const nothing = { interface: null, interfaces: {} };

describe('placeVips()', () => {
  const rows = [
    {
      name: 'takes the interface of the subnet where nobody says otherwise',
      spec: null,
      local: nothing,
      want: { interface: 'eth0', from: 'subnet', problem: null },
    },
    {
      name: 'takes what the spec says before the subnet',
      spec: 'bond0',
      local: nothing,
      want: { interface: 'bond0', from: 'spec', problem: null },
    },
    {
      name: 'takes the local configuration before the spec',
      spec: 'bond0',
      local: { interface: 'eth0', interfaces: {} },
      want: { interface: 'eth0', from: 'config', problem: null },
    },
    {
      name: 'takes what is configured for this VIP before what is for all',
      spec: null,
      local: { interface: 'bond0', interfaces: { '10.0.0.100': 'eth0' } },
      want: { interface: 'eth0', from: 'config', problem: null },
    },
    {
      name: 'says that an interface is down',
      spec: 'eth9',
      local: nothing,
      want: {
        interface: 'eth9',
        from: 'spec',
        problem: 'interface eth9 is down or has no carrier',
      },
    },
    {
      name: 'says that an interface is not there',
      spec: 'eth7',
      local: nothing,
      want: { interface: 'eth7', from: 'spec', problem: 'interface eth7 is not there' },
    },
  ];
  for (const { name, spec, local, want } of rows) {
    it(name, () => {
      const vips = [{ address: '10.0.0.100', interface: spec, onConflict: 'defend' as const }];

      assert.deepEqual(placeVips(vips, links, local), [{ address: '10.0.0.100', ...want }]);
    });
  }

  it('has no interface to offer for a foreign subnet', () => {
    const [placed] = placeVips(
      [{ address: '192.0.2.1', interface: null, onConflict: 'defend' }],
      links,
      nothing,
    );

    assert.equal(placed?.interface, null);
    assert.match(placed?.problem ?? '', /no interface has a subnet/);
  });
});

describe('Places', () => {
  const vips = [{ address: '10.0.0.100', interface: null, onConflict: 'defend' as const }];
  const bare = links.map((each) => ({ ...each, addresses: [] }));

  it('keeps a VIP for a while where its subnet was, and then looks again', () => {
    const clock = new FakeClock();
    const places = new Places(clock);
    let looks = 0;
    const find = (at: readonly Link[]) => places.find(vips, at, nothing, () => void looks++)[0];
    assert.equal(find(links)?.interface, 'eth0');
    clock.advance(1_000);

    assert.deepEqual(find(bare)?.interface, 'eth0');
    assert.equal(find(bare)?.problem, null);
    clock.advance(1_999);
    assert.equal(looks, 0);
    clock.advance(1);
    assert.equal(looks, 1);
    assert.equal(find(bare)?.interface, null);
    assert.equal(find(links)?.interface, 'eth0');
  });

  it('keeps nothing on an interface that has gone', () => {
    const clock = new FakeClock();
    const places = new Places(clock);
    places.find(vips, links, nothing, () => undefined);
    clock.advance(10);

    const [placed] = places.find(vips, bare.slice(1), nothing, () => undefined);
    assert.equal(placed?.interface, null);
  });
});
