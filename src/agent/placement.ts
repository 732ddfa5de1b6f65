/**
 * Which interface of this host carries each VIP, and which source said so: the local configuration
 * before the spec, the spec before the subnet.
 */

import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { VipSpec } from '../cluster/spec.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { linkTrouble, placeVip } from '../vip/placement.ts';
import type { Link } from '../vip/ports.ts';

export type InterfaceSource = 'config' | 'spec' | 'subnet';

export interface PlacedVip {
  readonly address: string;
  /** Null where none was found. */
  readonly interface: string | null;
  readonly from: InterfaceSource;
  /** Why it cannot be carried now; null if it could. */
  readonly problem: string | null;
}

type LocalChoice = Pick<AgentConfig, 'interface' | 'interfaces'>;

/**
 * How long a VIP stays on an interface that has lost the address by which it was found: a network
 * daemon that is restarted takes it away and puts it back.
 */
const KEEP_MS: Millis = 3_000;

/** The places of the VIPs over time. */
export class Places {
  readonly #clock: Clock;
  /** When each VIP was last found by the addresses themselves. */
  readonly #found = new Map<string, { readonly interface: string; readonly at: Millis }>();
  #timer: Timer | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param again called when a place that was only kept has to be looked at again */
  find(
    vips: readonly VipSpec[],
    links: readonly Link[],
    local: LocalChoice,
    again: () => void,
  ): readonly PlacedVip[] {
    const now = this.#clock.now();
    const placed = placeVips(vips, links, local).map((vip) => this.#keep(vip, links, now));
    this.#timer?.cancel();
    const kept = placed.flatMap(({ address }) => this.#found.get(address)?.at ?? []);
    const stale = kept.filter((at) => at < now);
    this.#timer =
      stale.length === 0
        ? null
        : this.#clock.after(Math.min(...stale) + KEEP_MS - now, () => again());
    return placed;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #keep(vip: PlacedVip, links: readonly Link[], now: Millis): PlacedVip {
    const { address, interface: name } = vip;
    if (name !== null) {
      this.#found.set(address, { interface: name, at: now });
      return vip;
    }
    const before = this.#found.get(address);
    if (before === undefined) return vip;
    if (now - before.at >= KEEP_MS || !links.some((link) => link.name === before.interface)) {
      this.#found.delete(address);
      return vip;
    }
    const problem = linkTrouble(before.interface, links);
    return { ...vip, interface: before.interface, problem };
  }
}

export function placeVips(
  vips: readonly VipSpec[],
  links: readonly Link[],
  local: LocalChoice,
): readonly PlacedVip[] {
  return vips.map((vip) => {
    const { wanted, from } = choice(vip, local);
    const placed = placeVip(vip.address, links, wanted === null ? {} : { wanted });
    const { address } = vip;
    if ('refused' in placed) {
      // A selector that has found nothing is no interface's name.
      const name = wanted === null || wanted.includes(':') ? null : wanted;
      return { address, interface: name, from, problem: placed.refused };
    }
    const problem = linkTrouble(placed.interface, links);
    return { address, interface: placed.interface, from, problem };
  });
}

function choice(
  vip: VipSpec,
  local: LocalChoice,
): { readonly wanted: string | null; readonly from: InterfaceSource } {
  const configured = local.interfaces[vip.address] ?? local.interface;
  if (configured !== null) return { wanted: configured, from: 'config' };
  if (vip.interface !== null) return { wanted: vip.interface, from: 'spec' };
  return { wanted: null, from: 'subnet' };
}
