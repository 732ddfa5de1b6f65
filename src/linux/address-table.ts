/**
 * The kernel's address table as the VIP room sees it. Our addresses bear marks that need no state
 * of ours to be recognised: the address protocol (Linux 5.18), beside it a label for IPv4 and a
 * metric for IPv6, which older kernels keep as well. The VIP is deprecated and of host scope, so
 * that this host never speaks in its name unasked, and goes by itself when nobody refreshes its
 * lifetime.
 */
import { defined } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import type { AddressTable, Link, VipPlacement } from '../vip/ports.ts';
import { watchKernel } from './kernel-events.ts';
import { Errno, unless } from './libc.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import {
  type AddressRow,
  addAddress,
  deleteAddress,
  listAddresses,
  listLinks,
  NETLINK_ROUTE,
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
/** RT_SCOPE_HOST of linux/rtnetlink.h: answered for like any other, never picked as a source. */
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
    watch: (onChange) => watchKernel(clock, onChange),
    close: () => socket.close(),
  };
}

function links(socket: NetlinkSocket): Link[] {
  const addresses = listAddresses(socket);
  return listLinks(socket).map((link) => ({
    ...link,
    addresses: addresses
      .filter((row) => row.index === link.index)
      .map(({ address, prefixLength }) => ({ address, prefixLength })),
  }));
}

function put(socket: NetlinkSocket, vip: VipPlacement, lifetimeSeconds: number): void {
  const link = listLinks(socket).find((row) => row.name === vip.interface);
  if (link === undefined) {
    throw new OperatingError({
      code: 'interface-missing',
      message: `interface ${vip.interface} is not there`,
      facts: { interface: vip.interface },
    });
  }
  const bytes = defined(parseIp(vip.address), `address ${vip.address}`);
  const label = `${vip.interface}:${OUR_LABEL}`;
  addAddress(socket, vip, {
    index: link.index,
    bytes,
    label: bytes.length === 4 && label.length <= LABEL_MAX_CHARS ? label : null,
    protocol: OUR_PROTOCOL,
    metric: OUR_METRIC,
    scope: bytes.length === 4 ? SCOPE_HOST : SCOPE_GLOBAL,
    flags: IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
    validSeconds: lifetimeSeconds,
  });
}

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
