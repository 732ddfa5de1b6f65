/**
 * Neighbour discovery for IPv6 over Ethernet (RFC 4861) as bytes: the two messages that a VIP
 * needs, and a total decoder for them. An unsolicited neighbour advertisement with the override
 * flag, to all nodes, is IPv6's gratuitous ARP; a solicitation from `::` is its probe (RFC 4862).
 */
import { assert, defined } from '../base/assert.ts';
import { formatIp, parseIp } from '../base/ip.ts';
import { formatMac, type NotUnderstood, parseMac } from './arp.ts';

export interface Solicitation {
  readonly kind: 'solicitation';
  readonly source: string;
  readonly target: string;
}

export interface Advertisement {
  readonly kind: 'advertisement';
  readonly source: string;
  readonly target: string;
  readonly override: boolean;
  /** An answer to a question that named its asker. */
  readonly solicited: boolean;
  /** From the option; the frame's own source where the option is missing. */
  readonly mac: string;
}

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;
const ICMP_AT = ETHERNET_BYTES + IPV6_BYTES;
/** Type, code, checksum, flags, target. */
const MESSAGE_BYTES = 24;
const OPTION_BYTES = 8;
const ETHERTYPE_IPV6 = 0x86dd;
const NEXT_HEADER_ICMPV6 = 58;
/** RFC 4861 section 7.1: proof that no router has passed it on. */
const HOP_LIMIT = 255;
const TYPE_SOLICITATION = 135;
const TYPE_ADVERTISEMENT = 136;
const OPTION_SOURCE_MAC = 1;
const OPTION_TARGET_MAC = 2;
const FLAG_OVERRIDE = 0x20;
const FLAG_SOLICITED = 0x40;
const ALL_NODES = 'ff02::1';
const UNSPECIFIED = '::';

/** "`address` is at `mac`, whatever you knew before", to all nodes of the link. */
export function unsolicitedAdvertisement(address: string, mac: string): Uint8Array {
  const message = new Uint8Array(MESSAGE_BYTES + OPTION_BYTES);
  message[0] = TYPE_ADVERTISEMENT;
  message[4] = FLAG_OVERRIDE;
  message.set(ipv6Bytes(address), 8);
  message[MESSAGE_BYTES] = OPTION_TARGET_MAC;
  message[MESSAGE_BYTES + 1] = OPTION_BYTES / 8;
  message.set(parseMac(mac), MESSAGE_BYTES + 2);
  return encode({ mac, source: address, destination: ALL_NODES, message });
}

/** Asks who has `address` and claims nothing. */
export function neighbourProbe(address: string, mac: string): Uint8Array {
  const message = new Uint8Array(MESSAGE_BYTES);
  const target = ipv6Bytes(address);
  message[0] = TYPE_SOLICITATION;
  message.set(target, 8);
  const destination = solicitedNode(target);
  return encode({ mac, source: UNSPECIFIED, destination, message });
}

/** Asks who has `target`, in the name of `source`, which is at `mac` (RFC 4861 section 4.3). */
export function neighbourQuestion(target: string, mac: string, source: string): Uint8Array {
  const message = new Uint8Array(MESSAGE_BYTES + OPTION_BYTES);
  const bytes = ipv6Bytes(target);
  message[0] = TYPE_SOLICITATION;
  message.set(bytes, 8);
  message[MESSAGE_BYTES] = OPTION_SOURCE_MAC;
  message[MESSAGE_BYTES + 1] = OPTION_BYTES / 8;
  message.set(parseMac(mac), MESSAGE_BYTES + 2);
  return encode({ mac, source, destination: solicitedNode(bytes), message });
}

export function decodeNdp(frame: Uint8Array): Solicitation | Advertisement | NotUnderstood {
  if (frame.length < ICMP_AT + MESSAGE_BYTES) return { invalid: 'too short' };
  if (frame[12] !== ETHERTYPE_IPV6 >> 8 || frame[13] !== (ETHERTYPE_IPV6 & 0xff)) {
    return { invalid: 'not IPv6' };
  }
  if (frame[20] !== NEXT_HEADER_ICMPV6) return { invalid: 'not ICMPv6' };
  if (frame[21] !== HOP_LIMIT) return { invalid: 'came from beyond this link' };
  const length = ((frame[18] ?? 0) << 8) | (frame[19] ?? 0);
  if (length < MESSAGE_BYTES || ICMP_AT + length > frame.length) return { invalid: 'cut short' };
  const message = frame.subarray(ICMP_AT, ICMP_AT + length);
  if (checksum(frame.subarray(22, 38), frame.subarray(38, 54), message) !== 0) {
    return { invalid: 'wrong checksum' };
  }
  const source = formatIp(frame.subarray(22, 38));
  const target = formatIp(message.subarray(8, 24));
  if (message[0] === TYPE_SOLICITATION) return { kind: 'solicitation', source, target };
  if (message[0] !== TYPE_ADVERTISEMENT) return { invalid: 'neither question nor answer' };
  const option = targetMac(message.subarray(MESSAGE_BYTES));
  return {
    kind: 'advertisement',
    source,
    target,
    override: ((message[4] ?? 0) & FLAG_OVERRIDE) !== 0,
    solicited: ((message[4] ?? 0) & FLAG_SOLICITED) !== 0,
    mac: formatMac(option ?? frame.subarray(6, 12)),
  };
}

/**
 * The MAC that claims `address` as its own with this frame, or null.
 *
 * @param solicited only an answer to a question that named its asker counts
 */
export function ndpClaimant(address: string, frame: Uint8Array, solicited = false): string | null {
  const message = decodeNdp(frame);
  if ('invalid' in message || message.kind !== 'advertisement') return null;
  if (message.target !== address || (solicited && !message.solicited)) return null;
  return message.mac;
}

/** The MAC that claims `address` unasked, or null. */
export function ndpRival(address: string, frame: Uint8Array): string | null {
  const message = decodeNdp(frame);
  if ('invalid' in message || message.kind !== 'advertisement' || message.solicited) return null;
  return message.target === address ? message.mac : null;
}

interface Outgoing {
  readonly mac: string;
  readonly source: string;
  readonly destination: string;
  /** The ICMPv6 message with a checksum of zero; it is filled in. */
  readonly message: Uint8Array;
}

function encode({ mac, source, destination, message }: Outgoing): Uint8Array {
  const from = ipv6Bytes(source);
  const to = ipv6Bytes(destination);
  const sum = checksum(from, to, message);
  message[2] = sum >> 8;
  message[3] = sum & 0xff;
  const frame = new Uint8Array(ICMP_AT + message.length);
  // Multicast on Ethernet: 33:33 and the address's last four bytes (RFC 2464 section 7).
  frame.set([0x33, 0x33, ...to.subarray(12)], 0);
  frame.set(parseMac(mac), 6);
  frame.set([ETHERTYPE_IPV6 >> 8, ETHERTYPE_IPV6 & 0xff], 12);
  frame.set([0x60, 0, 0, 0, 0, message.length, NEXT_HEADER_ICMPV6, HOP_LIMIT], ETHERNET_BYTES);
  frame.set(from, 22);
  frame.set(to, 38);
  frame.set(message, ICMP_AT);
  return frame;
}

/** ICMPv6's checksum over pseudo header and message (RFC 4443 section 2.3); 0 if it holds. */
function checksum(source: Uint8Array, destination: Uint8Array, message: Uint8Array): number {
  const trailer = Uint8Array.of(0, 0, message.length >> 8, message.length & 0xff, 0, 0, 0, 58);
  let sum = 0;
  for (const part of [source, destination, trailer, message]) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** The target link-layer address among the options, or null. */
function targetMac(options: Uint8Array): Uint8Array | null {
  for (let at = 0; at + OPTION_BYTES <= options.length; ) {
    const units = options[at + 1] ?? 0;
    if (units === 0) return null;
    if (options[at] === OPTION_TARGET_MAC) return options.subarray(at + 2, at + 8);
    at += units * 8;
  }
  return null;
}

/** ff02::1:ff00:0/104 and the last three bytes (RFC 4291 section 2.7.1). */
function solicitedNode(target: Uint8Array): string {
  const bytes = ipv6Bytes('ff02::1:ff00:0');
  bytes.set(target.subarray(13), 13);
  return formatIp(bytes);
}

function ipv6Bytes(address: string): Uint8Array {
  const bytes = defined(parseIp(address), `address ${address}`);
  assert(bytes.length === 16, `${address} is not IPv6`);
  return bytes;
}
