/**
 * Packet sockets (packet(7)) that hear what a filter lets through on one interface: the kernel runs
 * the filter, so that frames nobody asked for wake nobody.
 */
import {
  addressOf,
  bind,
  check,
  closeFd,
  Errno,
  KernelError,
  lastErrno,
  receiveFrom,
  sendTo,
  setSocketOption,
  socket,
} from './libc.ts';

const AF_PACKET = 17;
/** SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC */
const SOCKET_TYPE = 3 | 0x800 | 0x80000;
/** struct sockaddr_ll */
const ADDRESS_BYTES = 20;
const PACKET_OUTGOING = 4;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** ARP and neighbour messages are short; of a longer frame the rest is not looked at. */
export const FRAME_BYTES = 256;
/** Frames that are looked at in one go: a flooded link must not hold the event loop. */
const FRAMES_PER_LOOK = 64;

/** More than the buffer of a socket holds. */
const WAITING_FRAMES_MAX = 4_096;

export const Ethertype = { arp: 0x0806, ipv6: 0x86dd } as const;

/** Classic BPF (linux/filter.h): code, jump if true, jump if false, operand. */
export type FilterStep = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** Opens a packet socket that hears nothing yet. */
export function openPacketSocket(): number {
  return check(socket(AF_PACKET, SOCKET_TYPE, 0), 'open a packet socket');
}

/** Hears frames of `ethertype` that come in by the interface `index`, as far as `filter` says. */
export function listenOn(
  fd: number,
  index: number,
  ethertype: number,
  filter: readonly FilterStep[],
): void {
  // The filter first: a bound socket without it hears everything.
  if (filter.length > 0) attachFilter(fd, filter);
  const at = packetAddress(index, ethertype);
  check(bind(fd, at, at.length), `listen on interface ${index}`);
}

/** Puts a whole Ethernet frame on the interface `index`; why it could not, or null. */
export function sendFrame(fd: number, index: number, frame: Uint8Array): string | null {
  const to = packetAddress(index, ((frame[12] ?? 0) << 8) | (frame[13] ?? 0));
  to.writeUInt8(6, 11);
  to.set(frame.subarray(0, 6), 12);
  if (sendTo(fd, frame, frame.length, 0, to, to.length) === frame.length) return null;
  return new KernelError(`send on interface ${index}`, lastErrno()).message;
}

/** One for all sockets: most looks find nothing, and should cost nothing. */
const scratch = {
  buffer: Buffer.alloc(FRAME_BYTES),
  from: Buffer.alloc(ADDRESS_BYTES),
  fromLength: new Uint32Array(1),
};

/**
 * Frames that others sent and that wait in the socket; each is valid until the next one of any
 * socket is asked for.
 */
export function* received(fd: number): Generator<Uint8Array> {
  const { buffer, from, fromLength } = scratch;
  for (let frames = 0; frames < FRAMES_PER_LOOK; frames++) {
    fromLength[0] = from.length;
    const length = receiveFrom(fd, buffer, buffer.length, 0, from, fromLength);
    // Nothing waits, or the link went away: either way there is nothing to read now.
    if (length < 0) return;
    if (from.readUInt8(10) !== PACKET_OUTGOING) yield buffer.subarray(0, length);
  }
}

/** Drops what waits in a socket that was made deaf. */
export function forget(fd: number): void {
  const buffer = Buffer.alloc(FRAME_BYTES);
  const from = Buffer.alloc(ADDRESS_BYTES);
  for (let frames = 0; frames < WAITING_FRAMES_MAX; frames++) {
    const length = receiveFrom(fd, buffer, buffer.length, 0, from, Uint32Array.of(from.length));
    // Any other error tells of the link, once, and frames may lie behind it.
    if (length < 0 && lastErrno() === Errno.EAGAIN) return;
  }
}

export function closePacketSocket(fd: number): void {
  closeFd(fd);
}

/** struct sockaddr_ll: family, protocol (network order), index, type, packet type, MAC. */
function packetAddress(index: number, ethertype: number): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ethertype, 2);
  address.writeInt32LE(index, 4);
  return address;
}

/** Lets through what `steps` say, from the next frame on. */
export function attachFilter(fd: number, steps: readonly FilterStep[]): void {
  const program = Buffer.alloc(steps.length * 8);
  for (const [at, [code, ifTrue, ifFalse, operand]] of steps.entries()) {
    program.writeUInt16LE(code, at * 8);
    program.writeUInt8(ifTrue, at * 8 + 2);
    program.writeUInt8(ifFalse, at * 8 + 3);
    program.writeUInt32LE(operand, at * 8 + 4);
  }
  check(setFilter(fd, program, steps.length), 'filter a packet socket');
}

/** struct sock_fprog: a length and a pointer. */
function setFilter(fd: number, program: Buffer, steps: number): number {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(steps, 0);
  header.writeBigUInt64LE(addressOf(program), 8);
  const result = setSocketOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, header, header.length);
  // The pointer in `header` is good only as long as `program` lives.
  return program.length > 0 ? result : -1;
}
