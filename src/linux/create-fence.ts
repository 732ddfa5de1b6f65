/** Picks the strongest guard that this host offers, and says which one and why. */
import { describeError, OperatingError } from '../base/errors.ts';
import { DoubleFence } from './double-fence.ts';
import { EbpfFence } from './ebpf-fence.ts';
import type { HostFence } from './host-fence.ts';
import { NftFence } from './nft-fence.ts';

export interface ChosenFence {
  readonly fence: HostFence;
  readonly reason: string;
}

/** Both fences where eBPF can be loaded, else the one of nftables alone. */
export function createFence(): ChosenFence {
  try {
    const fence = new DoubleFence(new EbpfFence(), new NftFence({ beside: true }));
    return { fence, reason: 'the kernel runs the eBPF fence, and nftables stands beside it' };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { fence: new NftFence(), reason: `no eBPF fence: ${describeError(error)}` };
  }
}
