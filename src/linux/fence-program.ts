/**
 * The fence as the kernel runs it: one program per direction on every frame of an interface. It
 * asks "is this frame for (or from) a VIP, and is the deadline over?" and drops it only if both
 * hold. Every other frame goes on to whatever other programs there are.
 *
 * One deadline guards all VIPs. An absent deadline counts as passed: the fence fails closed.
 */
import {
  addValue,
  assemble,
  atomicAdd,
  call,
  exit,
  jump,
  jumpIfEqual,
  jumpIfLess,
  jumpIfNot,
  jumpIfSame,
  type Line,
  loadByte,
  loadLong,
  loadMap,
  loadWord,
  move,
  moveValue,
  storeLongValue,
  storeWordValue,
} from './bpf-assembler.ts';

export type Direction = 'ingress' | 'egress';

export interface FenceMaps {
  /** Hash: address of 16 bytes (IPv4 as ::ffff:a.b.c.d) → u32. */
  readonly vips: number;
  /** Array of u64, indexed by {@link Cell}. */
  readonly cells: number;
}

export const Cell = {
  /** CLOCK_MONOTONIC in nanoseconds; frames pass before it. */
  deadline: 0,
  /** Frames dropped so far. */
  drops: 1,
} as const;
export const CELL_COUNT = 2;
export const KEY_BYTES = 16;

/** Helpers of linux/bpf.h. */
const MAP_LOOKUP = 1;
const KTIME_GET_NS = 5;
const SKB_LOAD_BYTES_RELATIVE = 68;
const FROM_NETWORK_HEADER = 1;

/** struct __sk_buff: the field `protocol`, in network order as read by a little-endian machine. */
const SKB_PROTOCOL = 16;
const PROTOCOL_ARP = 0x0608;
const PROTOCOL_IPV4 = 0x0008;
const PROTOCOL_IPV6 = 0xdd86;

/** Verdicts of linux/pkt_cls.h; -1 is "no opinion" for clsact and TCX alike. */
const NEXT = -1;
const DROP = 2;

/** The frame of the program: key, map index, up to four bytes read from the packet. */
const KEY = -16;
const KEY_IPV4 = -4;
const INDEX = -20;
const BYTE = -24;

/** Offsets from the network header: who is asked for or addressed (in), who speaks (out). */
const OFFSETS = {
  ingress: { arp: 24, ipv4: 16, ipv6: 24, neighbourType: 135 },
  egress: { arp: 14, ipv4: 12, ipv6: 8, neighbourType: 136 },
} as const;
const ARP_SENDER = 14;
const IPV6_NEXT_HEADER = 6;
const IPPROTO_ICMPV6 = 58;
const ICMPV6_TYPE = 40;
const NEIGHBOUR_TARGET = 48;

/** The bytes of the program for one direction, bound to the maps' descriptors. */
export function fenceProgram(direction: Direction, maps: FenceMaps): Buffer {
  const at = OFFSETS[direction];
  return assemble([
    // r6 = the packet, r7 = its protocol; the key starts as ::ffff:0.0.0.0.
    move(6, 1),
    loadWord(7, 6, SKB_PROTOCOL),
    storeLongValue(10, KEY, 0),
    storeWordValue(10, KEY + 8, 0xffff0000),
    jumpIfEqual(7, PROTOCOL_ARP, 'arp'),
    jumpIfEqual(7, PROTOCOL_IPV4, 'ipv4'),
    jumpIfEqual(7, PROTOCOL_IPV6, 'ipv6'),
    jump('next'),
    'arp',
    ...readPacket(at.arp, KEY_IPV4, 4),
    ...(direction === 'ingress' ? passOverClaims() : []),
    jump('look up'),
    'ipv4',
    ...readPacket(at.ipv4, KEY_IPV4, 4),
    jump('look up'),
    'ipv6',
    ...readPacket(at.ipv6, KEY, 16),
    ...lookUpVip(maps),
    jumpIfNot(0, 0, 'a vip'),
    // Not addressed by the VIP itself: it may still be a question for it, or an answer about it.
    ...readPacket(IPV6_NEXT_HEADER, BYTE, 1),
    loadByte(7, 10, BYTE),
    jumpIfNot(7, IPPROTO_ICMPV6, 'next'),
    ...readPacket(ICMPV6_TYPE, BYTE, 1),
    loadByte(7, 10, BYTE),
    jumpIfNot(7, at.neighbourType, 'next'),
    ...readPacket(NEIGHBOUR_TARGET, KEY, 16),
    'look up',
    ...lookUpVip(maps),
    jumpIfEqual(0, 0, 'next'),
    'a vip',
    ...cell(maps, Cell.deadline),
    jumpIfEqual(0, 0, 'drop'),
    loadLong(7, 0, 0),
    call(KTIME_GET_NS),
    jumpIfLess(0, 7, 'next'),
    'drop',
    ...cell(maps, Cell.drops),
    jumpIfEqual(0, 0, 'uncounted'),
    moveValue(1, 1),
    atomicAdd(0, 0, 1),
    'uncounted',
    moveValue(0, DROP),
    exit(),
    'next',
    moveValue(0, NEXT),
    exit(),
  ]);
}

/**
 * A gratuitous ARP asks nothing. It passes, because this host is the holder's client as well: one
 * that missed it would go on sending to the former holder for as long as its cache lasts.
 */
function passOverClaims(): Line[] {
  return [
    ...readPacket(ARP_SENDER, BYTE, 4),
    loadWord(7, 10, BYTE),
    loadWord(8, 10, KEY_IPV4),
    jumpIfSame(7, 8, 'next'),
  ];
}

/** Copies packet bytes to the frame, or goes to `next` where the packet is too short for them. */
function readPacket(offset: number, to: number, length: number): Line[] {
  return [
    move(1, 6),
    moveValue(2, offset),
    move(3, 10),
    addValue(3, to),
    moveValue(4, length),
    moveValue(5, FROM_NETWORK_HEADER),
    call(SKB_LOAD_BYTES_RELATIVE),
    jumpIfNot(0, 0, 'next'),
  ];
}

/** r0 = the entry of the key's address, or 0. */
function lookUpVip(maps: FenceMaps): Line[] {
  return [loadMap(1, maps.vips), move(2, 10), addValue(2, KEY), call(MAP_LOOKUP)];
}

/** r0 = the address of a cell, or 0. */
function cell(maps: FenceMaps, index: number): Line[] {
  return [
    storeWordValue(10, INDEX, index),
    loadMap(1, maps.cells),
    move(2, 10),
    addValue(2, INDEX),
    call(MAP_LOOKUP),
  ];
}
