/**
 * IPVS's bytes (linux/ip_vs.h): services that are chosen by a packet's mark, and their
 * destinations, as attributes of generic netlink. Pure; decoding is total: what is cut short
 * becomes null.
 */
import { defined } from '../base/assert.ts';
import { formatIp, ipFamily, parseIp } from '../base/ip.ts';
import { attribute, cString, decodeAttributes, fromCString, u32 } from './netlink-message.ts';

export const IPVS_FAMILY = 'IPVS';
export const IPVS_VERSION = 1;

/** IPVS_CMD_… */
export const Command = {
  newService: 1,
  setService: 2,
  delService: 3,
  getService: 4,
  newDest: 5,
  setDest: 6,
  delDest: 7,
  getDest: 8,
  setConfig: 12,
  getConfig: 13,
} as const;

/** IPVS_CMD_ATTR_… */
const CMD_SERVICE = 1;
const CMD_DEST = 2;
const CMD_TIMEOUT_TCP = 4;
/** IPVS_SVC_ATTR_… */
const SVC_AF = 1;
const SVC_FWMARK = 5;
const SVC_SCHED_NAME = 6;
const SVC_FLAGS = 7;
const SVC_TIMEOUT = 8;
const SVC_NETMASK = 9;
/** IPVS_DEST_ATTR_… */
const DEST_ADDR = 1;
const DEST_PORT = 2;
const DEST_FWD_METHOD = 3;
const DEST_WEIGHT = 4;
const DEST_U_THRESH = 5;
const DEST_L_THRESH = 6;
const DEST_ACTIVE_CONNS = 7;
const DEST_INACT_CONNS = 8;
const DEST_STATS = 10;
const DEST_ADDR_FAMILY = 11;

/** IPVS_STATS_ATTR_CONNS */
const STATS_CONNS = 1;

const NLA_F_NESTED = 0x8000;
const AF_INET = 2;
const AF_INET6 = 10;
/** IP_VS_CONN_F_… of the forwarding methods. */
const METHODS = { masquerade: 0, tunnel: 2, direct: 3 } as const;
/** The low three bits of the flags are the method. */
const METHOD_MASK = 0x7;
/**
 * IP_VS_SVC_F_SCHED1 and SCHED2: for sh and mh, look further when the chosen destination has
 * weight 0, and do not take the client's port into the hash.
 */
const HASH_FALLBACK = 0x8;
const EMPTY = Buffer.alloc(0);
const ALL_FLAGS = 0xffff_ffff;

export type IpvsMethod = keyof typeof METHODS;

export interface IpvsServiceKey {
  readonly family: 4 | 6;
  readonly mark: number;
}

export interface IpvsService extends IpvsServiceKey {
  readonly scheduler: string;
}

export interface IpvsDestKey {
  readonly address: string;
  readonly port: number;
}

export interface IpvsDest extends IpvsDestKey {
  readonly method: IpvsMethod;
  readonly weight: number;
}

export interface IpvsDestRow extends IpvsDest {
  /** Established; and those that are opening, closing or waiting. */
  readonly active: number;
  readonly inactive: number;
  /** Ever scheduled to it. */
  readonly total: number;
}

function nested(type: number, attributes: readonly Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function port16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

const afOf = (family: 4 | 6): number => (family === 4 ? AF_INET : AF_INET6);

const keyAttributes = ({ family, mark }: IpvsServiceKey): readonly Buffer[] => [
  attribute(SVC_AF, u16(afOf(family))),
  attribute(SVC_FWMARK, u32(mark)),
];

export function encodeServiceKey(key: IpvsServiceKey): Buffer {
  return nested(CMD_SERVICE, keyAttributes(key));
}

export function encodeService(service: IpvsService): Buffer {
  const hashes = service.scheduler === 'mh' || service.scheduler === 'sh';
  const flags = Buffer.concat([u32(hashes ? HASH_FALLBACK : 0), u32(ALL_FLAGS)]);
  // An IPv6 service says the length of a prefix where an IPv4 one says a mask.
  const netmask = service.family === 4 ? 0xffff_ffff : 128;
  return nested(CMD_SERVICE, [
    ...keyAttributes(service),
    attribute(SVC_SCHED_NAME, cString(service.scheduler)),
    attribute(SVC_FLAGS, flags),
    attribute(SVC_TIMEOUT, u32(0)),
    attribute(SVC_NETMASK, u32(netmask)),
  ]);
}

const destKeyAttributes = ({ address, port }: IpvsDestKey): readonly Buffer[] => {
  const bytes = Buffer.alloc(16);
  bytes.set(defined(parseIp(address), 'the address of a destination'));
  return [
    attribute(DEST_ADDR, bytes),
    attribute(DEST_PORT, port16(port)),
    attribute(DEST_ADDR_FAMILY, u16(afOf(defined(ipFamily(address), 'its family')))),
  ];
};

export function encodeDestKey(key: IpvsDestKey): Buffer {
  return nested(CMD_DEST, destKeyAttributes(key));
}

export function encodeDest(dest: IpvsDest): Buffer {
  return nested(CMD_DEST, [
    ...destKeyAttributes(dest),
    attribute(DEST_FWD_METHOD, u32(METHODS[dest.method])),
    attribute(DEST_WEIGHT, u32(dest.weight)),
    attribute(DEST_U_THRESH, u32(0)),
    attribute(DEST_L_THRESH, u32(0)),
  ]);
}

/** How long an idle TCP connection is kept. The others of its kind stay as they are. */
export function encodeTcpTimeout(seconds: number): readonly Buffer[] {
  return [attribute(CMD_TIMEOUT_TCP, u32(seconds))];
}

export function decodeTcpTimeout(bytes: Buffer): number | null {
  return number(decodeAttributes(bytes).get(CMD_TIMEOUT_TCP));
}

/** A service as the kernel lists it; null for one that is not chosen by a mark. */
export function decodeService(bytes: Buffer): IpvsService | null {
  const outer = decodeAttributes(bytes).get(CMD_SERVICE);
  if (outer === undefined) return null;
  const attributes = decodeAttributes(outer);
  const af = attributes.get(SVC_AF);
  const mark = number(attributes.get(SVC_FWMARK));
  const scheduler = attributes.get(SVC_SCHED_NAME);
  if (af === undefined || af.length < 2 || mark === null || scheduler === undefined) return null;
  return {
    family: af.readUInt16LE(0) === AF_INET6 ? 6 : 4,
    mark: mark >>> 0,
    scheduler: fromCString(scheduler),
  };
}

export function decodeDest(bytes: Buffer, family: 4 | 6): IpvsDestRow | null {
  const outer = decodeAttributes(bytes).get(CMD_DEST);
  if (outer === undefined) return null;
  const attributes = decodeAttributes(outer);
  const address = attributes.get(DEST_ADDR);
  const port = attributes.get(DEST_PORT);
  if (address === undefined || address.length < 16 || port === undefined || port.length < 2) {
    return null;
  }
  // Older kernels say no family: a destination is of its service's then.
  const af = attributes.get(DEST_ADDR_FAMILY);
  const isV6 = af !== undefined && af.length >= 2 ? af.readUInt16LE(0) === AF_INET6 : family === 6;
  return {
    address: formatIp(address.subarray(0, isV6 ? 16 : 4)),
    port: port.readUInt16BE(0),
    method: methodOf(number(attributes.get(DEST_FWD_METHOD)) ?? 0),
    weight: number(attributes.get(DEST_WEIGHT)) ?? 0,
    active: number(attributes.get(DEST_ACTIVE_CONNS)) ?? 0,
    inactive: number(attributes.get(DEST_INACT_CONNS)) ?? 0,
    total: number(decodeAttributes(attributes.get(DEST_STATS) ?? EMPTY).get(STATS_CONNS)) ?? 0,
  };
}

/** Where the destination is this host itself, the kernel says so instead of "masquerade". */
function methodOf(flags: number): IpvsMethod {
  const bits = flags & METHOD_MASK;
  if (bits === METHODS.direct) return 'direct';
  return bits === METHODS.tunnel ? 'tunnel' : 'masquerade';
}

function number(bytes: Buffer | undefined): number | null {
  return bytes === undefined || bytes.length < 4 ? null : bytes.readUInt32LE(0);
}
