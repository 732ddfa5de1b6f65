/** Addresses with their ports, as the kernel's socket calls want them. */
import { defined } from '../base/assert.ts';
import { parseIp } from '../base/ip.ts';
import type { Fd, SocketAddress } from '../lb/sockets.ts';
import { check, getSocketName } from './libc.ts';

/** sys/socket.h */
export const AF_INET = 2;
export const AF_INET6 = 10;

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes): family, port, (flow,) address. */
export function socketAddress(address: string, port: number): SocketAddress {
  const ip = defined(parseIp(address), `address ${address}`);
  const isSix = ip.length === 16;
  const bytes = new Uint8Array(isSix ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isSix ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port);
  bytes.set(ip, isSix ? 8 : 4);
  return bytes;
}

export function localPort(fd: Fd): number {
  const address = new Uint8Array(28);
  check(getSocketName(fd, address, Uint32Array.of(address.length)), 'read a port');
  return ((address[2] ?? 0) << 8) | (address[3] ?? 0);
}
