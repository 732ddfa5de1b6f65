/**
 * The weak host model: Linux answers ARP for any of its IPv4 addresses on any of its links. So a
 * static rule drops questions for a VIP on every link but its own; it needs no renewal, and stays
 * when the agent is killed. IPv6 answers only where the address is, and needs no rule.
 */
import { ipFamily } from '../base/ip.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { nftInterface, nftSync, removeTable, replaceTable, tableExists } from './nft.ts';

export class WeakHostRule {
  /** The rules in force as this process set them; the kernel has them while the table exists. */
  #body: string | null = null;

  /** Makes exactly these VIPs' questions answered on their own links only; idempotent. */
  set(vips: readonly VipPlacement[]): void {
    const body = arpRules(vips);
    if (this.#body === body && tableExists('arp') === (body !== '')) return;
    if (body !== '') nftSync(replaceTable('arp', body));
    else if (tableExists('arp')) nftSync(removeTable('arp'));
    this.#body = body;
  }
}

function arpRules(vips: readonly VipPlacement[]): string {
  const rules = vips
    .filter((vip) => ipFamily(vip.address) === 4)
    .map((vip) => {
      const link = nftInterface(vip.interface);
      return `    iifname != ${link} arp daddr ip ${vip.address} drop\n`;
    });
  if (rules.length === 0) return '';
  return `  chain questions {
    type filter hook input priority 0; policy accept;
${rules.join('')}  }
`;
}
