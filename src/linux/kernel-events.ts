/**
 * "Something about links, addresses or our fence changed": the kernel's multicast, read by looking
 * into non-blocking sockets at a modest rate. Node cannot poll a netlink socket itself, and the
 * binding that can ends the whole process when the socket's queue overflows. Which change it was is
 * not told: whoever is woken observes anew, so a lost event costs nothing.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { bind, check, closeFd, Errno, KernelError, lastErrno, receive, socket } from './libc.ts';
import { cString, decodeMessages } from './netlink-message.ts';
import { NETLINK_NETFILTER, TABLE } from './nft.ts';

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
/** SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC */
const SOCKET_TYPE = 3 | 0x800 | 0x80000;
/** RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR of linux/rtnetlink.h. */
const ROUTE_GROUPS = 0x1 | 0x8 | 0x10 | 0x100;
/** RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE of linux/rtnetlink.h. */
const RULE_ROUTE_GROUPS = 0x40 | 0x400;
/** NFNLGRP_NFTABLES (7) of linux/netfilter/nfnetlink.h, as a bit. */
const NFT_GROUPS = 1 << 6;
/** NFNL_SUBSYS_NFTABLES; NFT_MSG_DELTABLE, DELCHAIN and DELRULE of linux/netfilter/nf_tables.h. */
const NFT_SUBSYSTEM = 10;
const NFT_REMOVALS: readonly number[] = [2, 5, 8];
/** struct nfgenmsg, then the table's name as the first attribute of each of these messages. */
const NFT_TABLE_NAME_AT = 4 + 4;
/** The same, and their NEW…. */
const NFT_CHANGES: readonly number[] = [0, 2, 3, 5, 6, 8];
const NFT_MSG_DELTABLE = 2;
const OUR_TABLE = cString(TABLE);
/** All our tables' names begin so. */
const OURS = Buffer.from(TABLE, 'latin1');
/** The kernel gathers what one transaction did in datagrams of this size at most. */
const RECEIVE_BYTES = 32 * 1024;

/** An empty look costs under a microsecond; a person's `ip addr del` heals within this time. */
const LOOK_EVERY_MS: Millis = 20;
/** Events taken at one look; more wait for the next one. */
const EVENTS_PER_LOOK = 256;

/** Calls `onChange` once per look that found events, from the event loop. */
export function watchKernel(clock: Clock, onChange: () => void): { close(): void } {
  const sources = [
    { fd: listen(NETLINK_ROUTE, ROUTE_GROUPS), matters: () => true },
    // A host's firewall may change its rules all the time: only what we have lost is news.
    { fd: listen(NETLINK_NETFILTER, NFT_GROUPS), matters: removesOurs },
  ];
  return watch(clock, sources, onChange);
}

interface Source {
  readonly fd: number;
  readonly matters: (datagram: Buffer) => boolean;
}

function watch(clock: Clock, sources: readonly Source[], onChange: () => void): { close(): void } {
  const buffer = Buffer.alloc(RECEIVE_BYTES);
  const look = (): void => {
    timer = clock.after(LOOK_EVERY_MS, look);
    const news = sources.map(({ fd, matters }) => drain(fd, buffer, matters));
    if (news.includes(true)) onChange();
  };
  let timer: Timer = clock.after(LOOK_EVERY_MS, look);
  return {
    close: () => {
      timer.cancel();
      for (const { fd } of sources) closeFd(fd);
    },
  };
}

/**
 * Calls `onChange` when a rule, a chain or a route of this host changed that is not ours, or when
 * any table was removed: whatever may decide what becomes of packets on their way.
 */
export function watchRules(clock: Clock, onChange: () => void): { close(): void } {
  const sources = [
    { fd: listen(NETLINK_ROUTE, RULE_ROUTE_GROUPS), matters: () => true },
    { fd: listen(NETLINK_NETFILTER, NFT_GROUPS), matters: concernsOthers },
  ];
  return watch(clock, sources, onChange);
}

function listen(protocol: number, groups: number): number {
  const fd = check(socket(AF_NETLINK, SOCKET_TYPE, protocol), 'open a netlink socket');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(groups, 8);
  check(bind(fd, address, address.length), 'listen to events of the kernel');
  return fd;
}

/** Takes what waits in the socket; whether any of it matters. */
function drain(fd: number, buffer: Buffer, matters: (datagram: Buffer) => boolean): boolean {
  let found = false;
  for (let events = 0; events < EVENTS_PER_LOOK; events++) {
    const length = receive(fd, buffer, buffer.length, 0);
    if (length >= 0) {
      found ||= matters(buffer.subarray(0, length));
      continue;
    }
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return found;
    // The queue overflowed, so something changed; the socket goes on.
    if (errno !== Errno.ENOBUFS && errno !== Errno.EINTR) {
      throw new KernelError('read events of the kernel', errno);
    }
    found = true;
  }
  return true;
}

/** Whether something of our tables was removed, by whomever. */
function removesOurs(datagram: Buffer): boolean {
  for (const { type, payload } of decodeMessages(datagram)) {
    if (type >> 8 !== NFT_SUBSYSTEM || !NFT_REMOVALS.includes(type & 0xff)) continue;
    const name = payload.subarray(NFT_TABLE_NAME_AT, NFT_TABLE_NAME_AT + OUR_TABLE.length);
    if (name.equals(OUR_TABLE)) return true;
  }
  return false;
}

/** Our own transactions change only tables of ours, and seldom remove one as a whole. */
function concernsOthers(datagram: Buffer): boolean {
  for (const { type, payload } of decodeMessages(datagram)) {
    if (type >> 8 !== NFT_SUBSYSTEM || !NFT_CHANGES.includes(type & 0xff)) continue;
    if ((type & 0xff) === NFT_MSG_DELTABLE) return true;
    const name = payload.subarray(NFT_TABLE_NAME_AT, NFT_TABLE_NAME_AT + OURS.length);
    if (!name.equals(OURS)) return true;
  }
  return false;
}
