/**
 * Who held the VIP, and when: computed from what was seen on the wire. Each claim of a host (an
 * answer, an announcement, an accepted packet) proves that it acted as the owner at that instant;
 * a tenure is the time from its first claim to its last.
 *
 * A silence does not end a tenure by itself (a probe may be lost); it does when it was longer than
 * `silenceMs` and another host claimed meanwhile. So A, B, A within a few probes is two holders at
 * once, while A, a pause, B, a pause, A is two moves. A single late claim of A in the middle of
 * B's tenure is found as well: it is a tenure of no length inside another one.
 */

export interface Seen {
  /** CLOCK_MONOTONIC, ms. */
  readonly at: number;
  readonly host: string;
}

export interface Tenure {
  readonly host: string;
  readonly from: number;
  readonly to: number;
  readonly claims: number;
}

export interface Overlap {
  readonly hosts: readonly [string, string];
  readonly from: number;
  readonly to: number;
}

/** Probes come every 5 ms and are not lost in the lab: a real second holder answers within this. */
export const defaultSilenceMs = 100;

/** The tenures in the order of their beginnings. */
export function tenuresOf(seen: readonly Seen[], silenceMs = defaultSilenceMs): readonly Tenure[] {
  const sorted = seen.toSorted((a, b) => a.at - b.at);
  const open = new Map<string, { from: number; to: number; claims: number }>();
  const closed: Tenure[] = [];
  const lastForeignAt = new Map<string, number>();
  for (const { at, host } of sorted) {
    for (const other of open.keys()) if (other !== host) lastForeignAt.set(other, at);
    const current = open.get(host);
    const interrupted = current !== undefined && (lastForeignAt.get(host) ?? 0) > current.to;
    if (current !== undefined && interrupted && at - current.to > silenceMs) {
      closed.push({ host, ...current });
      open.delete(host);
    }
    const tenure = open.get(host);
    if (tenure === undefined) open.set(host, { from: at, to: at, claims: 1 });
    else open.set(host, { from: tenure.from, to: at, claims: tenure.claims + 1 });
  }
  for (const [host, tenure] of open) closed.push({ host, ...tenure });
  return closed.toSorted((a, b) => a.from - b.from);
}

/** Each pair of tenures of different hosts that share an instant. */
export function overlapsOf(tenures: readonly Tenure[]): readonly Overlap[] {
  const overlaps: Overlap[] = [];
  for (const [i, a] of tenures.entries()) {
    for (const b of tenures.slice(i + 1)) {
      const from = Math.max(a.from, b.from);
      const to = Math.min(a.to, b.to);
      if (a.host !== b.host && from <= to) overlaps.push({ hosts: [a.host, b.host], from, to });
    }
  }
  return overlaps;
}

/** The first claim by somebody other than `former` after `since`, or null. */
export function firstClaimAfter(seen: readonly Seen[], since: number, former: string): Seen | null {
  const later = seen.filter(({ at, host }) => at > since && host !== former);
  return later.reduce<Seen | null>((a, b) => (a === null || b.at < a.at ? b : a), null);
}

/** One line each: who, from when to when (seconds after `origin`), and how often it was seen. */
export function describeTenures(tenures: readonly Tenure[], origin: number): string {
  const second = (at: number): string => ((at - origin) / 1_000).toFixed(3);
  return tenures
    .map(({ host, from, to, claims }) => `${host} ${second(from)}–${second(to)} s (${claims})`)
    .join('\n');
}
