// When and to whom a held VIP is announced, beside the schedule itself.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/base/log.ts';
import { Announcing } from '../../../src/vip/announcing.ts';
import type { Link } from '../../../src/vip/ports.ts';
import { FakeClock, FakeKernel } from '../../conformance/fakes.ts';

const vip = { address: '10.0.0.100', interface: 'eth0' };
const mac = '02:00:00:00:00:01';
const link = {
  ...{ index: 1, name: 'eth0', mac, up: true, loopback: false, addresses: [] },
  ...{ carrierChanges: 1, carriers: ['eth1'], defaultRouteOf: [] },
} as const;

function stage(change: Partial<Link> = {}) {
  const clock = new FakeClock();
  const kernel = new FakeKernel(clock);
  kernel.plug('eth0', change);
  const state = { may: true };
  const announcing = new Announcing({
    clock,
    link: kernel,
    table: kernel,
    log: silentLogger,
    mayAnnounce: () => state.may,
  });
  announcing.begin(vip, link);
  const first = kernel.told();
  // Past the burst, into the slow refresh.
  clock.advance(2_500);
  kernel.told();
  return { clock, kernel, state, announcing, first };
}

const both = [
  'send eth0 arp request 10.0.0.100 is at 02:00:00:00:00:01',
  'send eth0 arp reply 10.0.0.100 is at 02:00:00:00:00:01',
];

describe('Announcing', () => {
  it('asks the gateway of the interface as well, in the name of the VIP', () => {
    assert.deepEqual(stage().first, both);
    assert.deepEqual(stage({ defaultRouteOf: [4] }).first, [
      ...both,
      'send eth0 arp request 10.0.0.100 is at 02:00:00:00:00:01 asks for 10.0.0.1',
    ]);
  });

  for (const [what, seen] of [
    ['a bond has failed over to another slave', { carriers: ['eth2'] }],
    ['a carrier was lost and came back unseen', { carrierChanges: 3 }],
  ] as const) {
    it(`begins anew when ${what}`, () => {
      const { clock, kernel, announcing } = stage();
      announcing.see(vip, { ...link, ...seen });
      clock.advance(0);
      assert.deepEqual(kernel.told(), both);
      clock.advance(100);
      assert.deepEqual(kernel.told(), both, 'a burst');
    });
  }

  it('begins anew when the link is up again, and not when it goes', () => {
    const { clock, kernel, announcing } = stage();
    announcing.see(vip, { ...link, up: false, carriers: [], carrierChanges: 2 });
    clock.advance(0);
    assert.deepEqual(kernel.told(), []);
    announcing.see(vip, { ...link, carrierChanges: 3 });
    clock.advance(0);
    assert.deepEqual(kernel.told(), both);
  });

  it('says nothing anew where nothing of importance has changed', () => {
    const { clock, kernel, announcing } = stage();
    announcing.see(vip, { ...link, addresses: [{ address: '10.0.0.9', prefixLength: 24 }] });
    announcing.see(vip, { ...link, carriers: [] });
    clock.advance(0);

    assert.deepEqual(kernel.told(), []);
  });

  it('defends a VIP once, if it is held and may be', () => {
    const { kernel, announcing, state } = stage();
    announcing.defend(vip.address);
    assert.deepEqual(kernel.told(), both);
    announcing.defend('10.0.0.9');
    state.may = false;
    announcing.defend(vip.address);
    assert.deepEqual(kernel.told(), []);
  });
});
