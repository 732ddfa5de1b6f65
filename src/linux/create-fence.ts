/** Picks the strongest guard that this host offers, and says which one and why. */
import { describeError, OperatingError } from '../base/errors.ts';
import type { Fence } from '../vip/ports.ts';
import { EbpfFence } from './ebpf-fence.ts';

export interface ChosenFence {
  readonly fence: Fence;
  readonly reason: string;
}

/** Throws where there is none: without a guard no VIP may be held. */
export function createFence(): ChosenFence {
  try {
    const fence = new EbpfFence();
    return { fence, reason: 'the kernel drops frames of the VIPs itself after the deadline' };
  } catch (cause) {
    throw new OperatingError({
      code: 'no-fence',
      message: `the kernel offers no guard for the VIPs: ${describeError(cause)}`,
      hint: 'an agent needs CAP_NET_ADMIN and CAP_BPF and a kernel of 5.8 or later',
      cause,
    });
  }
}
