/** The replicated state as text for a file: from the agent, or from the disk while it is down. */
import { open, rename, rm } from 'node:fs/promises';
import { errorCode, OperatingError } from '../../base/errors.ts';
import type { SavedSnapshot } from '../../cluster/operations.ts';
import { encodeState } from '../../cluster/state-codec.ts';
import { replay } from '../../cluster/state-machine.ts';
import type { Paths } from '../../config/paths.ts';
import { readOffline } from '../../storage/read-offline.ts';
import { encodeSnapshotFile } from '../../storage/snapshot-file.ts';

/**
 * What a stopped node knows to be agreed on.
 *
 * @throws OperatingError `nothing-known`, `agent-down`, and those of the data directory
 */
export async function savedAtRest(paths: Paths): Promise<SavedSnapshot> {
  const view = await readOffline(paths.raft);
  if (view.kind === 'locked') {
    throw new OperatingError({
      code: 'agent-down',
      message: 'the agent runs and does not answer',
      hint: 'see its log (journalctl -u holdfast)',
    });
  }
  const { snapshot, committed } = view;
  if (snapshot === undefined || snapshot.meta.index === 0) {
    throw new OperatingError({
      code: 'nothing-known',
      message: 'this node does not know the state of its cluster yet',
      hint: 'save it on another member',
    });
  }
  const { index, term } = committed.at(-1) ?? snapshot.meta;
  return { index, term, state: encodeState(replay(snapshot, committed)) };
}

/** Text of the file. */
export function snapshotText(saved: SavedSnapshot): string {
  return encodeSnapshotFile(saved);
}

/**
 * Writes the file whole or not at all, readable by its owner alone.
 *
 * @throws OperatingError `file-not-writable`
 */
export async function writeSnapshot(path: string, text: string): Promise<void> {
  const draft = `${path}.part`;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw new OperatingError({
      code: 'file-not-writable',
      message: `${path} cannot be written (${errorCode(cause) ?? 'unknown error'})`,
      hint: 'give another path, or - for standard output',
      facts: { path },
      cause,
    });
  }
}
