/**
 * The kernel's address table as the VIP room sees it. Our addresses bear marks that need no state
 * of ours to be recognised: the address protocol (Linux 5.18), beside it a label for IPv4 and a
 * metric for IPv6, which older kernels keep as well. The VIP goes by itself when nobody refreshes
 * its lifetime.
 *
 * The VIP must never be this host's name. As IPv6 it is deprecated, so it is no source of its own
 * accord. For IPv4 "deprecated" means nothing, and the order of the interface's addresses does: the
 * kernel prefers the first one as a source, and kubelet takes it for the node's address. So the VIP
 * comes after the host's own address; where there is none, it is of host scope, which is never a
 * source, but which the kernel would list before all others.
 */
import { defined } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { type IpFamily, parseIp } from '../base/ip.ts';
import type { AddressTable, DefaultRoute, Link, VipPlacement } from '../vip/ports.ts';
import { watchKernel } from './kernel-events.ts';
import { Errno, interfaceIndex, interfaceName as nameOfInterface, unless } from './libc.ts';
import { carriersOf } from './link-carriers.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import {
  type AddressRow,
  addAddress,
  deleteAddress,
  listAddresses,
  listLinks,
  NETLINK_ROUTE,
  routeTo,
} from './rtnetlink.ts';

/** IFA_PROTO of ours; 0–3 are the kernel's, the rest is free for user space. */
const OUR_PROTOCOL = 0x48;
const OUR_LABEL = 'hf';
/** "HF": nobody has a prefix route of this metric, and ours has no prefix route at all. */
const OUR_METRIC = 0x4846;
/** IFNAMSIZ without the zero byte. */
const LABEL_MAX_CHARS = 15;

/** linux/if_addr.h */
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
/** RT_SCOPE_… of linux/rtnetlink.h; of host scope it is answered for, and never a source. */
const SCOPE_HOST = 254;
const SCOPE_GLOBAL = 0;

/** The address table of the network namespace in which this is called. */
export function createAddressTable(clock: Clock): AddressTable & { close(): void } {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  return {
    links: () => links(socket),
    put: (vip, lifetimeSeconds) => put(socket, vip, lifetimeSeconds),
    remove: (address) => removeAddress(socket, address),
    ours: () => listOurs(socket),
    defaultRoute: (family, interfaceName) => defaultRoute(socket, family, interfaceName),
    watch: (onChange) => watchKernel(clock, onChange),
    close: () => socket.close(),
  };
}

function links(socket: NetlinkSocket): Link[] {
  const addresses = listAddresses(socket);
  const rows = listLinks(socket);
  const families = [4, 6] as const;
  const routes = new Map(families.map((family) => [family, defaultRoute(socket, family)]));
  return rows.map((link) => ({
    index: link.index,
    name: link.name,
    mac: link.mac,
    up: link.up,
    loopback: link.loopback,
    addresses: addresses
      .filter((row) => row.index === link.index)
      .map(({ address, prefixLength }) => ({ address, prefixLength })),
    carrierChanges: link.carrierChanges,
    carriers: carriersOf(link, rows),
    defaultRouteOf: families.filter((each) => routes.get(each)?.interface === link.name),
  }));
}

/** Addresses of the documentation's networks: they are in nobody's more specific route. */
const ANYWHERE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;

function defaultRoute(
  socket: NetlinkSocket,
  family: IpFamily,
  interfaceName?: string,
): DefaultRoute | null {
  const wanted = interfaceName === undefined ? null : interfaceIndex(interfaceName);
  if (wanted === 0) return null;
  const destination = defined(parseIp(ANYWHERE[family]), 'an address');
  const route = routeTo(socket, destination, wanted);
  if (route === null || route.prefixLength !== 0) return null;
  const name = nameOfInterface(route.index);
  return name === null ? null : { interface: name, gateway: route.gateway };
}

function put(socket: NetlinkSocket, vip: VipPlacement, lifetimeSeconds: number): void {
  const index = interfaceIndex(vip.interface);
  if (index === 0) {
    throw new OperatingError({
      code: 'interface-missing',
      message: `interface ${vip.interface} is not there`,
      facts: { interface: vip.interface },
    });
  }
  const bytes = defined(parseIp(vip.address), `address ${vip.address}`);
  const label = `${vip.interface}:${OUR_LABEL}`;
  const scope = bytes.length === 4 ? placeAmong(socket, vip.address, index) : SCOPE_GLOBAL;
  addAddress(socket, vip, {
    index,
    bytes,
    label: bytes.length === 4 && label.length <= LABEL_MAX_CHARS ? label : null,
    protocol: OUR_PROTOCOL,
    metric: OUR_METRIC,
    scope,
    flags: IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
    validSeconds: lifetimeSeconds,
  });
}

/**
 * Which scope the IPv4 VIP is to have beside the other addresses of its interface. Where it stands
 * before them (they came later: DHCP, a restarted network daemon), or with another scope, it is
 * taken away first, for the moment until it is added again.
 */
function placeAmong(socket: NetlinkSocket, address: string, index: number): number {
  const rows = listAddresses(socket).filter((row) => row.index === index && isIpv4(row.address));
  const first = rows.find((row) => !isOurs(row) && row.scope === SCOPE_GLOBAL);
  const scope = first === undefined ? SCOPE_HOST : SCOPE_GLOBAL;
  const present = rows.find((row) => row.address === address && isOurs(row));
  if (present === undefined) return scope;
  const comesFirst = first !== undefined && rows.indexOf(present) < rows.indexOf(first);
  if (comesFirst || present.scope !== scope) removeAddress(socket, address);
  return scope;
}

const isIpv4 = (address: string): boolean => !address.includes(':');

/** Removes the address from wherever it is on this host, whoever put it there. */
export function removeAddress(socket: NetlinkSocket, address: string): void {
  const bytes = defined(parseIp(address), `address ${address}`);
  for (const row of listAddresses(socket)) {
    if (row.address !== address) continue;
    // Its lifetime or its interface may have ended since the list was made.
    unless([Errno.EADDRNOTAVAIL, Errno.ENODEV], () => deleteAddress(socket, row, bytes));
  }
}

/** Every address that bears our marks. */
export function listOurs(socket: NetlinkSocket): VipPlacement[] {
  const marked = listAddresses(socket).filter(isOurs);
  if (marked.length === 0) return [];
  const names = new Map(listLinks(socket).map((link) => [link.index, link.name]));
  return marked.map((row) => ({ address: row.address, interface: names.get(row.index) ?? '' }));
}

function isOurs(row: AddressRow): boolean {
  return (
    row.protocol === OUR_PROTOCOL ||
    row.metric === OUR_METRIC ||
    row.label.endsWith(`:${OUR_LABEL}`)
  );
}
