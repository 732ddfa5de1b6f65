/**
 * Raw Ethernet frames by AF_PACKET (packet(7)). Sending does not go around the fence: a packet
 * socket's frames pass the interface's egress like any other, and past the deadline they are
 * dropped there, whatever this process believes.
 */
import type { Clock, Millis } from '../base/clock.ts';
import { sleep } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { AnnounceLink, ProbeCodec, VipPlacement } from '../vip/ports.ts';
import {
  addressOf,
  bind,
  check,
  closeFd,
  Errno,
  interfaceIndex,
  KernelError,
  lastErrno,
  receiveFrom,
  sendTo,
  setSocketOption,
  socket,
} from './libc.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { listLinks, NETLINK_ROUTE } from './rtnetlink.ts';

const AF_PACKET = 17;
/** SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC */
const SOCKET_TYPE = 3 | 0x800 | 0x80000;
/** struct sockaddr_ll */
const ADDRESS_BYTES = 20;
const PACKET_OUTGOING = 4;
/** What answers come as: ARP and IPv6. */
const ETHERTYPE = { arp: 0x0806, ipv6: 0x86dd } as const;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** Answers are short; a longer frame is none. */
const FRAME_BYTES = 256;

/** How often a probe looks for answers. */
const LOOK_EVERY_MS: Millis = 2;
/** Answers that are looked at in one go: a flooded link must not hold the event loop. */
const FRAMES_PER_LOOK = 64;
/** Kept for each link and family: as many VIPs are asked for at once without opening another. */
const IDLE_LISTENERS_MAX = 32;
/** More than the buffer of a socket holds. */
const WAITING_FRAMES_MAX = 4_096;
/** Answers that are reported; more strangers than this need no list. */
const ANSWERS_MAX = 16;

/** @param codec how a question and an answer look; the packet link itself knows no protocol. */
export function createPacketLink(clock: Clock, codec: ProbeCodec): AnnounceLink {
  const sender = check(socket(AF_PACKET, SOCKET_TYPE, 0), 'open a packet socket');
  const listeners = new Listeners();
  return {
    send: (interfaceName, frame) => send(sender, interfaceName, frame),
    probe: (vip, waitMs) => probe({ clock, codec, listeners }, { vip, waitMs }),
  };
}

/**
 * Sockets that hear answers, kept deaf for the next question. To close one takes the kernel 5 to
 * 20 ms, because it waits until no processor can be using it (packet_release, synchronize_net), and
 * a campaign has no such time.
 */
class Listeners {
  readonly #idle = new Map<string, number[]>();

  /** One that has heard nothing yet; to be given back. */
  take(index: number, ipv6: boolean): number {
    const kept = this.#idle.get(`${index} ${ipv6}`)?.pop();
    if (kept === undefined) return openListener(index, ipv6);
    forget(kept);
    attachFilter(kept, ipv6 ? ADVERTISEMENTS_ONLY : EVERYTHING);
    return kept;
  }

  giveBack(index: number, ipv6: boolean, listener: number): void {
    const key = `${index} ${ipv6}`;
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    if (idle.length >= IDLE_LISTENERS_MAX) {
      closeFd(listener);
      return;
    }
    attachFilter(listener, NOTHING);
    idle.push(listener);
  }
}

/** Drops what a deaf socket heard before it became deaf, so that no old answer is taken for one. */
function forget(listener: number): void {
  const buffer = Buffer.alloc(FRAME_BYTES);
  const from = Buffer.alloc(ADDRESS_BYTES);
  for (let frames = 0; frames < WAITING_FRAMES_MAX; frames++) {
    const length = receiveFrom(
      listener,
      buffer,
      buffer.length,
      0,
      from,
      Uint32Array.of(from.length),
    );
    // Any other error tells of the link, once, and frames may lie behind it.
    if (length < 0 && lastErrno() === Errno.EAGAIN) return;
  }
}

function openListener(index: number, ipv6: boolean): number {
  const listener = check(socket(AF_PACKET, SOCKET_TYPE, 0), 'open a packet socket');
  try {
    attachFilter(listener, ipv6 ? ADVERTISEMENTS_ONLY : EVERYTHING);
    const at = packetAddress(index, ipv6 ? ETHERTYPE.ipv6 : ETHERTYPE.arp);
    check(bind(listener, at, at.length), `listen on interface ${index}`);
    return listener;
  } catch (error) {
    closeFd(listener);
    throw error;
  }
}

function send(
  fd: number,
  interfaceName: string,
  frame: Uint8Array,
): { readonly ok: boolean; readonly error?: string } {
  const index = interfaceIndex(interfaceName);
  if (index === 0) return { ok: false, error: `interface ${interfaceName} is not there` };
  const to = packetAddress(index, ((frame[12] ?? 0) << 8) | (frame[13] ?? 0));
  to.writeUInt8(6, 11);
  to.set(frame.subarray(0, 6), 12);
  if (sendTo(fd, frame, frame.length, 0, to, to.length) === frame.length) return { ok: true };
  return { ok: false, error: new KernelError(`send on ${interfaceName}`, lastErrno()).message };
}

interface Probing {
  readonly clock: Clock;
  readonly codec: ProbeCodec;
  readonly listeners: Listeners;
}

async function probe(
  { clock, codec, listeners }: Probing,
  { vip, waitMs }: { readonly vip: VipPlacement; readonly waitMs: Millis },
): Promise<readonly string[]> {
  const { index, mac } = ethernetLink(vip.interface);
  const ipv6 = vip.address.includes(':');
  const listener = listeners.take(index, ipv6);
  try {
    const sent = send(listener, vip.interface, codec.question(vip.address, mac));
    if (!sent.ok) throw new OperatingError({ code: 'probe-failed', message: sent.error ?? '' });
    const answers = new Set<string>();
    const end = clock.now() + waitMs;
    while (clock.now() < end) {
      await sleep(clock, Math.min(LOOK_EVERY_MS, end - clock.now()));
      for (const frame of received(listener)) {
        const claimant = codec.claimant(vip.address, frame);
        if (claimant !== null && claimant !== mac && answers.size < ANSWERS_MAX) {
          answers.add(claimant);
        }
      }
    }
    return [...answers];
  } finally {
    listeners.giveBack(index, ipv6, listener);
  }
}

/** Frames that others sent and that wait in the socket; each is valid until the next. */
function* received(fd: number): Generator<Uint8Array> {
  const buffer = Buffer.alloc(FRAME_BYTES);
  const from = Buffer.alloc(ADDRESS_BYTES);
  const fromLength = new Uint32Array(1);
  for (let frames = 0; frames < FRAMES_PER_LOOK; frames++) {
    fromLength[0] = from.length;
    const length = receiveFrom(fd, buffer, buffer.length, 0, from, fromLength);
    // Nothing waits, or the link went away: either way there is no answer now.
    if (length < 0) return;
    if (from.readUInt8(10) !== PACKET_OUTGOING) yield buffer.subarray(0, length);
  }
}

function ethernetLink(name: string): { readonly index: number; readonly mac: string } {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const link = listLinks(socket).find((row) => row.name === name);
    if (link !== undefined && link.mac !== null) return { index: link.index, mac: link.mac };
    throw new OperatingError({
      code: link === undefined ? 'interface-missing' : 'interface-not-ethernet',
      message: `interface ${name} ${link === undefined ? 'is not there' : 'has no MAC address'}`,
      facts: { interface: name },
    });
  } finally {
    socket.close();
  }
}

/** struct sockaddr_ll: family, protocol (network order), index, type, packet type, MAC. */
function packetAddress(index: number, ethertype: number): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ethertype, 2);
  address.writeInt32LE(index, 4);
  return address;
}

/** Classic BPF (linux/filter.h): code, jump if true, jump if false, operand. */
type FilterStep = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** On a busy host everything is IPv6: wake up for neighbour advertisements only. */
const ADVERTISEMENTS_ONLY: readonly FilterStep[] = [
  [0x30, 0, 0, 20], // load the byte "next header"
  [0x15, 0, 3, 58], // ICMPv6?
  [0x30, 0, 0, 54], // load the byte "type"
  [0x15, 0, 1, 136], // advertisement?
  [0x06, 0, 0, FRAME_BYTES], // take it
  [0x06, 0, 0, 0], // leave it
];

const EVERYTHING: readonly FilterStep[] = [[0x06, 0, 0, FRAME_BYTES]];
const NOTHING: readonly FilterStep[] = [[0x06, 0, 0, 0]];

function attachFilter(fd: number, steps: readonly FilterStep[]): void {
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
