/**
 * LevelDB's record files (journals and the MANIFEST), read before LevelDB reads them. At a damaged
 * record LevelDB drops, in silence, that record and others after it: a flipped bit would take back
 * votes and entries that were acknowledged. Here damage is told; only what a crash in mid-write
 * leaves, a record that the file ends within, is let pass.
 *
 * Format: blocks of 32 KiB; fragments of a masked CRC-32C (4 bytes), a length (2), a type (1) and
 * the payload; no fragment crosses a block (LevelDB's doc/log_format.md).
 */
import { maskedCrc32c } from './crc32c.ts';

const blockBytes = 32 * 1024;
const headerBytes = 7;

/** Types of fragments: a whole record, or a part of one. */
const full = 1;
const last = 4;

export interface RecordLog {
  /** The whole records, in order. */
  readonly records: readonly Uint8Array[];
  /** Where the first damaged fragment begins; null for none, a torn end included. */
  readonly damagedAt: number | null;
}

interface Fragment {
  /** Where its header begins. */
  readonly start: number;
  /** Where it ends by its own word: perhaps beyond the block, or the file. */
  readonly end: number;
}

export function readRecordLog(file: Uint8Array): RecordLog {
  const records: Uint8Array[] = [];
  let parts: Uint8Array[] = [];
  let at = 0;
  for (;;) {
    const fragment = fragmentAt(file, at);
    if (fragment === null) return { records, damagedAt: null };
    const { start, end } = fragment;
    if (!isWhole(file, fragment)) {
      const damagedAt = isTorn(file, fragment) ? null : start;
      return { records, damagedAt };
    }
    parts.push(file.subarray(start + headerBytes, end));
    const type = file[start + 6] ?? 0;
    if (type === full || type === last) {
      records.push(parts.length === 1 ? file.subarray(start + headerBytes, end) : joined(parts));
      parts = [];
    }
    at = end;
  }
}

/** The fragment at or after `at`; null where the file ends before its header does. */
function fragmentAt(file: Uint8Array, at: number): Fragment | null {
  const blockLeft = blockBytes - (at % blockBytes);
  const start = blockLeft < headerBytes ? at + blockLeft : at;
  if (start + headerBytes > file.length) return null;
  const length = (file[start + 4] ?? 0) | ((file[start + 5] ?? 0) << 8);
  return { start, end: start + headerBytes + length };
}

function blockEndOf({ start }: Fragment): number {
  return start - (start % blockBytes) + blockBytes;
}

function isWhole(file: Uint8Array, fragment: Fragment): boolean {
  const { start, end } = fragment;
  return end <= file.length && end <= blockEndOf(fragment) && checksumHolds(file, start, end);
}

/** The checksum covers the type and the payload. */
function checksumHolds(file: Uint8Array, start: number, end: number): boolean {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return view.getUint32(start, true) === maskedCrc32c(file.subarray(start + 6, end));
}

/** Whether a crash in the middle of writing `fragment` explains what is there. */
function isTorn(file: Uint8Array, fragment: Fragment): boolean {
  const blockEnd = blockEndOf(fragment);
  if (fragment.end > blockEnd) return isUnwritten(file, { ...fragment, end: blockEnd });
  if (fragment.end > file.length) return !isFollowed(file, fragment);
  return isUnwritten(file, fragment);
}

/**
 * Whether a power failure explains the fragment: the file had its new length already, but from
 * somewhere within this fragment on it holds only zeroes, as the data never came.
 */
function isUnwritten(file: Uint8Array, { start, end }: Fragment): boolean {
  let lastByte = file.length - 1;
  while (lastByte >= start && file[lastByte] === 0) lastByte--;
  return lastByte < end && file.length - 1 - lastByte >= headerBytes;
}

/**
 * Whether a fragment that claims to go on beyond the file is in truth one with a wrong length: it
 * is whole as it stands, or whole ones come after it.
 */
function isFollowed(file: Uint8Array, { start }: Fragment): boolean {
  if (checksumHolds(file, start, file.length)) return true;
  for (let at = start + headerBytes; at + headerBytes <= file.length; at++) {
    const type = file[at + 6] ?? 0;
    if (type < full || type > last) continue;
    const next = fragmentAt(file, at);
    if (next !== null && next.start === at && isWhole(file, next)) return true;
  }
  return false;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
