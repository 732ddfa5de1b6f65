/**
 * Stream sockets by their descriptors, as whoever carries thousands of connections needs them: no
 * object, no buffer and no callback for each. Calls answer a negated errno(3) instead of throwing,
 * because most refusals are no news (EAGAIN) and the others are about one connection.
 */
import type { Millis } from '../base/clock.ts';

/** An open descriptor. */
export type Fd = number;
/** A count of bytes, a descriptor or 0; below 0 a negated errno. */
export type Result = number;
/** An address with its port, as the kernel wants it (struct sockaddr_in or sockaddr_in6). */
export type SocketAddress = Uint8Array;

/** Nothing to read, no room to write, nobody to accept: later. */
export const WOULD_BLOCK = -11;

/** The sockets that clients come in by. */
export interface DoorSockets {
  /**
   * Takes `port` (0: any) on every address of this host, IPv6 and IPv4, without letting anybody in:
   * clients are refused.
   *
   * @throws OperatingError `port-in-use`, `kernel-refused`
   */
  claim(port: number): { readonly fd: Fd; readonly port: number };
  /** A second socket on a port that was claimed, which lets clients in from now on. */
  listen(port: number): Fd;
  /** Lets nobody in any more, at once, whoever is going to close it. */
  refuse(door: Fd): void;
  close(fd: Fd): void;
}

/** What {@link Poller.wait} tells of a descriptor; several at once. */
export const Readiness = {
  readable: 1,
  writable: 4,
  /** The connection failed or was reset; {@link StreamSockets.failure} knows more. */
  failed: 8,
  /** Both directions are over. */
  over: 16,
  /** The other side has said its last, perhaps behind something to read. */
  ended: 0x2000,
} as const;

/** Waits for many descriptors at once (epoll(7), edge-triggered). */
export interface Poller {
  /**
   * Tells of each change of `fd` until it is closed. `tag` comes back with each event: the number
   * of a descriptor is given to another socket as soon as it is closed, and events of the old one
   * may still be under way.
   */
  watch(fd: Fd, tag: number): void;
  /** As {@link watch}, and tells for as long as there is something: for doors. */
  watchDoor(fd: Fd, tag: number): void;
  forget(fd: Fd): void;
  /** Calls `onEvent` for each event; waits `maxMs` at most for the first. */
  wait(maxMs: Millis, onEvent: (fd: Fd, tag: number, readiness: number) => void): void;
  close(): void;
}

/**
 * A stretch of the kernel's memory: bytes go through it from socket to socket, and this process
 * never sees them (splice(2)).
 */
export interface Duct {
  /** Bytes that were taken in and not let out yet. */
  readonly held: number;
  /** Takes in what there is from `from`, as far as there is room; answers how much. */
  fill(from: Fd): Result;
  /** Lets out to `to`; answers how much that took. */
  drain(to: Fd): Result;
  /** What it still holds is lost. */
  close(): void;
}

/** Sockets that never block, may be half-closed, and ask silent peers whether they live. */
export interface StreamSockets {
  createPoller(): Poller;
  /** Null where the host has no room for another one. */
  createDuct(): Duct | null;
  addressOf(address: string, port: number): SocketAddress;
  accept(door: Fd): Result;
  /** A socket on its way to `to`; writable or failed when it is decided. */
  connect(to: SocketAddress): Result;
  /** The errno by which the connection failed, 0 if it did not; asking forgets it. */
  failure(fd: Fd): number;
  /** `ECONNREFUSED`, … */
  nameOf(errno: number): string;
  /** The address of the other side, without its port; empty where it is gone. */
  peerAddress(fd: Fd): string;
  receive(fd: Fd, into: Uint8Array): Result;
  /** Sends the first `length` of `bytes`; answers how many were taken. */
  send(fd: Fd, bytes: Uint8Array, length: number): Result;
  /** Says that nothing more comes (FIN); the other direction goes on. */
  endWriting(fd: Fd): void;
  /** Ends in peace: what was sent still arrives. */
  close(fd: Fd): void;
  /** Ends at once: the peer sees a reset. */
  reset(fd: Fd): void;
}
