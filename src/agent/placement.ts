/**
 * Which interface of this host carries each VIP, and which source said so: the local configuration
 * before the spec, the spec before the subnet.
 */

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
