/**
 * Which interface of this host a VIP belongs on, and whether this host could hold its VIPs. Pure.
 */
import { inSubnet, ipFamily } from '../base/ip.ts';
import type { Link, VipPlacement } from './ports.ts';

export type Placement =
  | {
      readonly interface: string;
      /** What a person should know about it although it works, or null. */
      readonly warning: string | null;
    }
  | { readonly refused: string };

export interface PlacementHints {
  /** The interface that the person asked for. */
  readonly wanted?: string;
  /** The interface of the default route of the VIP's family. */
  readonly defaultRoute?: string | null;
}

/**
 * Finds the interface for a VIP: the one asked for, else the VIP's subnet's, else the default
 * route's.
 */
export function placeVip(
  address: string,
  links: readonly Link[],
  hints: PlacementHints = {},
): Placement {
  if (ipFamily(address) === null) return { refused: `${address} is not an IP address` };
  const near = links.filter((link) => !link.loopback && isNear(address, link));
  if (hints.wanted !== undefined) {
    const link = links.find(({ name }) => name === hints.wanted);
    if (link === undefined) return { refused: `interface ${hints.wanted} is not there` };
    if (link.mac === null) return { refused: `interface ${link.name} has no MAC address` };
    return { interface: link.name, warning: near.includes(link) ? null : outside(address, link) };
  }
  const ethernet = near.filter((link) => link.mac !== null);
  const chosen = ethernet.find((link) => link.up) ?? ethernet[0];
  if (chosen !== undefined) return { interface: chosen.name, warning: null };
  const fallback = links.find(({ name }) => name === hints.defaultRoute);
  if (fallback !== undefined && fallback.mac !== null) {
    return { interface: fallback.name, warning: outside(address, fallback) };
  }
  return { refused: `no interface has a subnet with ${address} in it, and none was named` };
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
