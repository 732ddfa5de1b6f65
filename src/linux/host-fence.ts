/** What the agent asks of the host's fence beside the port of the VIP room. */
import type { Fence } from '../vip/ports.ts';

export interface HostFence extends Fence {
  /** The kinds of guard that stand at this moment, for status: `ebpf`, `nft`. */
  standing(): readonly string[];
  /** Frames dropped since this process loaded the fence; null where nobody counts them. */
  drops(): number | null;
  /** Why fewer kinds guard here than could, in words; null where all do. */
  trouble(): string | null;
}
