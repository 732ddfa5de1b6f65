/** What `init` and `join` must know of this host: its links, its own address, what is in use. */
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode, OperatingError } from '../../base/errors.ts';
import { inSubnet, ipFamily } from '../../base/ip.ts';
import { namePattern, nameRule } from '../../config/names.ts';
import { createAddressTable } from '../../linux/address-table.ts';
import { KernelError } from '../../linux/libc.ts';
import { NetlinkSocket } from '../../linux/netlink-socket.ts';
import { createPacketLink } from '../../linux/packet-link.ts';
import { NETLINK_ROUTE } from '../../linux/rtnetlink.ts';
import { addClsact } from '../../linux/traffic-control.ts';
import { probeCodec } from '../../vip/frames.ts';
import type { Link, VipPlacement } from '../../vip/ports.ts';
import { UsageError } from '../usage.ts';

/** Two questions, because one frame may get lost; a neighbour answers within milliseconds. */
const probeRounds = 2;
const probeWaitMs = 300;

export function hostLinks(clock: Clock): readonly Link[] {
  const table = createAddressTable(clock);
  try {
    return table.links();
  } finally {
    table.close();
  }
}

/**
 * Makes ready on a link what the fence will want there, before anybody is sent to this host: to add
 * it stops the link's transmission for a moment. What is refused now is left to the agent.
 */
export function readyLink({ index }: Link): void {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    addClsact(socket, index);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  } finally {
    socket.close();
  }
}

/** The host's name as a node's name. */
export function defaultNodeName(): string {
  const name = hostname();
  if (namePattern.test(name)) return name;
  throw new UsageError(`the host name ${JSON.stringify(name)} is not ${nameRule}: give --name`);
}

/** The host's own address on an interface, in the VIP's subnet where there is one; null if none. */
export function ownAddress(
  vip: string,
  interfaceName: string,
  links: readonly Link[],
): string | null {
  const link = links.find(({ name }) => name === interfaceName);
  const family = ipFamily(vip);
  const candidates = (link?.addresses ?? []).filter(
    ({ address }) =>
      ipFamily(address) === family && address !== vip && !inSubnet(address, 'fe80::', 10),
  );
  const near = candidates.find(
    ({ address, prefixLength }) => prefixLength < 32 && inSubnet(vip, address, prefixLength),
  );
  return (near ?? candidates[0])?.address ?? null;
}

export type VipUse =
  | { readonly by: 'nobody' }
  | { readonly by: 'stranger'; readonly mac: string }
  /** It could not be found out. */
  | { readonly by: 'unknown'; readonly why: string };

/** Whether somebody on the VIP's link answers for it already. */
export async function vipUse(
  vip: VipPlacement,
  links: readonly Link[],
  clock: Clock,
): Promise<VipUse> {
  const link = links.find(({ name }) => name === vip.interface);
  if (link?.up === false) return { by: 'unknown', why: `${vip.interface} is down` };
  try {
    const packets = createPacketLink(clock, probeCodec);
    for (let round = 0; round < probeRounds; round++) {
      const [mac] = await packets.probe(vip, probeWaitMs);
      if (mac !== undefined) return { by: 'stranger', mac };
    }
    return { by: 'nobody' };
  } catch (error) {
    return { by: 'unknown', why: describeError(error) };
  }
}

/**
 * The address to listen on for every address of this host: `::`, or `0.0.0.0` without IPv6.
 *
 * @throws OperatingError `port-in-use`
 */
export async function freeListenHost(port: number): Promise<string> {
  for (const host of ['::', '0.0.0.0']) {
    const code = await tryListen(host, port);
    if (code === null) return host;
    if (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL') continue;
    throw new OperatingError({
      code: code === 'EADDRINUSE' ? 'port-in-use' : 'port-not-usable',
      message: `port ${port} cannot be listened on (${code})`,
      hint: `see who has it with \`ss -ltnp sport = :${port}\`, or give --advertise HOST:PORT`,
      facts: { port },
    });
  }
  throw new OperatingError({
    code: 'no-network',
    message: 'this host has neither IPv4 nor IPv6',
    hint: 'configure its network first',
  });
}

/** Null, or the error's code. */
function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server: Server = createServer();
    server.once('error', (error) => resolve(errorCode(error) ?? 'unknown error'));
    server.listen({ host, port }, () => server.close(() => resolve(null)));
  });
}
