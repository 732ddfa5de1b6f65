/**
 * Telling systemd how the agent is (sd_notify(3)): a datagram to a Unix socket, which Node itself
 * cannot send. Without a socket to tell it to, nothing happens.
 */
import { closeFd, sendTo, socket } from './libc.ts';

const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK: systemd being slow must not hold the lease. */
const SOCKET_TYPE = 2 | 0x80000 | 0x800;
/** struct sockaddr_un: a family and 108 bytes of path. */
const PATH_AT = 2;
const PATH_BYTES = 108;

export interface SystemdNotifier {
  /** The agent serves. */
  ready(): void;
  stopping(): void;
  /** One line for `systemctl status`. */
  status(text: string): void;
  /** The agent is alive; due before WatchdogSec has passed. */
  watchdog(): void;
}

/** @param path the value of NOTIFY_SOCKET, or undefined outside systemd. */
export function createNotifier(path: string | undefined): SystemdNotifier {
  const address = path === undefined ? null : unixAddress(path);
  const notify = (state: string): void => {
    if (address === null) return;
    const fd = socket(AF_UNIX, SOCKET_TYPE, 0);
    if (fd < 0) return;
    const message = Buffer.from(state);
    // A manager that does not listen is told again by the next call; there is nobody else to tell.
    sendTo(fd, message, message.length, 0, address, address.length);
    closeFd(fd);
  };
  return {
    ready: () => notify('READY=1'),
    stopping: () => notify('STOPPING=1'),
    status: (text) => notify(`STATUS=${text.replaceAll('\n', ' ')}`),
    watchdog: () => notify('WATCHDOG=1'),
  };
}

/** `@name` is in the abstract namespace, where the length counts; null for what is no path. */
function unixAddress(path: string): Buffer | null {
  if (!/^[/@]./.test(path)) return null;
  const bytes = Buffer.from(path);
  if (bytes.length >= PATH_BYTES) return null;
  const abstract = path.startsWith('@');
  const address = Buffer.alloc(PATH_AT + bytes.length + (abstract ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, PATH_AT);
  if (abstract) address.writeUInt8(0, PATH_AT);
  return address;
}
