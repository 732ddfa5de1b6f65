/**
 * How soon TCP sends again what was lost between members. The kernel waits 200 ms at least, as long
 * as a short lease; between hosts that answer within a millisecond 20 ms are plenty. Linux 6.15 and
 * later let a socket say so (linux/tcp.h); older ones refuse, and their hosts may say it by route
 * (`rto_min`) or, since 6.11, for all sockets (`net.ipv4.tcp_rto_min_us`).
 */
import type { Socket } from 'node:net';
import { setSocketOption } from './libc.ts';
import { socketDescriptor } from './peer-cred.ts';

const IPPROTO_TCP = 6;
const TCP_RTO_MIN_US = 45;
const TCP_DELACK_MAX_US = 46;

const RESEND_MICROSECONDS = 20_000;
/** Else the peer's pause before it acknowledges would look like a loss. */
const ACKNOWLEDGE_MICROSECONDS = 5_000;

/** Makes a TCP socket send again soon, and acknowledge sooner; whether the kernel took both. */
export function hurry(socket: Socket): boolean {
  const fd = socketDescriptor(socket);
  if (fd === null) return false;
  const set = (option: number, microseconds: number): boolean => {
    const value = Buffer.alloc(4);
    value.writeInt32LE(microseconds);
    return setSocketOption(fd, IPPROTO_TCP, option, value, value.length) === 0;
  };
  const acknowledges = set(TCP_DELACK_MAX_US, ACKNOWLEDGE_MICROSECONDS);
  return set(TCP_RTO_MIN_US, RESEND_MICROSECONDS) && acknowledges;
}
