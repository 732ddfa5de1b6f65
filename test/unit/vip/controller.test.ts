/** The VIP controller on a kernel of paper: what it does, in which order, and when it lets go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/base/log.ts';
import { VipController, type VipTransition } from '../../../src/vip/controller.ts';
import type { VipDesired, VipPlacement } from '../../../src/vip/ports.ts';
import { FakeClock, FakeKernel } from '../../conformance/fakes.ts';

const MARGIN_MS = 60;
const A: VipPlacement = { address: '10.0.0.100', interface: 'eth0' };
const B: VipPlacement = { address: 'fd00::100', interface: 'eth0' };
const CLAIM_OF_A = [
  'add 10.0.0.100 dev eth0 valid_lft 3',
  'open until 400',
  'send eth0 arp request 10.0.0.100 is at 02:00:00:00:00:01',
  'send eth0 arp reply 10.0.0.100 is at 02:00:00:00:00:01',
];

interface Bench {
  readonly clock: FakeClock;
  readonly kernel: FakeKernel;
  readonly controller: VipController;
  readonly transitions: string[];
}

/** A started controller on a host with eth0 and eth1, and nothing held. */
function bench(): Bench {
  const clock = new FakeClock();
  const kernel = new FakeKernel(clock);
  kernel.plug('eth0', { addresses: [{ address: '10.0.0.1', prefixLength: 24 }] });
  kernel.plug('eth1');
  const controller = new VipController({
    clock,
    table: kernel,
    fence: kernel,
    link: kernel,
    log: silentLogger,
    marginMs: MARGIN_MS,
  });
  const transitions: string[] = [];
  controller.onChange(({ address, held, reason, epoch }: VipTransition) => {
    transitions.push(`${address} ${held ? 'held' : 'gone'} in ${epoch}: ${reason}`);
  });
  controller.start();
  kernel.told();
  return { clock, kernel, controller, transitions };
}

const leading = (deadline: number, vips = [A], epoch = 7): VipDesired => ({
  vips,
  hold: { epoch, deadline },
  reason: 'leader',
});
const following = (vips = [A]): VipDesired => ({ vips, hold: null, reason: 'not-leader' });

/** A bench that holds `vips` until 400 ms unless renewed. */
function holding(vips = [A]): Bench {
  const all = bench();
  all.controller.set(leading(400, vips));
  all.kernel.told();
  all.transitions.splice(0);
  return all;
}

function renewFor(forMs: number, { clock, controller }: Pick<Bench, 'clock' | 'controller'>): void {
  for (const end = clock.now() + forMs; clock.now() < end; clock.advance(100)) {
    controller.renew(clock.now() + 400);
  }
}

test('start() removes what a former process left', () => {
  const clock = new FakeClock();
  const kernel = new FakeKernel(clock);
  kernel.plug('eth0');
  kernel.put(A, 60);
  kernel.told();
  const parts = { clock, table: kernel, fence: kernel, link: kernel, log: silentLogger };

  new VipController({ ...parts, marginMs: MARGIN_MS }).start();

  assert.deepEqual(kernel.told(), ['del 10.0.0.100']);
  assert.deepEqual(kernel.ours(), []);
});

test('set() without a hold closes the fence around the VIP in advance', () => {
  const { kernel, controller } = bench();

  controller.set(following());

  assert.deepEqual(kernel.told(), ['guard 10.0.0.100@eth0']);
  assert.equal(controller.holding(), false);
  assert.deepEqual(controller.view(), [
    { ...A, heldHere: false, sinceWallMs: 1_800_000_000_000, reason: 'not-leader' },
  ]);
});

test('set() leaves the kernel alone while only the leader changes', () => {
  const { kernel, controller } = bench();
  controller.set(following());
  Object.assign(kernel, {
    ours: () => assert.fail('addresses listed'),
    arm: () => assert.fail('fence armed'),
  });

  controller.set({ ...following(), reason: 'n3 leads' });

  assert.equal(controller.view()[0]?.reason, 'n3 leads');
});

test('set() claims in the order fence, address, opening, announcement', () => {
  const { kernel, controller, transitions } = bench();

  controller.set(leading(400));

  assert.deepEqual(kernel.told(), ['guard 10.0.0.100@eth0', ...CLAIM_OF_A]);
  assert.deepEqual(transitions, ['10.0.0.100 held in 7: leader']);
  assert.equal(controller.view()[0]?.heldHere, true);
});

test('an IPv6 VIP is announced by an unsolicited advertisement', () => {
  const { kernel, controller } = bench();

  controller.set(leading(400, [B]));

  assert.equal(kernel.told().at(-1), 'send eth0 na fd00::100 is at 02:00:00:00:00:01');
});

test('set() twice with the same wish acts once', () => {
  const { kernel, controller } = holding();

  controller.set(leading(400));

  assert.deepEqual(kernel.told(), []);
});

test('a claim that took too long is undone before anybody hears of it', () => {
  const { clock, kernel, controller, transitions } = bench();
  kernel.before.set('add', () => clock.pause(400));

  controller.set(leading(400));

  assert.deepEqual(kernel.told(), [
    'guard 10.0.0.100@eth0',
    'add 10.0.0.100 dev eth0 valid_lft 3',
    'del 10.0.0.100',
  ]);
  assert.equal(kernel.fenceIsOpen(), false);
  assert.deepEqual(transitions, []);
});

test('set() does not claim when less than the margin is left', () => {
  const { kernel, controller } = bench();

  controller.set(leading(MARGIN_MS));

  assert.deepEqual(kernel.told(), ['guard 10.0.0.100@eth0']);
  assert.equal(controller.view()[0]?.reason, 'the lease has run out');
});

test('renew() opens the fence each time and refreshes the lifetime once a second', () => {
  const { clock, kernel, controller } = holding();
  const adds: number[] = [];
  for (let round = 1; round <= 100; round++) {
    clock.advance(30);
    controller.renew(clock.now() + 400);
    const lines = kernel.told().filter((line) => !line.startsWith('send'));
    assert.equal(lines[0], `open until ${clock.now() + 400}`);
    if (lines.some((line) => line.startsWith('add'))) adds.push(clock.now());
  }

  assert.deepEqual(adds, [1020, 2040]);
  assert.equal(controller.counters().fenceRenewals, 100);
  assert.equal(controller.counters().claims, 1);
});

test('without a renewal it lets go one margin before the deadline', () => {
  const { clock, kernel, controller, transitions } = holding();
  clock.advance(400 - MARGIN_MS - 1);
  assert.equal(controller.holding(), true);
  kernel.told();

  clock.advance(1);

  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100']);
  assert.deepEqual(transitions, ['10.0.0.100 gone in 7: the lease has run out']);
  assert.equal(controller.counters().lateDrops, 0);
});

test('a renewed lease after a drop claims again at once', () => {
  const { clock, kernel, controller } = holding();
  clock.advance(390);
  kernel.told();

  controller.renew(800);

  assert.equal(kernel.told()[0], 'add 10.0.0.100 dev eth0 valid_lft 3');
  assert.equal(controller.holding(), true);
});

test('after a pause past the deadline a stale renewal lets go instead of renewing', () => {
  const { clock, kernel, controller } = holding();
  clock.pause(500);

  controller.renew(450);

  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100']);
  assert.equal(controller.counters().lateDrops, 1);
});

test('after a pause past the deadline no announcement leaves', () => {
  const { clock, kernel } = holding();
  clock.pause(500);

  clock.advance(1);

  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100']);
});

test('set() without a hold has let go when it returns', () => {
  const { kernel, controller, transitions } = holding([A, B]);

  controller.set(following([A, B]));

  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100', 'del fd00::100']);
  assert.deepEqual(transitions, [
    '10.0.0.100 gone in 7: not-leader',
    'fd00::100 gone in 7: not-leader',
  ]);
  assert.equal(controller.counters().withdrawals, 2);
});

test('a VIP that is not wished any more goes, and the others stay', () => {
  const { kernel, controller } = holding([A, B]);

  controller.set(leading(400, [B]));

  assert.deepEqual(kernel.told(), [
    'guard fd00::100@eth0 10.0.0.100@eth0',
    'del 10.0.0.100',
    'guard fd00::100@eth0',
  ]);
  assert.equal(kernel.fenceIsOpen(), true);
  assert.deepEqual(kernel.ours(), [B]);
});

test('a VIP that moves to another interface is never on both', () => {
  const { kernel, controller } = holding();

  controller.set(leading(400, [{ ...A, interface: 'eth1' }]));

  assert.deepEqual(kernel.told().slice(0, 3), [
    'guard 10.0.0.100@eth1 10.0.0.100@eth0',
    'del 10.0.0.100',
    'add 10.0.0.100 dev eth1 valid_lft 3',
  ]);
});

test('another tenure starts from nothing', () => {
  const { kernel, controller, transitions } = holding();

  controller.set(leading(500, [A], 8));

  assert.deepEqual(kernel.told().slice(0, 3), [
    'shut',
    'del 10.0.0.100',
    'add 10.0.0.100 dev eth0 valid_lft 3',
  ]);
  assert.deepEqual(transitions, [
    '10.0.0.100 gone in 7: another tenure begins',
    '10.0.0.100 held in 8: leader',
  ]);
});

test('an address that somebody removed is back and announced at once', () => {
  const { kernel, controller, transitions } = holding();

  kernel.steal(A.address);

  assert.deepEqual(kernel.told(), CLAIM_OF_A);
  assert.equal(controller.counters().repairs, 1);
  assert.deepEqual(transitions, []);
});

test('without its fence it lets go at once, and claims again behind a new one', () => {
  const { clock, kernel, controller, transitions } = holding();
  kernel.removeFence();

  controller.renew(430);
  assert.deepEqual(kernel.told().slice(0, 4), [
    'shut',
    'del 10.0.0.100',
    'guard 10.0.0.100@eth0',
    'add 10.0.0.100 dev eth0 valid_lft 3',
  ]);
  assert.deepEqual(transitions, [
    '10.0.0.100 gone in 7: others took the fence away, and nothing is held without one',
    '10.0.0.100 held in 7: leader',
  ]);

  clock.advance(100);
  kernel.told();
  kernel.removeFence();
  controller.renew(clock.now() + 400);
  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100']);
  assert.equal(
    controller.view()[0]?.reason,
    'others took the fence away, and nothing is held without one',
  );

  clock.advance(900);
  controller.renew(clock.now() + 400);
  assert.deepEqual(kernel.told(), [], 'no fight at full speed');

  clock.advance(100);
  controller.renew(clock.now() + 400);
  assert.deepEqual(kernel.told().slice(0, 2), [
    'guard 10.0.0.100@eth0',
    'add 10.0.0.100 dev eth0 valid_lft 3',
  ]);
  assert.equal(controller.counters().fenceLosses, 2);
});

test('an interface that is missing or down is waited for', () => {
  const { clock, kernel, controller } = bench();
  kernel.unplug('eth0');
  controller.set(leading(10_000));
  assert.equal(controller.view()[0]?.reason, 'interface eth0 is not there');
  assert.deepEqual(controller.eligibility(), {
    eligible: false,
    reason: 'interface eth0 is not there',
  });

  kernel.plug('eth0', { up: false });
  assert.equal(controller.view()[0]?.reason, 'interface eth0 is down or has no carrier');
  assert.equal(controller.holding(), false);

  clock.advance(50);
  kernel.plug('eth0', { up: true });
  assert.equal(controller.holding(), true);
  assert.equal(controller.eligibility().eligible, true);
});

test('a VIP whose interface vanishes is not held any more', () => {
  const { kernel, controller, transitions } = holding();

  kernel.unplug('eth0');

  assert.equal(controller.holding(), false);
  assert.deepEqual(transitions, ['10.0.0.100 gone in 7: interface eth0 is not there']);
});

test('a lost carrier keeps the address, and its return announces it anew', () => {
  const { clock, kernel, controller } = holding();
  renewFor(5_000, { clock, controller });
  kernel.plug('eth0', { up: false });
  assert.equal(controller.holding(), true);
  assert.equal(controller.view()[0]?.reason, 'interface eth0 is down or has no carrier');
  kernel.told();

  kernel.plug('eth0', { up: true });
  clock.advance(0);

  assert.deepEqual(
    kernel.told().filter((line) => line.startsWith('send')),
    CLAIM_OF_A.slice(2),
  );
});

test('a link with a new MAC is announced anew', () => {
  const { clock, kernel, controller } = holding();
  renewFor(5_000, { clock, controller });
  kernel.told();

  kernel.plug('eth0', { mac: '02:00:00:00:00:99' });
  clock.advance(0);

  assert.ok(kernel.told().includes('send eth0 arp reply 10.0.0.100 is at 02:00:00:00:00:99'));
});

test('announcements follow the claim for seconds, and then go on slowly', () => {
  const { clock, kernel, controller } = bench();
  controller.set(leading(60_000));
  const at: number[] = [];
  for (let now = 0; now <= 22_000; now += 100) {
    if (kernel.told().some((line) => line.includes('arp reply'))) at.push(now);
    clock.advance(100);
  }

  assert.deepEqual(at, [0, 100, 500, 1000, 2000, 12_000, 22_000]);
});

test('an address that the kernel refuses is no claim, and says why', () => {
  const { kernel, controller, transitions } = bench();
  kernel.before.set('add', () => {
    throw new Error('Permission denied');
  });

  controller.set(leading(400));

  assert.equal(controller.view()[0]?.reason, 'Permission denied');
  assert.equal(controller.holding(), false);
  assert.deepEqual(transitions, []);
});

test('without a fence nothing is claimed, and the reason is told', () => {
  const { kernel, controller } = bench();
  kernel.before.set('guard', () => {
    throw new Error('the program nft is not installed');
  });

  controller.set(leading(400));

  assert.deepEqual(kernel.told(), ['guard 10.0.0.100@eth0']);
  assert.equal(controller.view()[0]?.reason, 'fence: the program nft is not installed');
});

test('failing to let go throws, after everything else was tried', () => {
  const { kernel, controller } = holding([A, B]);
  kernel.before.set('del', () => {
    kernel.before.clear();
    throw new Error('Operation not permitted');
  });

  assert.throws(() => controller.set(following([A, B])), {
    code: 'vip-stuck',
    message: 'the VIP could not be withdrawn: Operation not permitted',
  });

  assert.equal(kernel.fenceIsOpen(), false);
  assert.deepEqual(kernel.told().slice(0, 3), ['shut', 'del 10.0.0.100', 'del fd00::100']);
});

test('an address that stays is fenced in, also where somebody took the fence away', () => {
  const { kernel, controller } = holding();
  kernel.removeFence();
  kernel.before.set('del', () => {
    throw new Error('Operation not permitted');
  });

  assert.throws(() => controller.renew(430), { code: 'vip-stuck' });

  assert.equal(kernel.told().at(-1), 'guard 10.0.0.100@eth0');
  assert.equal(kernel.fenceIsOpen(), false);
});

test('stop() lets go, removes the fence, and does nothing afterwards', () => {
  const { clock, kernel, controller } = holding();

  controller.stop();

  assert.deepEqual(kernel.told(), ['shut', 'del 10.0.0.100', 'unguard']);
  controller.renew(9_000);
  kernel.plug('eth0');
  clock.advance(10_000);
  assert.deepEqual(kernel.told(), []);
});
