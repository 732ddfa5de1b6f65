/**
 * Forwarding as a ruleset of our own table: what stands for a set of plans, and the transaction
 * that leads from one to the next. Pure.
 *
 * A verdict map leads VIP:port to the chain of its frontend, so that a packet costs one look-up
 * however many frontends there are, and a change of one frontend changes one chain. Translation
 * happens before anybody else's (the first one counts), only where the VIP is local, and only for
 * packets that open a connection: what belongs to one that this host does not know falls to the
 * local stack, which resets it.
 */
import { ipFamily } from '../base/ip.ts';
import type { slotsOf } from '../lb/forwarding-slots.ts';
import type { ForwardBackend, ForwardPlan } from '../lb/ports.ts';
import { TABLE } from './nft.ts';

/** Beside the table of the steering, which is replaced as a whole whenever a redirect changes. */
export const FORWARD_TABLE = `${TABLE}_forward`;

/** Before `dstnat` (-100), where kube-proxy translates, and before the steering (-110). */
const NAT_PRIORITY = -111;
/** Before `srcnat` (100), for the same reason. */
const SOURCE_PRIORITY = 99;
/** Before a host's own filter, whatever that one accepts. */
const FILTER_PRIORITY = -10;
/** Every host hashes alike, so that clients keep their backend across a hand-over. */
const HASH_SEED = '0x686f6c64';

const ENDPOINT = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const OPENS = 'tcp flags & (fin|syn|rst|ack) == syn';

/** What stands, or is to stand: rules and counters by chain, elements by set. */
export interface ForwardRules {
  readonly chains: ReadonlyMap<string, ChainRule>;
  /** Also of backends that have left: they go on counting when these come back. */
  readonly counters: ReadonlyMap<string, ReadonlySet<string>>;
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Whom the slots of a scheduler's table belong to. */
export type SlotsOf = typeof slotsOf;

interface ChainRule {
  /** What the rule says but for where its rotation begins. */
  readonly meaning: string;
  readonly turn: number;
  readonly rule: string;
}

export const NO_RULES: ForwardRules = { chains: new Map(), counters: new Map(), sets: new Map() };

/**
 * @param before what stands: a rotation that nothing concerns goes on where it is.
 */
export function forwardRules(
  plans: readonly ForwardPlan[],
  before: ForwardRules,
  slots: SlotsOf,
): ForwardRules {
  const chains = new Map<string, ChainRule>();
  const counters = new Map<string, ReadonlySet<string>>();
  const sets = new Map<string, Set<string>>();
  const put = (set: string, element: string): void => {
    const elements = sets.get(set) ?? new Set();
    sets.set(set, elements.add(element));
  };
  for (const plan of plans) {
    const family = familyOf(plan);
    const at = `${plan.address} . ${plan.protocol} . ${plan.port}`;
    if (plan.backends.length === 0) {
      put(`refused${family}`, at);
      continue;
    }
    const chain = chainOf(plan);
    const stands = before.chains.get(chain);
    const meaning = meaningOf(plan);
    const turn = stands === undefined ? 0 : stands.turn + 1;
    const isSame = stands?.meaning === meaning;
    const made = (): ChainRule => ({ meaning, turn, rule: translation(plan, slots(plan, turn)) });
    chains.set(chain, isSame ? stands : made());
    const counting = plan.backends.map((backend) => counterOf(plan, backend));
    counters.set(chain, new Set([...(before.counters.get(chain) ?? []), ...counting]));
    put(`frontends${family}`, `${at} : goto ${chain}`);
    put(`vips${family}`, plan.address);
    for (const { address, port } of plan.backends) {
      put(`backends${family}`, `${address} . ${plan.protocol} . ${port}`);
    }
  }
  return { chains, counters, sets };
}

type Frontend = Pick<ForwardPlan, 'address' | 'protocol' | 'port'>;

function familyOf({ address }: Frontend): 4 | 6 {
  return ipFamily(address) === 4 ? 4 : 6;
}

function chainOf(plan: Frontend): string {
  return `to${familyOf(plan)}_${worded(plan.address)}_${plan.protocol}_${plan.port}`;
}

/** The name of what counts the connections that a frontend has led to a backend. */
export function counterOf(
  plan: Frontend,
  { address, port }: Pick<ForwardBackend, 'address' | 'port'>,
): string {
  return `${chainOf(plan)}_${worded(address)}_${port}`;
}

function worded(address: string): string {
  return address.replaceAll(/[.:]/g, '_');
}

function meaningOf({ scheduler, backends }: ForwardPlan): string {
  const targets = backends.map(({ name, address, port, weight }) => [name, address, port, weight]);
  return JSON.stringify([scheduler, targets]);
}

/**
 * One table of slots counts and one translates, each with a position of its own: where two
 * processors are at it, one connection may count for the neighbour of its backend, and the next for
 * that one instead.
 */
function translation(plan: ForwardPlan, slots: readonly ForwardBackend[]): string {
  const ip = ipFamily(plan.address) === 4 ? 'ip' : 'ip6';
  const { length } = slots;
  const slot =
    plan.scheduler === 'source-hash'
      ? `jhash ${ip} saddr mod ${length} seed ${HASH_SEED}`
      : `numgen inc mod ${length}`;
  const mapTo = (what: (backend: ForwardBackend) => string): string =>
    `${slot} map { ${slots.map((backend, at) => `${at} : ${what(backend)}`).join(', ')} }`;
  const counting = mapTo((backend) => `"${counterOf(plan, backend)}"`);
  return `meta l4proto ${plan.protocol} counter name ${counting} dnat ${ip} to ${mapTo(target)}`;
}

function target({ address, port }: ForwardBackend): string {
  return `${address} . ${port}`;
}

/** A script that makes the table from nothing, whatever was in it. */
export function wholeTable({ chains, counters, sets }: ForwardRules): string {
  const bodies = [...chains].map(([name, { rule }]) => `  chain ${name} {\n    ${rule}\n  }\n`);
  const name = `inet ${FORWARD_TABLE}`;
  const counting = [...counters.values()].flatMap((names) => [...names]).map(declareCounter);
  const fill = [...sets].map(([set, elements]) => changeElements('add', set, [...elements]));
  return `add table ${name}
delete table ${name}
table ${name} {
${declareSets(4)}${declareSets(6)}${counting.join('')}${bodies.join('')}${HOOKS}}
${fill.join('')}`;
}

function declareCounter(name: string): string {
  return `  counter ${name} { packets 0 bytes 0 }\n`;
}

function declareSets(family: 4 | 6): string {
  const address = ENDPOINT[family];
  const endpoint = `${address} . inet_proto . inet_service`;
  return `  map frontends${family} {
    type ${endpoint} : verdict
  }
  set refused${family} {
    type ${endpoint}
  }
  set backends${family} {
    type ${endpoint}
  }
  set vips${family} {
    type ${address}
  }
`;
}

/**
 * Masquerade is for connections of ours that leave this host, whoever began them: the answer must
 * come back this way from a neighbour, from the host of the client itself, and from anywhere a
 * backend has a shorter way to the client. What stays on this host keeps its client's address. The
 * client's port is kept where it is free: on a random one, a connection would now and then meet
 * what its backend remembers of another (TIME-WAIT), and wait a second for its second SYN.
 */
const HOOKS = `  chain choose {
    fib daddr type != local return
    tcp flags & (fin|syn|rst|ack) != syn return
    ip daddr . meta l4proto . th dport vmap @frontends4
    ip6 daddr . meta l4proto . th dport vmap @frontends6
  }
  chain arriving {
    type nat hook prerouting priority ${NAT_PRIORITY}; policy accept;
    jump choose
  }
  chain leaving {
    type nat hook output priority ${NAT_PRIORITY}; policy accept;
    jump choose
  }
  chain sending {
    type nat hook postrouting priority ${SOURCE_PRIORITY}; policy accept;
    oifname "lo" return
    ct status & dnat != dnat return
    ${sending(4)}
    ${sending(6)}
  }
  chain refusing {
    type filter hook input priority ${FILTER_PRIORITY}; policy accept;
    ${OPENS} ip daddr . meta l4proto . th dport @refused4 reject with tcp reset
    ${OPENS} ip6 daddr . meta l4proto . th dport @refused6 reject with tcp reset
    meta l4proto != udp accept
    ip daddr . meta l4proto . th dport @refused4 reject with icmpx port-unreachable
    ip6 daddr . meta l4proto . th dport @refused6 reject with icmpx port-unreachable
  }
`;

function sending(family: 4 | 6): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const original = `ct original ${ip} daddr @vips${family}`;
  const translated = `${ip} daddr . meta l4proto . th dport @backends${family}`;
  return `${original} ${translated} masquerade`;
}

/** A script that leads from what stands to what is wanted; empty where they are the same. */
export function changes(before: ForwardRules, after: ForwardRules): string {
  const table = `inet ${FORWARD_TABLE}`;
  const script: string[] = [];
  const counters = (rules: ForwardRules): ReadonlySet<string> =>
    new Set([...rules.counters.values()].flatMap((names) => [...names]));
  // First whoever is to be led to, then the ways that lead there; and the other way round.
  for (const name of missing(counters(after), counters(before))) {
    script.push(`add counter ${table} ${name}\n`);
  }
  for (const [name, { rule }] of after.chains) {
    const stands = before.chains.get(name);
    if (stands === undefined) script.push(`add chain ${table} ${name}\n`);
    else if (stands.rule === rule) continue;
    else script.push(`flush chain ${table} ${name}\n`);
    script.push(`add rule ${table} ${name} ${rule}\n`);
  }
  for (const set of new Set([...before.sets.keys(), ...after.sets.keys()])) {
    const stand = before.sets.get(set) ?? new Set();
    const wanted = after.sets.get(set) ?? new Set();
    const gone = missing(stand, wanted).map((element) => element.replace(/ : .*/, ''));
    script.push(changeElements('delete', set, gone));
    script.push(changeElements('add', set, missing(wanted, stand)));
  }
  for (const name of before.chains.keys()) {
    if (after.chains.has(name)) continue;
    script.push(`flush chain ${table} ${name}\n`, `delete chain ${table} ${name}\n`);
  }
  for (const name of missing(counters(before), counters(after))) {
    script.push(`delete counter ${table} ${name}\n`);
  }
  return script.join('');
}

function missing(from: ReadonlySet<string>, where: ReadonlySet<string>): string[] {
  return [...from].filter((element) => !where.has(element));
}

function changeElements(what: 'add' | 'delete', set: string, elements: readonly string[]): string {
  if (elements.length === 0) return '';
  return `${what} element inet ${FORWARD_TABLE} ${set} { ${elements.join(', ')} }\n`;
}
