/**
 * The checksums of a LevelDB table (.ldb), at which LevelDB looks only when it compacts. Our values
 * have their own, but the keys and sequence numbers between them do not: a bit flipped there could
 * bring back an older value of a key, a vote among them.
 *
 * Format: blocks, each followed by a type (1 byte) and a masked CRC-32C (4); a footer of 48 bytes
 * with the places of two index blocks and a magic number (LevelDB's doc/table_format.md).
 */
import { maskedCrc32c } from './crc32c.ts';
import { VarintReader } from './varint-reader.ts';

const footerBytes = 48;
const trailerBytes = 5;
const magic = 0xdb4775248b80fb57n;

interface Block {
  readonly offset: number;
  /** Without its trailer. */
  readonly size: number;
}

/**
 * Where the first damaged block lies; null if there is none.
 *
 * @throws OperatingError `data-corrupt` for an index that cannot be read.
 */
export function damagedBlock(table: Uint8Array): number | null {
  const footer = table.length - footerBytes;
  if (footer < 0) return 0;
  const view = viewOf(table);
  if (view.getBigUint64(table.length - 8, true) !== magic) return footer;
  const places = new VarintReader(table.subarray(footer, table.length - 8));
  // The first lists blocks about the table, the second those with the data.
  for (const index of [readPlace(places), readPlace(places)]) {
    if (!isWhole(table, index)) return index.offset;
    const damaged = listed(table, index).find((block) => !isWhole(table, block));
    if (damaged !== undefined) return damaged.offset;
  }
  return null;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readPlace(reader: VarintReader): Block {
  return { offset: reader.number(), size: reader.number() };
}

function isWhole(table: Uint8Array, { offset, size }: Block): boolean {
  const end = offset + size + trailerBytes;
  if (end > table.length - footerBytes) return false;
  // The checksum covers the type too.
  const stored = viewOf(table).getUint32(end - 4, true);
  return stored === maskedCrc32c(table.subarray(offset, end - 4));
}

/** The places that an index block names: entries of keys and places, then offsets to restart at. */
function listed(table: Uint8Array, { offset, size }: Block): readonly Block[] {
  const index = table.subarray(offset, offset + size);
  const restarts = viewOf(index).getUint32(size - 4, true);
  const reader = new VarintReader(index.subarray(0, size - 4 * (restarts + 1)));
  const places: Block[] = [];
  while (!reader.done) {
    // What the key shares with the one before, its rest, and the length of the place.
    reader.number();
    const rest = reader.number();
    reader.number();
    reader.skip(rest);
    places.push(readPlace(reader));
  }
  return places;
}
