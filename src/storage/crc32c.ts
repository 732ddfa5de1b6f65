/**
 * CRC-32C (Castagnoli, as in RFC 3720 appendix B.4): catches every single flipped bit and every
 * burst of up to 32. Table-driven, one byte a step: the log of a control plane is small.
 */

const polynomial = 0x82f63b78;

const table: Uint32Array = makeTable();

function makeTable(): Uint32Array {
  const result = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0);
    result[byte] = crc >>> 0;
  }
  return result;
}

/** The checksum of `bytes`, continuing from `previous` (0 for the first part). */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

const maskDelta = 0xa282ead8;

/** The checksum as LevelDB stores it: guarded against data that holds checksums itself. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + maskDelta) >>> 0;
}
