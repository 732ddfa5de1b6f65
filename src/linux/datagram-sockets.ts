/**
 * The sockets that datagrams for a VIP come in by. They are bound to the VIP itself, which may be
 * another host's just now, so that what is sent by them leaves from it: the translation of an
 * answer finds its way back only by that address.
 */
import { OperatingError } from '../base/errors.ts';
import type { DoorSockets, Fd } from '../lb/sockets.ts';
import {
  bind,
  check,
  closeFd,
  connectSocket,
  Errno,
  KernelError,
  lastErrno,
  setSocketOption,
  socket,
} from './libc.ts';
import { AF_INET, AF_INET6, localPort, socketAddress } from './socket-address.ts';

/** bits/socket_type.h: SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC */
const DATAGRAM = 2 | 0x800 | 0x80000;
/** sys/socket.h, netinet/in.h, linux/in6.h */
const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;
const IPPROTO_IP = 0;
const IP_TRANSPARENT = 19;
const IPPROTO_IPV6 = 41;
const IPV6_TRANSPARENT = 75;
const ONE = Uint8Array.of(1, 0, 0, 0);
/** RFC 863; nothing is ever sent there. */
const DISCARD_PORT = 9;

/** @param address that datagrams are for. */
export function createDatagramDoors(address: string): DoorSockets {
  const isSix = address.includes(':');
  // A connected socket takes datagrams of one peer; everybody else's are refused by the kernel.
  const refuse = (fd: Fd): void => {
    const nobody = socketAddress(isSix ? '::1' : '127.0.0.1', DISCARD_PORT);
    check(connectSocket(fd, nobody, nobody.length), 'keep a port');
  };
  return {
    claim(port) {
      const fd = boundSocket(address, port);
      try {
        refuse(fd);
        return { fd, port: port === 0 ? localPort(fd) : port };
      } catch (error) {
        closeFd(fd);
        throw error;
      }
    },
    listen: (port) => boundSocket(address, port),
    refuse,
    close: (fd) => void closeFd(fd),
  };
}

function boundSocket(address: string, port: number): Fd {
  const isSix = address.includes(':');
  const fd = check(socket(isSix ? AF_INET6 : AF_INET, DATAGRAM, 0), 'open a socket');
  // Without the right to it, an address of this host will do.
  if (isSix) setSocketOption(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, ONE, ONE.length);
  else setSocketOption(fd, IPPROTO_IP, IP_TRANSPARENT, ONE, ONE.length);
  setSocketOption(fd, SOL_SOCKET, SO_REUSEPORT, ONE, ONE.length);
  const to = socketAddress(address, port);
  if (bind(fd, to, to.length) === 0) return fd;
  const errno = lastErrno();
  closeFd(fd);
  if (errno !== Errno.EADDRINUSE) throw new KernelError(`bind ${address}, port ${port}`, errno);
  throw new OperatingError({
    code: 'port-in-use',
    message: `UDP port ${port} is in use`,
    facts: { address, port },
  });
}
