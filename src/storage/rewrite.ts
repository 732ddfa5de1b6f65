/**
 * A stopped node's log, read at rest and put anew: the one way in which a log goes on other than
 * from its own end. One batch, so that after a crash the old log or the new one is there, whole.
 */
import type { Clock } from '../base/clock.ts';
import type { HardState, Snapshot } from '../raft/types.ts';
import { openUnlocked, readStore, type StoreContents } from './log-storage.ts';
import { encodeHardState, encodeSnapshot, entryKey, hardKey, snapshotKey } from './records.ts';

/**
 * Replaces the whole log in `dir` by the snapshot that `renew` makes of what it holds. What the
 * node promised stays owed (rule R2).
 *
 * @throws OperatingError as `openLogStorage` does, and whatever `renew` throws: nothing is changed
 */
export async function rewriteLog(
  dir: string,
  lockWait: { readonly clock: Clock; readonly maxMs: number },
  renew: (found: StoreContents) => Snapshot,
): Promise<void> {
  const store = await openUnlocked(dir, lockWait);
  try {
    const found = await readStore(store);
    const snapshot = renew(found);
    const { index, term } = snapshot.meta;
    const { promiseMaxMs } = found.hard;
    const hard: HardState = { term, vote: null, commit: index, promiseMaxMs };
    const batch = store.batch();
    for (const entry of found.entries) batch.del(entryKey(entry.index));
    batch.put(snapshotKey, encodeSnapshot(snapshot));
    batch.put(hardKey, encodeHardState(hard, index));
    await batch.write({ sync: true });
  } finally {
    await store.close();
  }
}
