/**
 * A process that holds VIPs with the real kernel parts and renews its own lease, to be stopped or
 * killed by a test. Arguments: a JSON object; prints `holding` once it does.
 */
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { DoubleFence } from '../../src/linux/double-fence.ts';
import { EbpfFence } from '../../src/linux/ebpf-fence.ts';
import { NftFence } from '../../src/linux/nft-fence.ts';
import { createPacketLink } from '../../src/linux/packet-link.ts';
import { VipController } from '../../src/vip/controller.ts';
import { probeCodec } from '../../src/vip/frames.ts';
import type { VipPlacement } from '../../src/vip/ports.ts';

interface Arguments {
  readonly vips: readonly VipPlacement[];
  readonly fence: 'ebpf' | 'nft' | 'double';
  readonly leaseMs: number;
  readonly renewEveryMs: number;
}

const { vips, fence, leaseMs, renewEveryMs } = JSON.parse(process.argv[2] ?? '') as Arguments;
const fences = {
  ebpf: () => new EbpfFence(),
  nft: () => new NftFence(),
  double: () => new DoubleFence(new EbpfFence(), new NftFence({ beside: true })),
};
const clock = systemClock(rawNow);
const controller = new VipController({
  clock,
  table: createAddressTable(clock),
  fence: fences[fence](),
  link: createPacketLink(clock, probeCodec),
  log: silentLogger,
  marginMs: 60,
});
controller.start();
const hold = { epoch: 1, deadline: clock.now() + leaseMs };
controller.set({ vips, hold, reason: 'the test wants it' });
process.stdout.write('holding\n');
setInterval(() => controller.renew(clock.now() + leaseMs), renewEveryMs);
