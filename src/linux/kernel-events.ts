/**
 * "Something about links or addresses changed": the kernel's multicast, read by looking into a
 * non-blocking socket at a modest rate. Node cannot poll a netlink socket itself, and the binding
 * that can ends the whole process when the socket's queue overflows. Which change it was is not
 * told: whoever is woken observes anew, so a lost event costs nothing.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { bind, check, closeFd, Errno, KernelError, lastErrno, receive, socket } from './libc.ts';

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
/** SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC */
const SOCKET_TYPE = 3 | 0x800 | 0x80000;
/** RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR of linux/rtnetlink.h. */
const GROUPS = 0x1 | 0x10 | 0x100;

/** An empty look costs under a microsecond; a person's `ip addr del` heals within this time. */
const LOOK_EVERY_MS: Millis = 20;
/** Events taken at one look; more wait for the next one. */
const EVENTS_PER_LOOK = 256;

/** Calls `onChange` once per look that found events, from the event loop. */
export function watchKernel(clock: Clock, onChange: () => void): { close(): void } {
  const fd = check(socket(AF_NETLINK, SOCKET_TYPE, NETLINK_ROUTE), 'open a netlink socket');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(GROUPS, 8);
  check(bind(fd, address, address.length), 'listen to link and address events');
  // Contents do not matter: a cut message is an event all the same.
  const buffer = Buffer.alloc(64);
  const look = (): void => {
    timer = clock.after(LOOK_EVERY_MS, look);
    if (drain(fd, buffer)) onChange();
  };
  let timer: Timer = clock.after(LOOK_EVERY_MS, look);
  return {
    close: () => {
      timer.cancel();
      closeFd(fd);
    },
  };
}

/** Takes what waits in the socket; whether there was anything. */
function drain(fd: number, buffer: Buffer): boolean {
  for (let events = 0; events < EVENTS_PER_LOOK; events++) {
    if (receive(fd, buffer, buffer.length, 0) >= 0) continue;
    const errno = lastErrno();
    if (errno === Errno.EAGAIN) return events > 0;
    // The queue overflowed, so something changed; the socket goes on.
    if (errno !== Errno.ENOBUFS && errno !== Errno.EINTR) {
      throw new KernelError('read link and address events', errno);
    }
  }
  return true;
}
