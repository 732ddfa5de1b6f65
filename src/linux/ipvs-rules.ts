/**
 * The nftables rules that lead packets to the kernel's virtual servers. Pure text.
 *
 * A virtual server of ours is chosen by a mark and not by its address, and the mark is given here,
 * to packets that open a connection to a VIP which is local at that instant: so nothing has to be
 * changed as VIPs come and go, a host that does not hold the VIP leaves its own clients alone, and
 * one transaction decides between forwarding and refusing. The mark stands for the length of one
 * hook; nobody else sees it.
 *
 * What is translated must come back through this host, from wherever the client is: it leaves with
 * an address of this host. What is routed unchanged keeps the VIP as its destination, and so its
 * source.
 */
import { ipFamily } from '../base/ip.ts';
import type { ForwardPlan } from '../lb/ports.ts';
import { replaceTable, TABLE } from './nft.ts';

/** The table's name: apart from the other tables of ours, which are replaced for other reasons. */
export const IPVS_TABLE = `${TABLE}_ipvs`;

/** IPVS takes packets in at 99 in `input`, at -98 in `output` (net/netfilter/ipvs/ip_vs_core.c). */
const BEFORE_INPUT = 97;
const AFTER_INPUT = 101;
const BEFORE_OUTPUT = -101;
/** What IPVS sends on passes `output` from its beginning, before connection tracking (-200). */
const AT_OUTPUT = -350;
/** Before kube-proxy's and others' `srcnat` (100): the first translation counts. */
const SOURCE_PRIORITY = 90;

export interface MarkedPlan {
  readonly plan: ForwardPlan;
  /** Null: refuse. */
  readonly mark: number | null;
}

/**
 * A script that leaves exactly these plans in force. Only elements of sets change, unless the table
 * is to be made first: chains that come and go cost the kernel far more, and connections their
 * translation meanwhile.
 */
export function ipvsRules(plans: readonly MarkedPlan[], tableStands: boolean): string {
  const ports = plans.map(({ plan }) => String(plan.port));
  const marks = plans.flatMap(({ mark }) => (mark === null ? [] : [String(mark)]));
  const content = [
    fill('set ports', ports),
    fill('set marks', marks),
    ...([4, 6] as const).flatMap((family) => elements(family, plans)),
  ];
  return `${tableStands ? '' : replaceTable('inet', TABLE_BODY, IPVS_TABLE)}${content.join('')}`;
}

/** A packet that may be for a VIP of ours, told from the many that are not at little cost. */
const toOurs = 'meta l4proto { tcp, udp } th dport @ports fib daddr type local';

/** Was for a VIP of ours, and is for a backend now: what IPVS has translated. */
const translated = (family: 4 | 6): string => {
  const ip = family === 4 ? 'ip' : 'ip6';
  const target = `${ip} daddr . meta l4proto . th dport @targets${family}`;
  return `ct original ${ip} daddr @vips${family} ${target}`;
};

const declare = (family: 4 | 6): string => {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const key = `${type} . inet_proto . inet_service`;
  return `  set vips${family} { type ${type}; }
  set refused${family} { type ${key}; }
  map marks${family} { type ${key} : mark; }
  set targets${family} { type ${key}; }
`;
};

const TABLE_BODY = `${declare(4)}${declare(6)}  set ports { type inet_service; }
  set marks { type mark; }
  chain choose {
    meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn return
    ip daddr . meta l4proto . th dport @refused4 goto refuse
    ip6 daddr . meta l4proto . th dport @refused6 goto refuse
    meta mark set ip daddr . meta l4proto . th dport map @marks4
    meta mark set ip6 daddr . meta l4proto . th dport map @marks6
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpx port-unreachable
  }
  chain arriving {
    type filter hook input priority ${BEFORE_INPUT}; policy accept;
    ${toOurs} jump choose
  }
  chain arrived {
    type filter hook input priority ${AFTER_INPUT}; policy accept;
    meta mark @marks meta mark set 0
  }
  chain sent {
    type filter hook output priority ${AT_OUTPUT}; policy accept;
    meta mark @marks meta mark set 0
  }
  chain leaving {
    type filter hook output priority ${BEFORE_OUTPUT}; policy accept;
    ${toOurs} jump choose
  }
  chain source {
    type nat hook postrouting priority ${SOURCE_PRIORITY}; policy accept;
    oifname "lo" return
    ${translated(4)} masquerade
    ${translated(6)} masquerade
  }
`;

function elements(family: 4 | 6, all: readonly MarkedPlan[]): string[] {
  const plans = all.filter(({ plan }) => ipFamily(plan.address) === family);
  const elementOf = (at: { address: string; port: number }, { protocol }: ForwardPlan): string =>
    `${at.address} . ${protocol} . ${at.port}`;
  const marks = plans.flatMap(({ plan, mark }) =>
    mark === null ? [] : [`${elementOf(plan, plan)} : ${mark}`],
  );
  const refused = plans.flatMap(({ plan, mark }) => (mark === null ? [elementOf(plan, plan)] : []));
  const targets = plans.flatMap(({ plan }) =>
    plan.backends
      .filter(({ mode }) => mode === 'masquerade')
      .map((backend) => elementOf(backend, plan)),
  );
  const vips = plans.map(({ plan }) => plan.address);
  return [
    fill(`set vips${family}`, vips),
    fill(`set refused${family}`, refused),
    fill(`map marks${family}`, marks),
    fill(`set targets${family}`, targets),
  ];
}

function fill(what: string, wanted: readonly string[]): string {
  const [kind, name] = what.split(' ');
  const once = [...new Set(wanted)].join(', ');
  const table = `inet ${IPVS_TABLE} ${name}`;
  return `flush ${kind} ${table}\n${once === '' ? '' : `add element ${table} { ${once} }\n`}`;
}
