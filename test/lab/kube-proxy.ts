/**
 * Tables as kube-proxy makes them, in its iptables and its nftables mode: a service address that is
 * translated to the API servers, marks, masquerading, and a filter that drops what is not tracked.
 */
import { apiServerPort } from './api-server.ts';
import type { Host } from './host.ts';
import { failure } from './shell.ts';

export const serviceAddress = '10.96.0.1';
export const servicePort = 443;

/** Of the service, once by each mode. */
const nodePorts = { iptables: servicePort, nftables: servicePort + 1 } as const;
export const servicePorts: readonly number[] = Object.values(nodePorts);

export async function addKubeProxy(host: Host, endpoints: readonly Host[]): Promise<void> {
  const to = endpoints.map(({ address }) => `${address}:${apiServerPort}`);
  // Without a route to the service nothing leaves the host, and so nothing is translated.
  await load(host, ['ip', 'route', 'add', `${serviceAddress}/32`, 'dev', 'eth0'], '');
  await load(host, ['iptables-restore', '--noflush'], iptablesRules(to));
  await load(host, ['nft', '-f', '-'], nftablesRules(endpoints));
}

/** Every rule that is not of this product, without its counters. */
export async function foreignTables(host: Host): Promise<string> {
  const texts = await Promise.all(
    ['ip nat', 'ip filter', 'ip kube-proxy'].map(async (table) => {
      const { stdout } = await host.exec(['nft', '-s', 'list', 'table', ...table.split(' ')]);
      return stdout;
    }),
  );
  return texts.join('\n');
}

async function load(host: Host, argv: readonly string[], input: string): Promise<void> {
  const outcome = await host.exec(argv, { input });
  if (outcome.code !== 0) throw new Error(failure(outcome));
}

function iptablesRules(endpoints: readonly string[]): string {
  const chain = (at: number): string => `KUBE-SEP-${at}`;
  const service = `-d ${serviceAddress}/32 -p tcp -m tcp --dport ${nodePorts.iptables}`;
  const choices = endpoints.map((_, at) => {
    const left = endpoints.length - at;
    const chance = left > 1 ? `-m statistic --mode random --probability ${1 / left} ` : '';
    return `-A KUBE-SVC-API ${chance}-j ${chain(at)}`;
  });
  const translations = endpoints.flatMap((to, at) => [
    `-A ${chain(at)} -s ${to.split(':')[0]}/32 -j KUBE-MARK-MASQ`,
    `-A ${chain(at)} -p tcp -m tcp -j DNAT --to-destination ${to}`,
  ]);
  const foreignLoopback = '! -s 127.0.0.0/8 -d 127.0.0.0/8';
  const known = 'RELATED,ESTABLISHED,DNAT';
  return `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-API - [0:0]
${endpoints.map((_, at) => `:${chain(at)} - [0:0]`).join('\n')}
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES ${service} -j KUBE-SVC-API
-A KUBE-SVC-API ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ
${[...choices, ...translations].join('\n')}
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FIREWALL ${foreignLoopback} -m conntrack ! --ctstate ${known} -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`;
}

function nftablesRules(endpoints: readonly Host[]): string {
  const choices = endpoints.map((_, at) => `${at} : goto endpoint-${at}`);
  const translations = endpoints.map(({ address }, at) => {
    const hairpin = `ip saddr ${address} mark set mark | 0x4000`;
    const translate = `meta l4proto tcp dnat to ${address}:${apiServerPort}`;
    return `  chain endpoint-${at} {\n    ${hairpin}\n    ${translate}\n  }\n`;
  });
  return `table ip kube-proxy {
  comment "rules for kube-proxy"
${translations.join('')}  chain service-api {
    ip saddr != 10.244.0.0/16 mark set mark | 0x4000
    numgen random mod ${endpoints.length} vmap { ${choices.join(', ')} }
  }
  map service-ips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { ${serviceAddress} . tcp . ${nodePorts.nftables} : goto service-api }
  }
  chain nat-prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr . meta l4proto . th dport vmap @service-ips
  }
  chain nat-output {
    type nat hook output priority -100; policy accept;
    ip daddr . meta l4proto . th dport vmap @service-ips
  }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    mark & 0x4000 == 0 return
    mark set mark ^ 0x4000
    masquerade fully-random
  }
  chain filter-forward {
    type filter hook forward priority -110; policy accept;
    ct state invalid drop
  }
}
`;
}
