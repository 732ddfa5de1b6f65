/** Stream sockets by the system calls themselves: what each connection costs, and no more. */
import type { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { DoorSockets, Duct, Fd, Poller, Result, StreamSockets } from '../lb/sockets.ts';
import {
  accept4,
  bind,
  check,
  closeFd,
  connectSocket,
  controlFd,
  Errno,
  epollControl,
  epollCreate,
  epollWait,
  getSocketOption,
  KernelError,
  lastErrno,
  listenSocket,
  makePipe,
  peerName,
  receive,
  sendBytes,
  setSocketOption,
  shutdownSocket,
  socket,
  splice,
} from './libc.ts';
import { socketDescriptor } from './peer-cred.ts';
import { AF_INET, AF_INET6, localPort, socketAddress } from './socket-address.ts';

/** sys/socket.h, netinet/in.h, netinet/tcp.h, bits/socket_type.h */
const STREAM = 1 | 0x800 | 0x80000; // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
const NONBLOCKING = 0x800 | 0x80000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const SHUT_RDWR = 2;

/** As many handshakes as a burst of reconnecting clients needs; the kernel caps it at somaxconn. */
const BACKLOG = 4_096;
/**
 * 30 s without an answer end a connection, idle or not: a peer that has been silent for 20 s is
 * asked whether it lives, twice, each 5 s; and data that was sent waits as long for its
 * acknowledgement (RFC 5482), which the kernel takes for the bound of both (tcp(7)).
 */
const KEEP_ALIVE_SECONDS = 20;
const KEEP_ALIVE_INTERVAL_SECONDS = 5;
const KEEP_ALIVE_PROBES = 2;
const USER_TIMEOUT_MS = 30_000;

/** bits/fcntl-linux.h */
const F_SETPIPE_SZ = 1031;
const SPLICE_MOVE_NONBLOCK = 1 | 2;
/** What an unprivileged process may have, too (pipe-max-size in proc_sys_fs(5)). */
const DUCT_BYTES = 1024 * 1024;

/** sys/epoll.h */
const EPOLL_ADD = 1;
const EPOLL_DEL = 2;
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x8000_0000;
const EVENTS = 512;
/** struct epoll_event is packed on x86-64 alone (linux/eventpoll.h). */
const EVENT_WORDS = process.arch === 'x64' ? 3 : 4;
const DATA_WORD = process.arch === 'x64' ? 1 : 2;

const number = new Uint8Array(4);
const numberView = new DataView(number.buffer);
const LINGER_NEVER = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

function setOption(fd: Fd, level: number, name: number, value: number): number {
  numberView.setInt32(0, value, true);
  return setSocketOption(fd, level, name, number, number.length);
}

/** What every connection has; a door hands it down to those it accepts (tcp(7)). */
function setConnectionOptions(fd: Fd): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_SECONDS);
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_SECONDS);
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE_PROBES);
  setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/** As every connection that is carried here; nothing where it has ended. */
export function tuneConnection(connection: Socket): void {
  const fd = socketDescriptor(connection);
  if (fd !== null) setConnectionOptions(fd);
}

export function createDoorSockets(): DoorSockets {
  return {
    claim(port) {
      const fd = boundSocket(port);
      return { fd, port: port === 0 ? localPort(fd) : port };
    },
    listen(port) {
      const fd = boundSocket(port);
      setConnectionOptions(fd);
      if (listenSocket(fd, BACKLOG) === 0) return fd;
      const errno = lastErrno();
      closeFd(fd);
      throw new KernelError(`listen on port ${port}`, errno);
    },
    refuse: (door) => void shutdownSocket(door, SHUT_RDWR),
    close: (fd) => void closeFd(fd),
  };
}

/** Bound to every address of both families, or of IPv4 alone where there is no IPv6. */
function boundSocket(port: number): Fd {
  const six = socket(AF_INET6, STREAM, 0);
  const fd = six >= 0 ? six : check(socket(AF_INET, STREAM, 0), 'open a socket');
  if (six >= 0) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // Sockets of this user share the port, also with what an earlier process left in TIME_WAIT.
  // SO_REUSEADDR would let in anybody who sets it, while the port is only claimed.
  setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  const address = socketAddress(six >= 0 ? '::' : '0.0.0.0', port);
  if (bind(fd, address, address.length) === 0) return fd;
  const errno = lastErrno();
  closeFd(fd);
  if (errno !== Errno.EADDRINUSE) throw new KernelError(`bind port ${port}`, errno);
  throw new OperatingError({
    code: 'port-in-use',
    message: `port ${port} is in use`,
    facts: { port },
  });
}

export function createStreamSockets(): StreamSockets {
  const peer = new Uint8Array(28);
  const peerLength = new Uint32Array(1);
  return {
    createPoller,
    createDuct,
    addressOf: socketAddress,
    accept: (door) => orErrno(accept4(door, null, null, NONBLOCKING)),
    connect(to) {
      const fd = socket(to.length === 28 ? AF_INET6 : AF_INET, STREAM, 0);
      if (fd < 0) return -lastErrno();
      setConnectionOptions(fd);
      if (connectSocket(fd, to, to.length) === 0) return fd;
      const errno = lastErrno();
      if (errno === Errno.EINPROGRESS) return fd;
      closeFd(fd);
      return -errno;
    },
    failure(fd) {
      const length = Uint32Array.of(4);
      const failed = getSocketOption(fd, SOL_SOCKET, SO_ERROR, number, length);
      return failed < 0 ? lastErrno() : numberView.getInt32(0, true);
    },
    nameOf: (errno) => getSystemErrorName(-errno),
    peerAddress(fd) {
      peerLength[0] = peer.length;
      return peerName(fd, peer, peerLength) < 0 ? '' : textOf(peer);
    },
    receive: (fd, into) => orErrno(receive(fd, into, into.length, 0)),
    send: (fd, bytes, length) => orErrno(sendBytes(fd, bytes, length, MSG_NOSIGNAL)),
    endWriting: (fd) => void shutdownSocket(fd, SHUT_WR),
    close: (fd) => void closeFd(fd),
    reset(fd) {
      setSocketOption(fd, SOL_SOCKET, SO_LINGER, LINGER_NEVER, LINGER_NEVER.length);
      closeFd(fd);
    },
  };
}

function orErrno(result: number): Result {
  return result < 0 ? -lastErrno() : result;
}

/** IPv4 in dots, also where it came in over an IPv6 socket; IPv6 in hexadecimal, uncompressed. */
function textOf(address: Uint8Array): string {
  const family = (address[0] ?? 0) | ((address[1] ?? 0) << 8);
  if (family === AF_INET) return address.subarray(4, 8).join('.');
  const ip = address.subarray(8, 24);
  const isMapped = ip.subarray(0, 12).join() === '0,0,0,0,0,0,0,0,0,0,255,255';
  if (isMapped) return ip.subarray(12).join('.');
  return Buffer.from(ip)
    .toString('hex')
    .replace(/(.{4})(?=.)/g, '$1:');
}

/** A pipe; where the kernel refuses it its full size, a smaller one serves as well. */
function createDuct(): Duct | null {
  const ends = new Int32Array(2);
  if (makePipe(ends, NONBLOCKING) < 0) return null;
  const [exit = -1, entry = -1] = ends;
  controlFd(entry, F_SETPIPE_SZ, DUCT_BYTES);
  let held = 0;
  return {
    get held() {
      return held;
    },
    fill(from) {
      const count = orErrno(splice(from, entry, DUCT_BYTES, SPLICE_MOVE_NONBLOCK));
      if (count > 0) held += count;
      return count;
    },
    drain(to) {
      const count = orErrno(splice(exit, to, held, SPLICE_MOVE_NONBLOCK));
      if (count > 0) held -= count;
      return count;
    },
    close() {
      closeFd(entry);
      closeFd(exit);
    },
  };
}

/** epoll(7); the tag travels in the upper half of the event's data. */
function createPoller(): Poller {
  const poll = check(epollCreate(0x80000), 'create an epoll instance');
  const events = new Uint8Array(EVENTS * EVENT_WORDS * 4);
  const words = new Uint32Array(events.buffer);
  const event = new Uint32Array(EVENT_WORDS);
  const eventBytes = new Uint8Array(event.buffer);
  const add = (fd: Fd, tag: number, mask: number): void => {
    event[0] = mask;
    event[DATA_WORD] = fd;
    event[DATA_WORD + 1] = tag;
    check(epollControl(poll, EPOLL_ADD, fd, eventBytes), 'watch a socket');
  };
  return {
    watch: (fd, tag) => add(fd, tag, (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) >>> 0),
    watchDoor: (fd, tag) => add(fd, tag, EPOLLIN),
    forget: (fd) => void epollControl(poll, EPOLL_DEL, fd, eventBytes),
    wait(maxMs: Millis, onEvent) {
      const count = epollWait(poll, events, EVENTS, Math.ceil(maxMs));
      if (count < 0 && lastErrno() !== Errno.EINTR) check(count, 'wait for sockets');
      for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
        // The bits of `Readiness` are the kernel's own.
        onEvent(words[at + DATA_WORD] ?? 0, words[at + DATA_WORD + 1] ?? 0, words[at] ?? 0);
      }
    },
    close: () => void closeFd(poll),
  };
}
