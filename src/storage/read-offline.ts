/** What a node's directory says while no agent runs: for `status` on a host that is down. */
import { errorCode } from '../base/errors.ts';
import type { Entry, HardState, Snapshot } from '../raft/types.ts';
import { openStore, readIdentity } from './data-dir.ts';
import { readStore } from './log-storage.ts';
import type { Identity } from './records.ts';

export type OfflineView =
  | {
      readonly kind: 'read';
      readonly identity: Identity;
      readonly hard: HardState;
      /** Undefined for a joiner that never heard of the leader. */
      readonly snapshot: Snapshot | undefined;
      /** Every entry behind the snapshot. */
      readonly entries: readonly Entry[];
      /** Those of them that are known to be committed. */
      readonly committed: readonly Entry[];
    }
  /** Another process uses the store: the agent runs, or is about to. */
  | { readonly kind: 'locked'; readonly identity: Identity };

/** @throws OperatingError as `openLogStorage` does, except `data-locked`. */
export async function readOffline(dir: string): Promise<OfflineView> {
  const identity = await readIdentity(dir);
  try {
    const store = await openStore(dir, false);
    try {
      const { hard, snapshot, entries } = await readStore(store);
      const committed = entries.filter((entry) => entry.index <= hard.commit);
      return { kind: 'read', identity, hard, snapshot, entries, committed };
    } finally {
      await store.close();
    }
  } catch (error) {
    if (errorCode(error) === 'data-locked') return { kind: 'locked', identity };
    throw error;
  }
}
