/** Picks the strongest guard that this host offers, and says which one and why. */
import { describeError, OperatingError } from '../base/errors.ts';
import type { Fence } from '../vip/ports.ts';
import { EbpfFence } from './ebpf-fence.ts';
import { NftFence } from './nft-fence.ts';

export interface ChosenFence {
  readonly fence: Fence;
  readonly reason: string;
}

/** The eBPF fence where it can be loaded, else the one of nftables. */
export function createFence(): ChosenFence {
  try {
    const fence = new EbpfFence();
    return { fence, reason: 'the kernel runs the eBPF fence' };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { fence: new NftFence(), reason: `no eBPF fence: ${describeError(error)}` };
  }
}
