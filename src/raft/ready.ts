/** What a core hands out: the work of one turn, in the order that rawnode.ts describes. */
import type { Message } from './message.ts';
import type { ReadState } from './readonly.ts';
import type { Entry, HardState, LeaseView, Snapshot } from './types.ts';

/** What there is to do; see the head of this file for the order. */
export interface Ready {
  /** To persist; absent if unchanged since the last Ready. */
  readonly hard?: HardState;
  /** To persist: replaces everything from the index of the first on. */
  readonly entries: readonly Entry[];
  /** Received: persist, and restore the state machine from it before anything later. */
  readonly snapshot?: Snapshot;
  /** Whether the batch must be synced; a change of the commit index alone need not be. */
  readonly mustSync: boolean;
  /** May leave at once. */
  readonly messages: readonly Message[];
  /** Only after everything of this Ready and of all before it is durable. */
  readonly afterAppend: readonly Message[];
  /** To apply in order, each exactly once; already durable here. */
  readonly committed: readonly Entry[];
  /** Reads that may be served once their index is applied. */
  readonly readStates: readonly ReadState[];
  /** Contexts of reads that died with a leadership. */
  readonly failedReads: readonly number[];
  readonly lease: LeaseView;
}
