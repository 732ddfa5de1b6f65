/**
 * A disk without room. LevelDB goes on after a write that found none, behind a record that may be
 * torn; so the store is closed at once and opened anew when there is room, which mends the end of
 * its journal as after a crash. What was not acknowledged is then written again.
 *
 * This holds for "no room" only: after any other failure of a sync nobody knows what is on disk.
 */
import { statfs } from 'node:fs/promises';
import { type Clock, type Millis, sleep } from '../base/clock.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import { openStore, type Store } from './data-dir.ts';

/** What opening may write: a journal as a table, and a MANIFEST. */
const neededBytes = 4 * 1024 * 1024;
const lookEveryMs: Millis = 500;

/** LevelDB tells ENOSPC and EDQUOT by the C library's words only. */
const words = /No space left on device|Disk quota exceeded/i;

export function isNoRoom(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (words.test(cause.message)) return true;
  }
  return false;
}

/**
 * Opens the store of `dir` as soon as there is room for it.
 *
 * @param isOver asked again and again: nobody waits any more
 * @throws OperatingError as `openStore`, and `data-full` when it is over
 */
export async function openWithRoom(
  dir: string,
  clock: Clock,
  isOver: () => boolean,
): Promise<Store> {
  for (;;) {
    if (isOver()) throw stillFull(dir);
    if (await hasRoom(dir)) {
      try {
        return await openStore(dir, false);
      } catch (error) {
        // A passing `status` may be looking at it.
        if (!isNoRoom(error) && errorCode(error) !== 'data-locked') throw error;
      }
    }
    await sleep(clock, lookEveryMs);
  }
}

async function hasRoom(dir: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize >= neededBytes;
}

function stillFull(dir: string): OperatingError {
  return new OperatingError({
    code: 'data-full',
    message: `there is no space left on the disk of ${dir}`,
    hint: 'make room: `df`',
    facts: { dir },
  });
}
