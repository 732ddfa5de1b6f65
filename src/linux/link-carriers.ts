/**
 * Which links below a link carry its frames now: pure, from the rows of rtnetlink. A bond that
 * fails over and a bridge whose uplink comes back lose no carrier of their own, but what they are
 * made of changes, and switches must then be told anew where an address is.
 */
import type { LinkRow } from './rtnetlink.ts';

/** Names in alphabetical order; empty for a link that stands on none other. */
export function carriersOf(link: LinkRow, links: readonly LinkRow[]): readonly string[] {
  const found = new Map<number, string>();
  const descend = (from: LinkRow): void => {
    for (const below of directlyBelow(from, links)) {
      if (!below.up || found.has(below.index) || below.index === link.index) continue;
      found.set(below.index, below.name);
      descend(below);
    }
  };
  descend(link);
  return [...found.values()].sort();
}

function directlyBelow(link: LinkRow, links: readonly LinkRow[]): readonly LinkRow[] {
  const { activeSlave } = link;
  // In other modes than active-backup all slaves carry, and none is called active.
  if (activeSlave !== null) return links.filter(({ index }) => index === activeSlave);
  return links.filter(({ index, master }) => master === link.index || index === link.parent);
}
