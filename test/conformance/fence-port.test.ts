/** One suite for the fence's port, on each guard that the kernel offers, and both. Needs root. */
import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { rawNow } from '../../src/linux/clock.ts';
import { DoubleFence } from '../../src/linux/double-fence.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { NftFence } from '../../src/linux/nft-fence.ts';
import { EVERY_ANSWER, fenceBench, V4, VIPS } from './fence-bench.ts';
import { run } from './netns.ts';

const { answers, announce, answersElsewhere, learnsHolder, close } = fenceBench();
after(close);

const guards = {
  ebpf: () => new EbpfFence(),
  nft: () => new NftFence(),
  double: () => new DoubleFence(new EbpfFence(), new NftFence({ beside: true })),
};

for (const [kind, otherKind] of [
  ['ebpf', 'nft'],
  ['nft', 'ebpf'],
  ['double', 'nft'],
] as const) {
  describe(`the ${kind} fence`, () => {
    let fence = guards[kind]();

    afterEach(() => {
      fence.disarm();
      fence = guards[kind]();
    });

    test('lets nothing pass for or from a VIP until open(), nor after the deadline', async () => {
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

    test('shut, it lets this host hear who announces the VIP: it is a client too', async () => {
      fence.arm(VIPS);

      assert.equal(await learnsHolder(), true);
    });

    test('open() with a deadline that has passed closes', async () => {
      fence.arm(VIPS);
      fence.open(rawNow() + 60_000);
      fence.open(rawNow() - 1);

      assert.deepEqual(await answers(), []);
    });

    test('lets announcements by a packet socket leave only before the deadline', async () => {
      fence.arm(VIPS);
      assert.deepEqual(await announce(), { taken: [false, false, false], arrived: [] });

      fence.open(rawNow() + 60_000);
      assert.deepEqual(await announce(), {
        taken: [true, true, true],
        arrived: ['10.77.0.100 arp', 'fd77::100 neighbour'],
      });
    });

    test('has questions for a VIP on another link unanswered, whatever the lease', async () => {
      assert.deepEqual(await answersElsewhere(), ['10.77.0.100 arp'], 'Linux is a weak host');

      fence.arm(VIPS);
      fence.open(rawNow() + 60_000);
      assert.deepEqual(await answersElsewhere(), []);

      run('nft flush ruleset');
      fence.arm(VIPS);
      assert.deepEqual(await answersElsewhere(), []);
    });

    test("replaces a dead agent's, of its own kind or the other, and starts shut", async () => {
      for (const dead of [guards[kind](), guards[otherKind]()]) {
        dead.arm(VIPS);
        dead.open(rawNow() + 60_000);
        fence = guards[kind]();
        fence.arm(VIPS);

        assert.deepEqual(await answers(), []);
        fence.open(rawNow() + 60_000);
        assert.deepEqual(await answers(), EVERY_ANSWER);
        fence.shut();
      }
    });

    test('arm() twice is once, and does not close what is open', async () => {
      fence.arm(VIPS);
      fence.open(rawNow() + 60_000);

      fence.arm([...VIPS]);

      assert.deepEqual(await answers(), EVERY_ANSWER);
    });

    test('a guarded link that vanishes is no lost fence, and arm() goes on without it', () => {
      run('ip link add eth8 type veth peer name eth9');
      fence.arm([...VIPS, { address: '10.77.0.101', interface: 'eth8' }]);

      run('ip link del eth8');

      assert.equal(fence.intact(), true);
      fence.arm(VIPS);
      assert.equal(fence.intact(), true);
    });

    test('a guarded link that was made anew is guarded again by arm()', async () => {
      const guarded = { address: '10.77.0.101', interface: 'eth8' };
      run('ip link add eth8 type veth peer name eth9');
      fence.arm([...VIPS, guarded]);
      run('ip link del eth8');
      run('ip link add eth8 type veth peer name eth9');

      fence.arm([...VIPS, guarded]);

      const shown = run('nft list ruleset') + run('tc filter show dev eth8 ingress');
      assert.match(shown, /device "eth8"|handle 0x4846 holdfast/);
      run('ip link del eth8');
    });

    test('shut() and disarm() bear that somebody has flushed all rules', async () => {
      fence.arm(VIPS);
      fence.open(rawNow() + 60_000);
      run('nft flush ruleset');

      fence.shut();

      assert.deepEqual(await answers(), []);
      fence.disarm();
      assert.equal(run('nft list tables'), '');
    });

    test('arm() refuses an interface that is not there', () => {
      assert.throws(() => fence.arm([{ address: V4.address, interface: 'eth7' }]), {
        code: 'interface-missing',
      });
    });

    test('arm() without VIPs and disarm() leave nothing', () => {
      fence.arm(VIPS);
      fence.arm([]);
      assert.equal(run('nft list tables'), '');

      fence.arm(VIPS);
      fence.disarm();
      assert.equal(run('nft list tables'), '');
      assert.equal(run('tc filter show dev eth0 ingress').includes('holdfast'), false);
    });
  });
}
