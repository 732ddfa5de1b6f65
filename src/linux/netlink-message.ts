/**
 * Netlink's bytes: headers and attributes (linux/netlink.h), native byte order, four-byte
 * alignment. Pure; decoding is total on whatever the kernel sent: what does not fit is left out.
 */

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

export const HEADER_BYTES = 16;

const align = (length: number): number => (length + 3) & ~3;

export interface NetlinkHeader {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
}

export function encodeMessage(header: NetlinkHeader, payload: Uint8Array): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + payload.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(header.type, 4);
  message.writeUInt16LE(header.flags, 6);
  message.writeUInt32LE(header.sequence, 8);
  message.set(payload, HEADER_BYTES);
  return message;
}

/** The messages that one datagram holds. Payloads are views into `datagram`. */
export function* decodeMessages(datagram: Buffer): Generator<NetlinkMessage> {
  let offset = 0;
  while (offset + HEADER_BYTES <= datagram.length) {
    const length = datagram.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > datagram.length) return;
    yield {
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      payload: datagram.subarray(offset + HEADER_BYTES, offset + length),
    };
    offset += align(length);
  }
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(4 + value.length));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0, 0);
  return bytes;
}

/** Text with the zero byte at its end that the kernel wants. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'latin1');
}

export function fromCString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}

/** The attributes by type, without the nested and byte-order flags; the last of a type counts. */
export function decodeAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const result = new Map<number, Buffer>();
  let offset = 0;
  while (offset + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) break;
    result.set(
      bytes.readUInt16LE(offset + 2) & 0x3fff,
      bytes.subarray(offset + 4, offset + length),
    );
    offset += align(length);
  }
  return result;
}
