/**
 * A plug in the wire: raw frames out and in on one link, and the questions that a neighbour may ask
 * of an address (ARP, ping, neighbour solicitation), to see who answers and until when.
 */
import assert from 'node:assert/strict';
import { parseIp } from '../../src/base/ip.ts';
import {
  bind,
  closeFd,
  interfaceIndex,
  receiveFrom,
  sendTo,
  socket,
} from '../../src/linux/libc.ts';
import { decodeArp, parseMac } from '../../src/vip/arp.ts';
import { decodeNdp, neighbourProbe } from '../../src/vip/ndp.ts';

const AF_PACKET = 17;
const SOCKET_TYPE = 3 | 0x800;
const ETH_P_ALL = 0x0003;
const PACKET_OUTGOING = 4;

/** Raw access to `link` of the namespace in which it is opened. */
export class Wire {
  readonly #fd: number;
  readonly #address = Buffer.alloc(20);
  readonly #buffer = Buffer.alloc(2048);
  readonly #from = Buffer.alloc(20);

  constructor(link: string) {
    this.#fd = socket(AF_PACKET, SOCKET_TYPE, 0);
    this.#address.writeUInt16LE(AF_PACKET, 0);
    this.#address.writeUInt16BE(ETH_P_ALL, 2);
    this.#address.writeInt32LE(interfaceIndex(link), 4);
    assert.equal(bind(this.#fd, this.#address, 20), 0, `cannot listen on ${link}`);
  }

  /** Whether the kernel took the frame. */
  send(frame: Uint8Array): boolean {
    return sendTo(this.#fd, frame, frame.length, 0, this.#address, 20) === frame.length;
  }

  /** The frames that have come in since the last call. */
  take(): Buffer[] {
    const frames: Buffer[] = [];
    for (;;) {
      const length = receiveFrom(this.#fd, this.#buffer, 2048, 0, this.#from, Uint32Array.of(20));
      if (length < 0) return frames;
      if (this.#from.readUInt8(10) !== PACKET_OUTGOING) {
        frames.push(Buffer.from(this.#buffer.subarray(0, length)));
      }
    }
  }

  close(): void {
    closeFd(this.#fd);
  }
}

/** Both ends of a conversation on the wire. */
export interface Ends {
  readonly mac: string;
  readonly address: string;
  readonly peerMac: string;
  readonly vip: string;
}

/** The questions for a VIP, by the name of the answer that {@link answerKind} gives. */
export function questions(ends: Ends): ReadonlyMap<string, Uint8Array> {
  if (!ends.vip.includes(':')) {
    return new Map([
      ['arp', arpRequest(ends)],
      ['ping', ping4(ends)],
    ]);
  }
  return new Map([
    ['neighbour', neighbourProbe(ends.vip, ends.mac)],
    ['ping', ping6(ends)],
  ]);
}

/** What `frame` says about or for `vip` as its holder: `arp`, `ping`, `neighbour`; else null. */
export function answerKind(vip: string, frame: Uint8Array): string | null {
  const bytes = Buffer.from(parseIp(vip) ?? []);
  const arp = decodeArp(frame);
  if (!('invalid' in arp)) return arp.senderAddress === vip ? 'arp' : null;
  const ndp = decodeNdp(frame);
  if (!('invalid' in ndp)) {
    return ndp.kind === 'advertisement' && ndp.target === vip ? 'neighbour' : null;
  }
  const type = Buffer.from(frame).readUInt16BE(12);
  const source = type === 0x0800 ? frame.subarray(26, 30) : frame.subarray(22, 38);
  const echoReply = type === 0x0800 ? frame[23] === 1 && frame[34] === 0 : frame[54] === 129;
  return echoReply && bytes.equals(source) ? 'ping' : null;
}

function arpRequest(ends: Ends): Uint8Array {
  const frame = Buffer.alloc(42);
  frame.fill(0xff, 0, 6);
  frame.set(parseMac(ends.mac), 6);
  frame.write('08060001080006040001', 12, 'hex');
  frame.set(parseMac(ends.mac), 22);
  frame.set(parseIp(ends.address) ?? [], 28);
  frame.set(parseIp(ends.vip) ?? [], 38);
  return frame;
}

function ping4(ends: Ends): Uint8Array {
  const frame = Buffer.alloc(14 + 20 + 8);
  frame.set(parseMac(ends.peerMac), 0);
  frame.set(parseMac(ends.mac), 6);
  frame.write('08004500001c000000004001', 12, 'hex');
  frame.set(parseIp(ends.address) ?? [], 26);
  frame.set(parseIp(ends.vip) ?? [], 30);
  frame.writeUInt16BE(sum(frame.subarray(14, 34)), 24);
  frame.writeUInt8(8, 34);
  frame.writeUInt16BE(sum(frame.subarray(34)), 36);
  return frame;
}

function ping6(ends: Ends): Uint8Array {
  const frame = Buffer.alloc(14 + 40 + 8);
  frame.set(parseMac(ends.peerMac), 0);
  frame.set(parseMac(ends.mac), 6);
  frame.write('86dd6000000000083a40', 12, 'hex');
  frame.set(parseIp(ends.address) ?? [], 22);
  frame.set(parseIp(ends.vip) ?? [], 38);
  frame.writeUInt8(128, 54);
  const pseudo = Buffer.from([0, 0, 0, 8, 0, 0, 0, 58]);
  const covered = Buffer.concat([frame.subarray(22, 54), pseudo, frame.subarray(54)]);
  frame.writeUInt16BE(sum(covered), 56);
  return frame;
}

/** The internet checksum (RFC 1071) over an even number of bytes. */
function sum(bytes: Buffer): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += bytes.readUInt16BE(i);
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return ~total & 0xffff;
}
