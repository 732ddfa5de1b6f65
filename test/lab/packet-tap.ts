/**
 * Every ARP, ICMP and ICMPv6 frame, and every TCP answer to the observer's knocks, that enters this
 * network namespace by any interface, with the kernel's time of arrival and the interface it came
 * by; and a way to send frames by one of them.
 *
 * A tap for all protocols on the ports of a bridge sees frames before the bridge does, so also what
 * the switch then drops. packet(7), <linux/if_packet.h>, <linux/filter.h>.
 */
import koffi from 'koffi';
import { knockId } from './wire.ts';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)');
const setsockopt = libc.func('int setsockopt(int, int, int, void *, uint32_t)');
const recvmsg = libc.func('long recvmsg(int, void *, int)');
const sendto = libc.func('long sendto(int, void *, size_t, int, void *, uint32_t)');
const poll = libc.func('int poll(void *, unsigned long, int)');
const clockGettime = libc.func('int clock_gettime(int, void *)');

const afPacket = 17;
const sockRaw = 3;
const ethPAll = 0x0003;
const solSocket = 1;
const soAttachFilter = 26;
const soTimestampNs = 35;
const soReceiveBufferForce = 33;
const solPacket = 263;
const packetIgnoreOutgoing = 23;
const msgDontWait = 0x40;
const eagain = 11;
const clockRealtime = 0;
const clockMonotonic = 1;

/** A longer frame is cut; nothing that the observer reads is longer than this. */
const snapBytes = 256;
const receiveBufferBytes = 8 << 20;

export interface Frame {
  readonly interfaceIndex: number;
  /** CLOCK_MONOTONIC in ms of the frame's arrival in the kernel. */
  readonly at: number;
  /** Valid until the next frame is read. */
  readonly bytes: Uint8Array;
}

/** Memory that V8 never moves, so that its address may be given to the kernel. */
function pinned(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}

function addressOf(buffer: Buffer): bigint {
  return BigInt(koffi.address(buffer));
}

function checked(result: number, call: string): number {
  if (result < 0) throw new Error(`${call}: errno ${koffi.errno()}`);
  return result;
}

/** `arp or icmp or icmp6 or (tcp dst port knockId)`, without IP options, as classic BPF. */
function relevantFrames(): Buffer {
  const steps: readonly (readonly [number, number, number, number])[] = [
    [0x28, 0, 0, 12],
    [0x15, 12, 0, 0x0806],
    [0x15, 0, 5, 0x0800],
    [0x30, 0, 0, 23],
    [0x15, 9, 0, 1],
    [0x15, 0, 9, 6],
    [0x28, 0, 0, 36],
    [0x05, 0, 0, 5],
    [0x15, 0, 6, 0x86dd],
    [0x30, 0, 0, 20],
    [0x15, 3, 0, 58],
    [0x15, 0, 3, 6],
    [0x28, 0, 0, 56],
    [0x15, 0, 1, knockId],
    [0x06, 0, 0, snapBytes],
    [0x06, 0, 0, 0],
  ];
  const program = pinned(steps.length * 8);
  for (const [i, [code, ifTrue, ifFalse, k]] of steps.entries()) {
    program.writeUInt16LE(code, i * 8);
    program[i * 8 + 2] = ifTrue;
    program[i * 8 + 3] = ifFalse;
    program.writeUInt32LE(k, i * 8 + 4);
  }
  return program;
}

export class PacketTap {
  readonly #fd: number;
  readonly #frame = pinned(snapBytes);
  readonly #from = pinned(20);
  readonly #control = pinned(64);
  readonly #vector = pinned(16);
  readonly #header = pinned(56);
  readonly #pollSet = pinned(8);
  readonly #time = pinned(16);

  constructor() {
    const bigEndianProtocol = ethPAll << 8;
    this.#fd = checked(socket(afPacket, sockRaw, bigEndianProtocol), 'socket');
    const filter = relevantFrames();
    const program = pinned(16);
    program.writeUInt16LE(filter.length / 8, 0);
    program.writeBigUInt64LE(addressOf(filter), 8);
    this.#option(solSocket, soAttachFilter, program);
    this.#option(solSocket, soTimestampNs, int(1));
    this.#option(solSocket, soReceiveBufferForce, int(receiveBufferBytes));
    this.#option(solPacket, packetIgnoreOutgoing, int(1));
    this.#vector.writeBigUInt64LE(addressOf(this.#frame), 0);
    this.#vector.writeBigUInt64LE(BigInt(snapBytes), 8);
    this.#header.writeBigUInt64LE(addressOf(this.#from), 0);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(addressOf(this.#control), 32);
    this.#pollSet.writeInt32LE(this.#fd, 0);
    this.#pollSet.writeInt16LE(1, 4);
  }

  /** Waits up to `timeoutMs` (whole ms) for a frame to be there; blocks this thread. */
  wait(timeoutMs: number): void {
    poll(this.#pollSet, 1, Math.max(0, Math.floor(timeoutMs)));
  }

  /** The next waiting frame, or null. */
  receive(): Frame | null {
    this.#header.writeUInt32LE(20, 8);
    this.#header.writeBigUInt64LE(64n, 40);
    const length = Number(recvmsg(this.#fd, this.#header, msgDontWait));
    if (length < 0) {
      if (koffi.errno() === eagain) return null;
      throw new Error(`recvmsg: errno ${koffi.errno()}`);
    }
    return {
      interfaceIndex: this.#from.readInt32LE(4),
      at: this.#arrival(),
      bytes: this.#frame.subarray(0, length),
    };
  }

  /** Puts a whole Ethernet frame on the interface. A full queue loses it, as a wire would. */
  send(interfaceIndex: number, frame: Buffer): void {
    const to = pinned(20);
    to.writeUInt16LE(afPacket, 0);
    to.writeInt32LE(interfaceIndex, 4);
    to[11] = 6;
    frame.copy(to, 12, 0, 6);
    sendto(this.#fd, frame, frame.length, msgDontWait, to, 20);
  }

  /** The kernel stamps frames with the wall clock; the difference of the clocks is read anew. */
  #arrival(): number {
    const stamped = milliseconds(this.#control.subarray(16, 32));
    return stamped + (this.#now(clockMonotonic) - this.#now(clockRealtime));
  }

  #now(clock: number): number {
    clockGettime(clock, this.#time);
    return milliseconds(this.#time);
  }

  #option(level: number, name: number, value: Buffer): void {
    checked(setsockopt(this.#fd, level, name, value, value.length), `setsockopt ${name}`);
  }
}

function int(value: number): Buffer {
  const bytes = pinned(4);
  bytes.writeInt32LE(value, 0);
  return bytes;
}

/** A struct timespec in ms. */
function milliseconds(timespec: Buffer): number {
  return Number(timespec.readBigInt64LE(0)) * 1e3 + Number(timespec.readBigInt64LE(8)) / 1e6;
}
