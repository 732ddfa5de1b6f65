/**
 * Steering by nftables: a connection to VIP:port is led to the port of a proxy on this host, before
 * the socket look-up, so that an API server may listen on the same port of every address. In a
 * table of our own, always replaced as a whole; other tables, and other programs' rules, are not
 * touched.
 *
 * The rules stand on every host of the cluster and act only where the VIP is (`fib daddr type
 * local`), so that a claim needs no change of rules. Only the port is translated: the connection
 * stays addressed to the VIP, and the proxy can tell which one it was for.
 */
import { ipFamily } from '../base/ip.ts';
import type { Redirect, Steering } from '../lb/ports.ts';
import { nft, removeTable, replaceTable, tableExists } from './nft.ts';

/** Before `dstnat` (-100), where kube-proxy and others translate: the first translation counts. */
const NAT_PRIORITY = -110;
/** Before a host's own filter, whatever that one accepts. */
const FILTER_PRIORITY = -10;

/** Steering in the network namespace in which it is used. */
export function createSteering(): Steering {
  /** The rules as this process set them; the kernel has them while the table exists. */
  let standing: string | null = null;
  /** One transaction after the other, in the order of the calls. */
  let queue: Promise<void> = Promise.resolve();
  const apply = (body: string): Promise<void> => {
    const turn = queue.then(async () => {
      if (body === standing && tableExists('inet') === (body !== '')) return;
      standing = null;
      await nft(body === '' ? removeTable('inet') : replaceTable('inet', body));
      standing = body;
    });
    queue = turn.catch(() => undefined);
    return turn;
  };
  return {
    set: (redirects) => apply(steeringRules(redirects)),
    // Without a table there is nothing to do, and no need for the binary either.
    clear: () => (tableExists('inet') ? apply('') : queue),
  };
}

/** The body of the table for these redirects; empty for none. */
export function steeringRules(redirects: readonly Redirect[]): string {
  if (redirects.length === 0) return '';
  const translate = redirects.map(({ address, port, protocol, toPort }) => {
    const family = ipFamily(address) === 4 ? 'ip' : 'ip6';
    const match = `${family} daddr ${address} ${protocol} dport ${port}`;
    return `    ${match} fib daddr type local dnat to :${toPort}\n`;
  });
  // The proxies' own ports are nobody's business: only translated connections may reach them.
  const proxies = new Set(redirects.map(({ protocol, toPort }) => `${protocol} dport ${toPort}`));
  const protect = [...proxies].map(
    (match) => `    ${match} ct state new ct status & dnat != dnat drop\n`,
  );
  return `  chain arriving {
    type nat hook prerouting priority ${NAT_PRIORITY}; policy accept;
${translate.join('')}  }
  chain leaving {
    type nat hook output priority ${NAT_PRIORITY}; policy accept;
${translate.join('')}  }
  chain unasked {
    type filter hook input priority ${FILTER_PRIORITY}; policy accept;
${protect.join('')}  }
`;
}
