/**
 * The C library's calls that the rest of this folder stands on, bound in one place, and the error
 * that a refused call becomes. Buffers are passed by address for the length of the call only,
 * unless a comment at the call says otherwise.
 */
import koffi from 'koffi';
import { OperatingError } from '../base/errors.ts';

/** The symbols of this process itself: glibc and musl alike. */
const library = koffi.load(null);

export const socket: (domain: number, type: number, protocol: number) => number = library.func(
  'int socket(int, int, int)',
);
export const bind: (fd: number, address: Uint8Array, length: number) => number = library.func(
  'int bind(int, const void *, uint32_t)',
);
export const sendTo: (
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
  to: Uint8Array | null,
  toLength: number,
) => number = library.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)');
export const receive: (fd: number, into: Uint8Array, length: number, flags: number) => number =
  library.func('long recv(int, void *, size_t, int)');
export const receiveFrom: (
  fd: number,
  into: Uint8Array,
  length: number,
  flags: number,
  from: Uint8Array,
  fromLength: Uint32Array,
) => number = library.func('long recvfrom(int, void *, size_t, int, void *, void *)');
export const setSocketOption: (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array,
  length: number,
) => number = library.func('int setsockopt(int, int, int, const void *, uint32_t)');
export const getSocketOption: (
  fd: number,
  level: number,
  name: number,
  value: Uint8Array,
  length: Uint32Array,
) => number = library.func('int getsockopt(int, int, int, void *, void *)');
/** With no address asked for, a client costs one call. */
export const accept4: (fd: number, from: null, fromLength: null, flags: number) => number =
  library.func('int accept4(int, void *, void *, int)');
export const listenSocket: (fd: number, backlog: number) => number =
  library.func('int listen(int, int)');
export const connectSocket: (fd: number, address: Uint8Array, length: number) => number =
  library.func('int connect(int, const void *, uint32_t)');
export const sendBytes: (fd: number, bytes: Uint8Array, length: number, flags: number) => number =
  library.func('long send(int, const void *, size_t, int)');
export const shutdownSocket: (fd: number, how: number) => number =
  library.func('int shutdown(int, int)');
type SocketNameCall = (fd: number, address: Uint8Array, length: Uint32Array) => number;
export const getSocketName: SocketNameCall = library.func('int getsockname(int, void *, void *)');
export const peerName: SocketNameCall = library.func('int getpeername(int, void *, void *)');
export const epollCreate: (flags: number) => number = library.func('int epoll_create1(int)');
export const epollControl: (
  epoll: number,
  operation: number,
  fd: number,
  event: Uint8Array,
) => number = library.func('int epoll_ctl(int, int, int, const void *)');
export const epollWait: (
  epoll: number,
  events: Uint8Array,
  count: number,
  timeoutMs: number,
) => number = library.func('int epoll_wait(int, void *, int, int)');
export const eventCounter: (initial: number, flags: number) => number =
  library.func('int eventfd(uint, int)');
export const readBytes: (fd: number, into: Uint8Array, length: number) => number = library.func(
  'long read(int, void *, size_t)',
);
export const writeBytes: (fd: number, bytes: Uint8Array, length: number) => number = library.func(
  'long write(int, const void *, size_t)',
);
export const makePipe: (ends: Int32Array, flags: number) => number =
  library.func('int pipe2(void *, int)');
export const controlFd: (fd: number, command: number, argument: number) => number = library.func(
  'int fcntl(int, int, int)',
);
const spliceBytes: (
  from: number,
  fromOffset: null,
  to: number,
  toOffset: null,
  length: number,
  flags: number,
) => number = library.func('long splice(int, void *, int, void *, size_t, uint)');
/** @param flags SPLICE_F_* of bits/fcntl-linux.h */
export function splice(from: number, to: number, length: number, flags: number): number {
  return spliceBytes(from, null, to, null, length, flags);
}
export const ioctl: (fd: number, request: number, argument: Uint8Array) => number = library.func(
  'int ioctl(int, ulong, void *)',
);
export const closeFd: (fd: number) => number = library.func('int close(int)');
export const interfaceIndex: (name: string) => number = library.func(
  'uint if_nametoindex(const char *)',
);
const nameOfInterface: (index: number, into: Uint8Array) => string | null = library.func(
  'const char *if_indextoname(uint, void *)',
);
export const clockGetTime: (clock: number, into: Uint32Array) => number = library.func(
  'int clock_gettime(int, void *)',
);
export const processControl: (option: number, argument: number) => number =
  library.func('int prctl(int, ulong)');
export const setScheduler: (pid: number, policy: number, parameters: Int32Array) => number =
  library.func('int sched_setscheduler(int, int, const void *)');
export const lockAllMemory: (flags: number) => number = library.func('int mlockall(int)');
/** adjtimex(2); with an empty structure it only tells the state of the clock. */
export const adjustTime: (timex: Uint8Array) => number = library.func('int adjtimex(void *)');
/** bpf(2) has no wrapper in the C library. */
export const syscallBpf: (
  number: number,
  command: number,
  attributes: Uint8Array,
  size: number,
) => number = library.func('long syscall(long, int, void *, uint)');

const errorText: (errno: number) => string = library.func('const char *strerror(int)');

/** errno(3) by name, as far as this folder tells them apart (asm-generic/errno-base.h, errno.h). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EAGAIN: 11,
  EACCES: 13,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  EHOSTUNREACH: 113,
  EOPNOTSUPP: 95,
  EINPROGRESS: 115,
} as const;

/** A call that the kernel refused. `errno` tells why; the text is for people. */
export class KernelError extends OperatingError {
  readonly errno: number;

  constructor(what: string, errno: number) {
    super({
      code: 'kernel-refused',
      message: `${what}: ${errorText(errno)}`,
      ...(errno === Errno.EPERM && {
        hint: 'run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF',
      }),
      facts: { what, errno },
    });
    this.errno = errno;
  }
}

/** The errno of the call just made; to be read before any other call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Returns `result` of a call that says -1 on failure; throws {@link KernelError} then. */
export function check(result: number, what: string): number {
  if (result < 0) throw new KernelError(what, lastErrno());
  return result;
}

/** The name of the interface with this index; null where there is none. */
export function interfaceName(index: number): string | null {
  const name = new Uint8Array(16);
  return nameOfInterface(index, name);
}

/** Runs `action`; a kernel's refusal with one of `errnos` counts as done. True if it acted. */
export function unless(errnos: readonly number[], action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof KernelError && errnos.includes(error.errno)) return false;
    throw error;
  }
}

/**
 * The address of `bytes` for a field of a kernel structure; keep `bytes` alive through the call.
 */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}
