/**
 * Links and addresses of this network namespace as rtnetlink(7) tells them, and the two requests
 * that change an address. Only translation: what the answers mean for a VIP is said elsewhere.
 */

import { formatIp } from '../base/ip.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { Errno, unless } from './libc.ts';
import { attribute, cString, decodeAttributes, fromCString, u32 } from './netlink-message.ts';
import { type NetlinkSocket, NLM_F_CREATE, NLM_F_REPLACE } from './netlink-socket.ts';

export const NETLINK_ROUTE = 0;

/** linux/rtnetlink.h */
const RTM_GETLINK = 18;
const RTM_GETROUTE = 26;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_MULTIPATH = 9;
/** The route itself and not what it resolves to. */
const RTM_F_FIB_MATCH = 0x2000;
/** struct rtmsg, struct rtnexthop */
const RTMSG_BYTES = 12;
const NEXTHOP_BYTES = 8;
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
/** linux/if_link.h, linux/if_addr.h */
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_BOND_ACTIVE_SLAVE = 2;
const IFLA_CARRIER_CHANGES = 35;
const IFLA_LINK_NETNSID = 37;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 1 << 3;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_RT_PRIORITY = 9;
const IFA_PROTO = 11;
/** linux/if.h, linux/if_arp.h */
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;

export const AF_INET = 2;
export const AF_INET6 = 10;

export interface LinkRow {
  readonly index: number;
  readonly name: string;
  readonly mac: string | null;
  readonly up: boolean;
  readonly loopback: boolean;
  /** How often its carrier came or went. */
  readonly carrierChanges: number;
  /** The index of the bridge or bond that this link is a part of. */
  readonly master: number | null;
  /** The index of the link that this VLAN or macvlan stands on, in this namespace. */
  readonly parent: number | null;
  /** The index of a bond's active slave, in the modes that have one. */
  readonly activeSlave: number | null;
}

export interface AddressRow {
  readonly index: number;
  readonly address: string;
  readonly prefixLength: number;
  /** RT_SCOPE_… of linux/rtnetlink.h. */
  readonly scope: number;
  readonly label: string;
  /** Who made it (IFA_PROTO, Linux 5.18); 0 where the kernel does not say. */
  readonly protocol: number;
  /** The metric of its prefix route. */
  readonly metric: number;
}

export interface NewAddress {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly label: string | null;
  readonly protocol: number;
  readonly metric: number;
  readonly scope: number;
  /** IFA_F_… of linux/if_addr.h. */
  readonly flags: number;
  readonly validSeconds: number;
}

export function listLinks(socket: NetlinkSocket): LinkRow[] {
  const payload = Buffer.concat([
    Buffer.alloc(16),
    attribute(IFLA_EXT_MASK, u32(RTEXT_FILTER_SKIP_STATS)),
  ]);
  const rows: LinkRow[] = [];
  for (const { payload: bytes } of socket.dump({
    type: RTM_GETLINK,
    payload,
    what: 'list links',
  })) {
    const row = decodeLink(bytes);
    if (row !== null) rows.push(row);
  }
  return rows;
}

/** A link as RTM_NEWLINK tells it: struct ifinfomsg and attributes; null for what is too short. */
export function decodeLink(bytes: Buffer): LinkRow | null {
  if (bytes.length < 16) return null;
  const attributes = decodeAttributes(bytes.subarray(16));
  const name = attributes.get(IFLA_IFNAME);
  const mac = attributes.get(IFLA_ADDRESS);
  const flags = bytes.readUInt32LE(8);
  const ethernet = bytes.readUInt16LE(2) === ARPHRD_ETHER && mac?.length === 6;
  // With a namespace beside it, the parent's index counts there and not here.
  const isHere = !attributes.has(IFLA_LINK_NETNSID);
  return {
    index: bytes.readInt32LE(4),
    name: name === undefined ? '' : fromCString(name),
    mac: ethernet ? Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':') : null,
    up: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    carrierChanges: number(attributes.get(IFLA_CARRIER_CHANGES)) ?? 0,
    master: number(attributes.get(IFLA_MASTER)),
    parent: isHere ? number(attributes.get(IFLA_LINK)) : null,
    activeSlave: activeSlaveOf(attributes.get(IFLA_LINKINFO)),
  };
}

function activeSlaveOf(info: Buffer | undefined): number | null {
  if (info === undefined) return null;
  const attributes = decodeAttributes(info);
  const kind = attributes.get(IFLA_INFO_KIND);
  const data = attributes.get(IFLA_INFO_DATA);
  if (kind === undefined || data === undefined || fromCString(kind) !== 'bond') return null;
  return number(decodeAttributes(data).get(IFLA_BOND_ACTIVE_SLAVE));
}

/** A 32-bit number; null for an absent one and for 0, which the kernel uses for "none". */
function number(bytes: Buffer | undefined): number | null {
  return bytes === undefined || bytes.length < 4 ? null : bytes.readUInt32LE(0) || null;
}

export interface RouteRow {
  /** The index of the interface by which it leaves. */
  readonly index: number;
  readonly gateway: string | null;
  /** 0 for a default route. */
  readonly prefixLength: number;
}

/**
 * The route to `destination` (4 or 16 bytes), by the interface `index` where that is given; null
 * where the kernel knows none.
 */
export function routeTo(
  socket: NetlinkSocket,
  destination: Uint8Array,
  index: number | null,
): RouteRow | null {
  const header = Buffer.alloc(RTMSG_BYTES);
  header.writeUInt8(destination.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(destination.length * 8, 1);
  header.writeUInt32LE(RTM_F_FIB_MATCH, 8);
  const payload = Buffer.concat([
    header,
    attribute(RTA_DST, destination),
    ...(index === null ? [] : [attribute(RTA_OIF, u32(index))]),
  ]);
  let row: RouteRow | null = null;
  unless(NO_ROUTE, () => {
    const answer = socket.ask({ type: RTM_GETROUTE, payload, what: 'look up a route' });
    if (answer !== null) row = decodeRoute(answer.payload, index);
  });
  return row;
}

const NO_ROUTE = [Errno.ENETUNREACH, Errno.EHOSTUNREACH, Errno.EACCES, Errno.EINVAL, Errno.ENODEV];

/**
 * A route as RTM_NEWROUTE tells it; of several next hops that by the interface `index`, else the
 * first.
 */
export function decodeRoute(bytes: Buffer, index: number | null): RouteRow | null {
  if (bytes.length < RTMSG_BYTES) return null;
  const prefixLength = bytes.readUInt8(1);
  const attributes = decodeAttributes(bytes.subarray(RTMSG_BYTES));
  const hops = [...nextHops(attributes.get(RTA_MULTIPATH) ?? Buffer.alloc(0))];
  const out = number(attributes.get(RTA_OIF));
  if (out !== null) hops.unshift({ index: out, gateway: gatewayOf(attributes) });
  const hop = hops.find((each) => index === null || each.index === index);
  return hop === undefined ? null : { ...hop, prefixLength };
}

function* nextHops(bytes: Buffer): Generator<Omit<RouteRow, 'prefixLength'>> {
  let offset = 0;
  while (offset + NEXTHOP_BYTES <= bytes.length) {
    const length = bytes.readUInt16LE(offset);
    if (length < NEXTHOP_BYTES || offset + length > bytes.length) return;
    const attributes = decodeAttributes(bytes.subarray(offset + NEXTHOP_BYTES, offset + length));
    yield { index: bytes.readInt32LE(offset + 4), gateway: gatewayOf(attributes) };
    offset += (length + 3) & ~3;
  }
}

function gatewayOf(attributes: ReadonlyMap<number, Buffer>): string | null {
  const gateway = attributes.get(RTA_GATEWAY);
  return gateway === undefined ? null : formatIp(gateway);
}

export function listAddresses(socket: NetlinkSocket): AddressRow[] {
  const rows: AddressRow[] = [];
  const request = { type: RTM_GETADDR, payload: Buffer.alloc(8), what: 'list addresses' };
  for (const { payload: bytes } of socket.dump(request)) {
    if (bytes.length < 8) continue;
    const attributes = decodeAttributes(bytes.subarray(8));
    // IPv4 on a point-to-point link: IFA_ADDRESS is the other end, IFA_LOCAL is ours.
    const local = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    if (local === undefined || (local.length !== 4 && local.length !== 16)) continue;
    const label = attributes.get(IFA_LABEL);
    rows.push({
      index: bytes.readUInt32LE(4),
      address: formatIp(local),
      prefixLength: bytes.readUInt8(1),
      scope: bytes.readUInt8(3),
      label: label === undefined ? '' : fromCString(label),
      protocol: attributes.get(IFA_PROTO)?.[0] ?? 0,
      metric: attributes.get(IFA_RT_PRIORITY)?.readUInt32LE(0) ?? 0,
    });
  }
  return rows;
}

/** Adds the address, or brings marks and lifetime of the same one up to date. */
export function addAddress(socket: NetlinkSocket, vip: VipPlacement, address: NewAddress): void {
  // struct ifa_cacheinfo: preferred, valid, created, updated. Preferred 0 is "deprecated": usable,
  // and never chosen as a source.
  const cacheInfo = Buffer.alloc(16);
  cacheInfo.writeUInt32LE(address.validSeconds, 4);
  const header = addressHeader(address.bytes, address.bytes.length * 8, address.index);
  header.writeUInt8(address.scope, 3);
  const payload = Buffer.concat([
    header,
    attribute(IFA_LOCAL, address.bytes),
    attribute(IFA_ADDRESS, address.bytes),
    ...(address.label === null ? [] : [attribute(IFA_LABEL, cString(address.label))]),
    attribute(IFA_FLAGS, u32(address.flags)),
    attribute(IFA_CACHEINFO, cacheInfo),
    attribute(IFA_RT_PRIORITY, u32(address.metric)),
    attribute(IFA_PROTO, Uint8Array.of(address.protocol)),
  ]);
  socket.acknowledge({
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload,
    what: `add ${vip.address} to ${vip.interface}`,
  });
}

export function deleteAddress(socket: NetlinkSocket, row: AddressRow, bytes: Uint8Array): void {
  const payload = Buffer.concat([
    addressHeader(bytes, row.prefixLength, row.index),
    attribute(IFA_LOCAL, bytes),
    attribute(IFA_ADDRESS, bytes),
  ]);
  const what = `delete ${row.address} from interface ${row.index}`;
  socket.acknowledge({ type: RTM_DELADDR, payload, what });
}

/** struct ifaddrmsg */
function addressHeader(bytes: Uint8Array, prefixLength: number, index: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt32LE(index, 4);
  return header;
}
