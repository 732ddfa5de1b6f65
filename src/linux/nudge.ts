/**
 * Makes a client speak that waits in silence, after its connection was ended here: a segment in the
 * name of the address that it is connected to, from outside of its window. Every TCP answers that
 * with where it stands (RFC 9293 section 3.10.7.4), and this host's own stack, which knows no such
 * connection, answers that with a reset that fits. So nobody has to know the sequence numbers.
 */
import { parseIp } from '../base/ip.ts';
import { closeFd, sendTo, socket } from './libc.ts';
import { AF_INET, AF_INET6 } from './rtnetlink.ts';
import { encodeSegment, TcpFlag } from './trial-packets.ts';

/** SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK */
const SOCKET_TYPE = 3 | 0x80000 | 0x800;
/** The IP header comes with the packet. */
const IPPROTO_RAW = 255;

export interface Silent {
  readonly to: { readonly address: string; readonly port: number };
  readonly client: { readonly address: string; readonly port: number };
}

/**
 * Nudges the clients of these connections, all of one family. What does not arrive is made good by
 * the client's own keepalive, so nothing is looked after.
 */
export function nudge(connections: readonly Silent[]): void {
  const [first] = connections;
  if (first === undefined) return;
  const isV4 = parseIp(first.client.address)?.length === 4;
  const fd = socket(isV4 ? AF_INET : AF_INET6, SOCKET_TYPE, IPPROTO_RAW);
  if (fd < 0) return;
  for (const { to, client } of connections) {
    const packet = encodeSegment({
      ...{ from: to.address, fromPort: to.port, to: client.address, toPort: client.port },
      ...{ flags: TcpFlag.ack, sequence: 0, acknowledges: 0 },
    });
    const where = socketAddress(isV4, client.address);
    sendTo(fd, packet, packet.length, 0, where, where.length);
  }
  closeFd(fd);
}

/** struct sockaddr_in or sockaddr_in6, without a port. */
function socketAddress(isV4: boolean, address: string): Buffer {
  const bytes = Buffer.alloc(isV4 ? 16 : 28);
  bytes.writeUInt16LE(isV4 ? AF_INET : AF_INET6, 0);
  bytes.set(parseIp(address) ?? [], isV4 ? 4 : 8);
  return bytes;
}
