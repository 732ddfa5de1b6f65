/**
 * ARP for IPv4 over Ethernet (RFC 826, RFC 5227) as bytes: a total codec. Decoding never throws on
 * the wire's behalf; what is not ARP for IPv4 comes back as the reason why.
 *
 * A gratuitous ARP names the VIP as sender and as target. Both forms are sent: some stacks learn
 * from requests only, some from replies only.
 */
import { assert, defined } from '../base/assert.ts';
import { formatIp, parseIp } from '../base/ip.ts';

export interface ArpPacket {
  readonly operation: 'request' | 'reply';
  readonly senderMac: string;
  readonly senderAddress: string;
  readonly targetMac: string;
  readonly targetAddress: string;
}

export interface NotUnderstood {
  readonly invalid: string;
}

export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';
export const NO_MAC = '00:00:00:00:00:00';
const NO_ADDRESS = '0.0.0.0';

const ETHERNET_BYTES = 14;
const ARP_BYTES = 28;
const ETHERTYPE_ARP = 0x0806;
/** Hardware Ethernet, protocol IPv4, their lengths: the only kind there is on our links. */
const ARP_FOR_IPV4 = Uint8Array.of(0, 1, 8, 0, 6, 4);
const OPERATIONS = { request: 1, reply: 2 } as const;

/** An Ethernet frame with `packet` for everybody on the link, from the packet's sender. */
export function encodeArp(packet: ArpPacket): Uint8Array {
  const frame = new Uint8Array(ETHERNET_BYTES + ARP_BYTES);
  frame.set(parseMac(BROADCAST_MAC), 0);
  frame.set(parseMac(packet.senderMac), 6);
  frame.set([ETHERTYPE_ARP >> 8, ETHERTYPE_ARP & 0xff], 12);
  frame.set(ARP_FOR_IPV4, 14);
  frame[21] = OPERATIONS[packet.operation];
  frame.set(parseMac(packet.senderMac), 22);
  frame.set(ipv4Bytes(packet.senderAddress), 28);
  frame.set(parseMac(packet.targetMac), 32);
  frame.set(ipv4Bytes(packet.targetAddress), 38);
  return frame;
}

export function decodeArp(frame: Uint8Array): ArpPacket | NotUnderstood {
  if (frame.length < ETHERNET_BYTES + ARP_BYTES) return { invalid: 'too short' };
  if (frame[12] !== ETHERTYPE_ARP >> 8 || frame[13] !== (ETHERTYPE_ARP & 0xff)) {
    return { invalid: 'not ARP' };
  }
  if (ARP_FOR_IPV4.some((byte, index) => frame[14 + index] !== byte)) {
    return { invalid: 'not ARP for IPv4 over Ethernet' };
  }
  const operation = frame[20] === 0 ? frame[21] : undefined;
  if (operation !== OPERATIONS.request && operation !== OPERATIONS.reply) {
    return { invalid: 'neither request nor reply' };
  }
  return {
    operation: operation === OPERATIONS.request ? 'request' : 'reply',
    senderMac: formatMac(frame.subarray(22, 28)),
    senderAddress: formatIp(frame.subarray(28, 32)),
    targetMac: formatMac(frame.subarray(32, 38)),
    targetAddress: formatIp(frame.subarray(38, 42)),
  };
}

/** "`address` is at `mac`": the request and the reply, to be sent one after the other. */
export function gratuitousArp(address: string, mac: string): readonly Uint8Array[] {
  const claim = { senderMac: mac, senderAddress: address, targetAddress: address };
  return [
    encodeArp({ operation: 'request', targetMac: NO_MAC, ...claim }),
    encodeArp({ operation: 'reply', targetMac: BROADCAST_MAC, ...claim }),
  ];
}

/** Asks who has `target`, in the name of `source`. */
export function arpQuestion(target: string, mac: string, source: string): Uint8Array {
  return encodeArp({
    operation: 'request',
    senderMac: mac,
    senderAddress: source,
    targetMac: NO_MAC,
    targetAddress: target,
  });
}

/** Asks who has `address` and claims nothing: sender 0.0.0.0 changes nobody's cache (RFC 5227). */
export function arpProbe(address: string, mac: string): Uint8Array {
  return arpQuestion(address, mac, NO_ADDRESS);
}

/**
 * The MAC that claims `address` as its own with this frame, or null.
 *
 * @param asker only a reply to this address counts
 */
export function arpClaimant(address: string, frame: Uint8Array, asker?: string): string | null {
  const packet = decodeArp(frame);
  if ('invalid' in packet || packet.senderAddress !== address) return null;
  const counts =
    asker === undefined || (packet.operation === 'reply' && packet.targetAddress === asker);
  return counts ? packet.senderMac : null;
}

/**
 * The MAC that claims `address` unasked, or null: an answer to a probe is left to who has probed.
 */
export function arpRival(address: string, frame: Uint8Array): string | null {
  const packet = decodeArp(frame);
  if ('invalid' in packet || packet.senderAddress !== address) return null;
  const answersProbe = packet.operation === 'reply' && packet.targetAddress === NO_ADDRESS;
  return answersProbe ? null : packet.senderMac;
}

/** `aa:bb:cc:dd:ee:ff` as six bytes. */
export function parseMac(text: string): Uint8Array {
  assert(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text), `${text} is no MAC address`);
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function ipv4Bytes(address: string): Uint8Array {
  const bytes = defined(parseIp(address), `address ${address}`);
  assert(bytes.length === 4, `${address} is not IPv4`);
  return bytes;
}
