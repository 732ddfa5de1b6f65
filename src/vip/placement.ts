/**
 * Which interface of this host a VIP belongs on, and whether this host could hold its VIPs. Pure.
 */
import { unreachable } from '../base/assert.ts';
import { parseInterfaceSelector } from '../base/interface-selector.ts';
import { type IpFamily, inSubnet, ipFamily } from '../base/ip.ts';
import type { Link, VipPlacement } from './ports.ts';

export type Placement =
  | {
      readonly interface: string;
      /** What a person should know about it although it works, or null. */
      readonly warning: string | null;
    }
  | { readonly refused: string };

export interface PlacementHints {
  /** The interface that the person asked for, as a selector (base/interface-selector.ts). */
  readonly wanted?: string;
}

/** Finds the interface for a VIP: the one asked for, else the VIP's subnet's. */
export function placeVip(
  address: string,
  links: readonly Link[],
  hints: PlacementHints = {},
): Placement {
  const family = ipFamily(address);
  if (family === null) return { refused: `${address} is not an IP address` };
  const near = links.filter((link) => !link.loopback && isNear(address, link));
  if (hints.wanted !== undefined) {
    const link = select(hints.wanted, { family, links, near });
    if ('refused' in link) return link;
    if (link.mac === null) return { refused: `interface ${link.name} has no MAC address` };
    return { interface: link.name, warning: near.includes(link) ? null : outside(address, link) };
  }
  const chosen = best(near);
  if (chosen !== undefined) return { interface: chosen.name, warning: null };
  return { refused: `no interface has a subnet with ${address} in it, and none was named` };
}

interface Choice {
  readonly family: IpFamily;
  readonly links: readonly Link[];
  /** Those with the VIP in one of their subnets. */
  readonly near: readonly Link[];
}

function select(wanted: string, { family, links, near }: Choice): Link | { refused: string } {
  const parsed = parseInterfaceSelector(wanted);
  if ('problem' in parsed) return { refused: `interface ${wanted}: ${parsed.problem}` };
  const { selector } = parsed;
  switch (selector.by) {
    case 'name': {
      const link = links.find(({ name }) => name === selector.name);
      return link ?? { refused: `interface ${selector.name} is not there` };
    }
    case 'mac': {
      const same = links.filter(({ mac }) => mac === selector.mac);
      // A bond's slaves and the VLANs on it have its MAC as well: the subnet tells them apart.
      const link = best(same.filter((each) => near.includes(each))) ?? topmost(same);
      return link ?? { refused: `no interface has the MAC ${selector.mac}` };
    }
    case 'subnet': {
      const { network, prefixLength } = selector;
      const inside = links.filter(({ loopback, addresses }) =>
        addresses.some(({ address }) => !loopback && inSubnet(address, network, prefixLength)),
      );
      return (
        best(inside) ?? { refused: `no interface has an address in ${network}/${prefixLength}` }
      );
    }
    case 'default-route': {
      const link = links.find(({ defaultRouteOf }) => defaultRouteOf.includes(family));
      return link ?? { refused: `there is no default route for IPv${family}` };
    }
    default:
      return unreachable(selector);
  }
}

/** One that carries Ethernet, and is up if any is. */
function best(links: readonly Link[]): Link | undefined {
  const ethernet = links.filter((link) => link.mac !== null);
  return ethernet.find((link) => link.up) ?? ethernet[0];
}

/** The one that none of the others stands on. */
function topmost(links: readonly Link[]): Link | undefined {
  return best(links.filter(({ name }) => !links.some(({ carriers }) => carriers.includes(name))));
}

export interface Eligibility {
  readonly eligible: boolean;
  readonly reason: string;
}

/** Whether every VIP could be held here: each of their interfaces is there and up. */
export function vipEligibility(vips: readonly VipPlacement[], links: readonly Link[]): Eligibility {
  for (const vip of vips) {
    const trouble = linkTrouble(vip.interface, links);
    if (trouble !== null) return { eligible: false, reason: trouble };
  }
  return { eligible: true, reason: 'all VIP interfaces are up' };
}

/** Why this interface can carry no VIP now, or null where it can. */
export function linkTrouble(name: string, links: readonly Link[]): string | null {
  const link = links.find((candidate) => candidate.name === name);
  if (link === undefined) return `interface ${name} is not there`;
  if (link.mac === null) return `interface ${name} has no MAC address`;
  return link.up ? null : `interface ${name} is down or has no carrier`;
}

/** A link's own /32 or /128 addresses, other VIPs among them, make no subnet. */
function isNear(address: string, link: Link): boolean {
  return link.addresses.some(
    ({ address: network, prefixLength }) =>
      prefixLength < (ipFamily(network) === 4 ? 32 : 128) &&
      inSubnet(address, network, prefixLength),
  );
}

function outside(address: string, link: Link): string {
  return `${address} is in no subnet of ${link.name}: only hosts that have a route will reach it`;
}
