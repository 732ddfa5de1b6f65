/**
 * A network device of our own whose other end is this process: what it writes arrives as if from a
 * neighbour. The kernel removes it with the process, however that ends.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { errorCode, OperatingError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import { check, interfaceIndex, ioctl } from './libc.ts';
import { attribute } from './netlink-message.ts';
import { NetlinkSocket, NLM_F_CREATE, NLM_F_REPLACE } from './netlink-socket.ts';
import { AF_INET, AF_INET6, NETLINK_ROUTE } from './rtnetlink.ts';

export const TRIAL_DEVICE = 'holdfast-try';

const PATH = '/dev/net/tun';
/** fcntl.h: O_RDWR | O_NONBLOCK | O_CLOEXEC */
const OPEN_FLAGS = 2 | 0x800 | 0x80000;
/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x1;
const IFF_NO_PI = 0x1000;
/** linux/rtnetlink.h, linux/if_addr.h, linux/if.h */
const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const IFF_UP = 1;
const IFA_LOCAL = 2;
const IFA_ADDRESS = 1;
const IFA_CACHEINFO = 6;
const IFA_F_NODAD = 2;
const RT_SCOPE_LINK = 253;
const FOREVER = 0xffffffff;
const MAX_PACKET_BYTES = 2_048;

export interface DeviceAddress {
  readonly address: string;
  readonly prefixLength: number;
}

export class TrialDevice {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(MAX_PACKET_BYTES);

  /** Makes the device in this network namespace, with these addresses. */
  constructor(addresses: readonly DeviceAddress[]) {
    this.#fd = openTun();
    try {
      const request = Buffer.alloc(40);
      request.write(TRIAL_DEVICE, 'latin1');
      request.writeUInt16LE(IFF_TUN | IFF_NO_PI, 16);
      check(ioctl(this.#fd, TUNSETIFF, request), `make the device ${TRIAL_DEVICE}`);
      configure(interfaceIndex(TRIAL_DEVICE), addresses);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** The packet arrives in this host. */
  send(packet: Buffer): void {
    writeSync(this.#fd, packet);
  }

  /** The next packet that this host sent to the device; null for none. */
  receive(): Buffer | null {
    try {
      const length = readSync(this.#fd, this.#buffer);
      return Buffer.from(this.#buffer.subarray(0, length));
    } catch (error) {
      if (errorCode(error) === 'EAGAIN') return null;
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function openTun(): number {
  try {
    return openSync(PATH, OPEN_FLAGS);
  } catch (cause) {
    throw new OperatingError({
      code: 'no-tun',
      message: `${PATH} cannot be opened`,
      hint: 'let the agent have it (DeviceAllow=/dev/net/tun rw), and load the module tun',
      cause,
    });
  }
}

function configure(index: number, addresses: readonly DeviceAddress[]): void {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    for (const each of addresses) addAddress(socket, index, each);
    // struct ifinfomsg: family, type, index, flags, change.
    const payload = Buffer.alloc(16);
    payload.writeInt32LE(index, 4);
    payload.writeUInt32LE(IFF_UP, 8);
    payload.writeUInt32LE(IFF_UP, 12);
    socket.acknowledge({ type: RTM_NEWLINK, payload, what: `start ${TRIAL_DEVICE}` });
  } finally {
    socket.close();
  }
}

/** Nobody else's connections may begin here: of the link alone, and deprecated. */
function addAddress(socket: NetlinkSocket, index: number, device: DeviceAddress): void {
  const bytes = parseIp(device.address) ?? new Uint8Array(4);
  const isV4 = bytes.length === 4;
  const header = Buffer.alloc(8);
  header.writeUInt8(isV4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(device.prefixLength, 1);
  header.writeUInt8(isV4 ? 0 : IFA_F_NODAD, 2);
  header.writeUInt8(isV4 ? RT_SCOPE_LINK : 0, 3);
  header.writeUInt32LE(index, 4);
  // struct ifa_cacheinfo: preferred, valid, created, updated.
  const lifetime = Buffer.alloc(16);
  lifetime.writeUInt32LE(isV4 ? FOREVER : 0, 0);
  lifetime.writeUInt32LE(FOREVER, 4);
  const payload = Buffer.concat([
    header,
    attribute(IFA_LOCAL, bytes),
    attribute(IFA_ADDRESS, bytes),
    attribute(IFA_CACHEINFO, lifetime),
  ]);
  socket.acknowledge({
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload,
    what: `add ${device.address} to ${TRIAL_DEVICE}`,
  });
}
