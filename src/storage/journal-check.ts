/**
 * Reads LevelDB's journal before LevelDB does. At a damaged record LevelDB drops, in silence, that
 * record and others after it: a flipped bit would take back votes and entries that were
 * acknowledged. Here damage is an error; only what a crash in mid-write leaves, a record that the
 * file ends within, is let pass.
 *
 * Format: blocks of 32 KiB; records of a masked CRC-32C (4 bytes), a length (2), a type (1) and the
 * payload; no record crosses a block (LevelDB's doc/log_format.md).
 */
import { readdir, readFile } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';
import { crc32c } from './crc32c.ts';
import { dataCorrupt } from './refusals.ts';

const blockBytes = 32 * 1024;
const headerBytes = 7;
const maskDelta = 0xa282ead8;

/** @throws OperatingError `data-corrupt` */
export async function checkJournals(storeDir: string): Promise<void> {
  for (const name of await readdir(storeDir)) {
    if (!name.endsWith('.log')) continue;
    const journal = await readIfThere(`${storeDir}/${name}`);
    const damagedAt = journal === null ? null : firstDamage(journal);
    if (damagedAt !== null) {
      throw dataCorrupt(`the journal ${name} is damaged at byte ${damagedAt}`);
    }
  }
}

/** Null where a running agent has just done away with the file. */
async function readIfThere(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Where the first damaged record begins; null for none, a torn end included. */
export function firstDamage(journal: Uint8Array): number | null {
  const view = new DataView(journal.buffer, journal.byteOffset, journal.byteLength);
  let at = 0;
  for (;;) {
    const blockLeft = blockBytes - (at % blockBytes);
    if (blockLeft < headerBytes) at += blockLeft;
    const start = at;
    if (start + headerBytes > journal.length) return null;
    const length = view.getUint16(start + 4, true);
    const end = start + headerBytes + length;
    const blockEnd = start - (start % blockBytes) + blockBytes;
    if (end > blockEnd) return isUnwritten(journal, start, blockEnd) ? null : start;
    if (end > journal.length) return null;
    const stored = view.getUint32(start, true);
    // The checksum covers the type and the payload.
    if (stored !== masked(crc32c(journal.subarray(start + 6, end)))) {
      return isUnwritten(journal, start, end) ? null : start;
    }
    at = end;
  }
}

/** LevelDB's guard against checksums of data that holds checksums. */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + maskDelta) >>> 0;
}

/**
 * Whether a power failure explains the record from `start` to `end`: the file had its new length
 * already, but from somewhere within this record on it holds only zeroes, as the data never came.
 */
function isUnwritten(journal: Uint8Array, start: number, end: number): boolean {
  let last = journal.length - 1;
  while (last >= start && journal[last] === 0) last--;
  return last < end && journal.length - 1 - last >= headerBytes;
}
