/**
 * The few TCP segments of a client that only knocks, as bytes on a device without a link layer: IP
 * header, TCP header, no options, no payload. Pure; decoding is total.
 */
import { formatIp, parseIp } from '../base/ip.ts';

export const TcpFlag = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;

export interface Segment {
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledges: number;
}

const TCP = 6;
const TCP_BYTES = 20;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const HOPS = 64;
/** RFC 792 and RFC 4443: destination unreachable. */
const ICMP = { 4: { protocol: 1, unreachable: 3 }, 6: { protocol: 58, unreachable: 1 } } as const;

export function encodeSegment(segment: Segment): Buffer {
  const from = parseIp(segment.from) ?? new Uint8Array(4);
  const to = parseIp(segment.to) ?? new Uint8Array(4);
  const tcp = Buffer.alloc(TCP_BYTES);
  tcp.writeUInt16BE(segment.fromPort, 0);
  tcp.writeUInt16BE(segment.toPort, 2);
  tcp.writeUInt32BE(segment.sequence >>> 0, 4);
  tcp.writeUInt32BE(segment.acknowledges >>> 0, 8);
  tcp.writeUInt8((TCP_BYTES / 4) << 4, 12);
  tcp.writeUInt8(segment.flags, 13);
  tcp.writeUInt16BE(0xffff, 14);
  const pseudo = Buffer.from([0, TCP, 0, TCP_BYTES]);
  tcp.writeUInt16BE(checksum(from, to, pseudo, tcp), 16);
  return Buffer.concat([from.length === 4 ? ipv4(from, to) : ipv6(from, to), tcp]);
}

function ipv4(from: Uint8Array, to: Uint8Array): Buffer {
  const header = Buffer.alloc(IPV4_BYTES);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(IPV4_BYTES + TCP_BYTES, 2);
  // Not to be fragmented, which spares an identification.
  header.writeUInt16BE(0x4000, 6);
  header.writeUInt8(HOPS, 8);
  header.writeUInt8(TCP, 9);
  header.set(from, 12);
  header.set(to, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6(from: Uint8Array, to: Uint8Array): Buffer {
  const header = Buffer.alloc(IPV6_BYTES);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(TCP_BYTES, 4);
  header.writeUInt8(TCP, 6);
  header.writeUInt8(HOPS, 7);
  header.set(from, 8);
  header.set(to, 24);
  return header;
}

/** RFC 1071, over all parts; each but the last is of even length. */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A TCP segment, the news that somebody does not let packets pass, or nothing of interest. */
export function decodePacket(packet: Buffer): Segment | 'unreachable' | null {
  const family = (packet[0] ?? 0) >> 4;
  if (family !== 4 && family !== 6) return null;
  const headerBytes = family === 4 ? ((packet[0] ?? 0) & 15) * 4 : IPV6_BYTES;
  const body = packet.subarray(headerBytes);
  const protocol = family === 4 ? packet[9] : packet[6];
  if (protocol === ICMP[family].protocol && body[0] === ICMP[family].unreachable) {
    return 'unreachable';
  }
  if (protocol !== TCP || body.length < TCP_BYTES) return null;
  const [at, size] = family === 4 ? [12, 4] : [8, 16];
  return {
    from: formatIp(packet.subarray(at, at + size)),
    to: formatIp(packet.subarray(at + size, at + 2 * size)),
    fromPort: body.readUInt16BE(0),
    toPort: body.readUInt16BE(2),
    sequence: body.readUInt32BE(4),
    acknowledges: body.readUInt32BE(8),
    flags: body.readUInt8(13),
  };
}
