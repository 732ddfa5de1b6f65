/** Facts of this node's place in the cluster and on the network → checks. Pure. */
import { ipFamily } from '../../base/ip.ts';
import { type Check, fail, ok, warn } from './check.ts';
import type { DoctorFacts, ForeignChain, VipFacts } from './facts.ts';
import { known } from './host-checks.ts';

const DAY_MS = 86_400_000;
/** Certificates renew themselves at two thirds; past this share of their life nobody did. */
const RENEWAL_OVERDUE_SHARE = 0.75;
/** Beyond this share of its table conntrack begins to refuse connections. */
/** An hour of silence on a watch changes nothing, and the keepalive of Linux comes after two. */
const IDLE_WANTED_SECONDS = 7_800;
const CONNTRACK_SHARE = 0.8;
/** The higher values of arp_ignore keep the kernel silent about an address of host scope. */
const ARP_IGNORE_MAX = 1;
/** What makes the unit keep its word, and keeps others out. */
const UNIT_LINES = [
  'Restart=always',
  'ExecStopPost=',
  'WatchdogSec=',
  'NoNewPrivileges=yes',
  'ProtectSystem=strict',
  'CapabilityBoundingSet=',
  'SystemCallFilter=',
] as const;

export function nodeChecks(facts: DoctorFacts): readonly Check[] {
  return [
    node(facts),
    ...facts.vips.flatMap((vip) => vipChecks(vip, facts)),
    ...dataPaths(facts),
    ...sysctls(facts),
    ...facts.ports.map((port) => portCheck(port, facts)),
    ...facts.peers.map(({ name, address, problem }) =>
      problem === null
        ? ok('peer', `${name} at ${address} can be connected`)
        : fail('peer', `${name} at ${address}: ${problem}`, 'look at that host, and at firewalls'),
    ),
    ...certificates(facts),
    unit(facts),
    ...foreign(facts),
  ];
}

function node({ status, agentRuns }: DoctorFacts): Check {
  if ('unknown' in status) return fail('agent', status.unknown, 'see journalctl -u holdfast');
  if (status.value === null) {
    return ok('agent', 'this host is no node yet: `holdfast init` or `holdfast join` makes it one');
  }
  if (agentRuns) return ok('agent', `${status.value.self.name} runs`);
  return fail('agent', 'the agent does not answer', 'systemctl start holdfast');
}

function vipChecks(vip: VipFacts, facts: DoctorFacts): readonly Check[] {
  const { address, interface: link, problem } = vip;
  const hint = 'bring it up, or name another one in agent.yaml';
  const place =
    problem === null
      ? ok('vip-interface', `${address} belongs on ${link}`)
      : fail('vip-interface', `${address}: ${problem}`, hint);
  return [place, duplicate(vip, facts), ...arpChecks(vip)];
}

/** Who else answers: the holder may, and nobody beside it. */
function duplicate({ address, answering }: VipFacts, { status }: DoctorFacts): Check {
  const name = 'vip-duplicate';
  if ('unknown' in answering) {
    return warn(name, `${address}: ${answering.unknown}`, 'run doctor as root, with the link up');
  }
  const macs = answering.value;
  const vip = known(status)?.vips.find((each) => each.address === address);
  const mayAnswer = vip?.heldHere === true ? 0 : 1;
  const whose = macs.join(' and ');
  if (macs.length > mayAnswer) {
    return fail(name, `${whose} answers for ${address} as well`, 'take it from that host');
  }
  if (macs.length === 0) return ok(name, `nobody else answers for ${address}`);
  if (vip?.holder != null) return ok(name, `${address} is answered for by ${whose} alone`);
  const hint = 'if that is no member, take the address from it';
  return warn(name, `${whose} answers for ${address}`, hint);
}

function arpChecks({ address, interface: link, sysctls: values }: VipFacts): readonly Check[] {
  if (link === null) return [];
  if (ipFamily(address) === 6) {
    if ((values.disable_ipv6 ?? 0) === 0) return [];
    const message = `IPv6 is disabled on ${link}, which is to carry ${address}`;
    return [fail('sysctl-ipv6', message, `sysctl net.ipv6.conf.${link}.disable_ipv6=0`)];
  }
  const ignore = values.arp_ignore ?? 0;
  const filter = values.arp_filter ?? 0;
  return [
    ignore <= ARP_IGNORE_MAX
      ? ok('sysctl-arp-ignore', `arp_ignore is ${ignore} on ${link}`)
      : fail(
          'sysctl-arp-ignore',
          `arp_ignore is ${ignore} on ${link}: the kernel would not answer for ${address}`,
          `set net.ipv4.conf.${link}.arp_ignore and that of all to 0 or 1`,
        ),
    filter === 0
      ? ok('sysctl-arp-filter', `arp_filter is off on ${link}`)
      : warn(
          'sysctl-arp-filter',
          `arp_filter is on for ${link}: clients that are routed elsewhere get no answer`,
          `set net.ipv4.conf.${link}.arp_filter and that of all to 0`,
        ),
    ok('sysctl-rp-filter', `rp_filter is ${values.rp_filter ?? 0} on ${link}`),
  ];
}

/** A frontend that nothing carries, though something was to. */
function dataPaths({ status }: DoctorFacts): readonly Check[] {
  return (known(status)?.frontends ?? [])
    .filter(({ dataPath, dataPathReason }) => dataPath === 'none' && !asAsked(dataPathReason))
    .map(({ name, dataPathReason }) =>
      fail('data-path', `${name}: ${dataPathReason}`, 'do what it says, or ask for dataPath auto'),
    );
}

const asAsked = (reason: string): boolean => reason.startsWith('as asked');

function sysctls(facts: DoctorFacts): readonly Check[] {
  const frontends = known(facts.status)?.frontends ?? [];
  const routed = frontends.filter(({ dataPath }) => ['nftables', 'ipvs'].includes(dataPath));
  return [
    forwarding('ip-forward', facts.ipForward, routed.filter(isV4), 'net.ipv4.ip_forward'),
    forwarding(
      'ip6-forward',
      facts.ip6Forward,
      routed.filter((frontend) => !isV4(frontend)),
      'net.ipv6.conf.all.forwarding',
    ),
    ...conntrackChecks(facts.conntrack, routed.length > 0),
  ];
}

function isV4({ address }: { readonly address: string }): boolean {
  return !address.includes(':');
}

function forwarding(
  what: string,
  isOn: boolean,
  routed: readonly { readonly name: string }[],
  sysctl: string,
): Check {
  const name = `sysctl-${what}`;
  if (isOn) return ok(name, `${sysctl} is on`);
  if (routed.length === 0) return ok(name, `${sysctl} is off, and nothing needs it`);
  const who = routed.map((frontend) => frontend.name).join(', ');
  return fail(name, `${sysctl} is off, and ${who} needs it`, `sysctl ${sysctl}=1`);
}

function conntrackChecks(conntrack: DoctorFacts['conntrack'], isUsed: boolean): readonly Check[] {
  if (conntrack === null) return [];
  const { count, max, establishedSeconds } = conntrack;
  const used = `conntrack holds ${count} of ${max} connections`;
  const room =
    count > max * CONNTRACK_SHARE
      ? warn(
          'sysctl-conntrack',
          used,
          'raise net.netfilter.nf_conntrack_max, or new connections are dropped',
        )
      : ok('sysctl-conntrack', used);
  const name = 'sysctl-conntrack-timeout';
  const idle = `conntrack forgets a connection that is silent for ${establishedSeconds} s`;
  if (!isUsed || establishedSeconds >= IDLE_WANTED_SECONDS) return [room, ok(name, idle)];
  const sysctl = `net.netfilter.nf_conntrack_tcp_timeout_established=${IDLE_WANTED_SECONDS}`;
  return [room, warn(name, `${idle}, and idle watches are cut`, `sysctl ${sysctl} or more`)];
}

function portCheck({ port, what, listeners }: DoctorFacts['ports'][number], facts: DoctorFacts) {
  const name = 'port';
  if (listeners.length === 0) {
    if (!facts.agentRuns || what === 'vip') return ok(name, `${port} is free (${what})`);
    return fail(name, `nobody listens on ${port} (${what})`, 'see journalctl -u holdfast');
  }
  const said = listeners.map(({ address, program }) => `${program ?? 'somebody'} on ${address}`);
  const who = [...new Set(said)].join(', ');
  const vips = new Set(facts.vips.map(({ address }) => address));
  if (what === 'vip') {
    const onVip = listeners.filter(({ address }) => vips.has(address));
    if (onVip.length === 0) return ok(name, `${port} has ${who}: the VIP is served before it`);
    return warn(name, `${port} of a VIP is taken by ${who}`, 'end it, or move the frontend');
  }
  if (facts.agentRuns) return ok(name, `${port} is the agent's (${what})`);
  return fail(name, `${port} (${what}) is taken by ${who}`, 'end it, or change agent.yaml');
}

function certificates(facts: DoctorFacts): readonly Check[] {
  const { certificates: found, status, wallNowMs, isRoot } = facts;
  if (known(status) === null && 'value' in status) return [];
  if ('unknown' in found) {
    if (!isRoot) return [warn('certificate', found.unknown, 'run doctor as root')];
    return [fail('certificate', found.unknown, 'restore the files, or reset and join anew')];
  }
  return found.value.map(({ what, notBeforeMs, notAfterMs }) => {
    const days = Math.floor((notAfterMs - wallNowMs) / DAY_MS);
    const until = `${what} is valid until ${new Date(notAfterMs).toISOString()}, ${days} days`;
    if (wallNowMs > notAfterMs)
      return fail('certificate', `${what} has run out`, 'holdfast cert renew');
    if (wallNowMs < notBeforeMs) {
      return fail('certificate', `${what} is not valid yet`, 'set the clock of this host');
    }
    const used = (wallNowMs - notBeforeMs) / (notAfterMs - notBeforeMs);
    return used > RENEWAL_OVERDUE_SHARE
      ? warn('certificate', `${until}, and was not renewed in time`, 'holdfast cert renew')
      : ok('certificate', until);
  });
}

function unit({ unit: found, hasSystemd }: DoctorFacts): Check {
  const name = 'unit';
  if (found === null) {
    const message = hasSystemd ? 'holdfast.service is not installed' : 'no systemd runs here';
    return warn(name, message, 'use the unit that comes with Holdfast: it restarts and cleans up');
  }
  const missing = UNIT_LINES.filter((line) => !new RegExp(`^${line}`, 'm').test(found.text));
  if (missing.length === 0) return ok(name, `${found.path} is installed and hardened`);
  return warn(
    name,
    `${found.path} lacks ${missing.join(', ')}`,
    'install the one that comes along',
  );
}

function foreign({ foreign: found }: DoctorFacts): readonly Check[] {
  return [
    ...found.addresses.map(({ address, interface: link }) =>
      fail(
        'foreign-address',
        `${address} is on ${link}, and not by us`,
        'take it away there, and find out who put it',
      ),
    ),
    ...found.rivals.map((rival) =>
      warn('foreign-rival', `${rival} runs here as well`, 'see that it does not move the same VIP'),
    ),
    foreignPrograms(found.programs),
    ...foreignChains(found.chains),
  ];
}

function foreignPrograms(found: DoctorFacts['foreign']['programs']): Check {
  const name = 'foreign-programs';
  if ('unknown' in found) return warn(name, found.unknown, 'run doctor as root');
  const theirs = found.value.filter(({ count }) => count > 0);
  if (theirs.length === 0) return ok(name, 'nobody else has TCX programs on a VIP interface');
  const where = theirs.map(({ interface: link, count }) => `${count} on ${link}`).join(', ');
  return ok(name, `others have TCX programs (${where}); the fence goes before them`);
}

function foreignChains(found: DoctorFacts['foreign']['chains']): readonly Check[] {
  const name = 'foreign-rules';
  if ('unknown' in found) return [warn(name, found.unknown, 'run doctor as root')];
  const troubles = found.value.flatMap((chain) => {
    const trouble = chainTrouble(chain);
    return trouble === null ? [] : [trouble];
  });
  return troubles.length > 0 ? troubles : [ok(name, 'no foreign rules stand in the way')];
}

function chainTrouble({ family, table, name, hook, policy }: ForeignChain): Check | null {
  const which = `${family} ${table} ${name}`;
  const id = 'foreign-rules';
  if (family === 'arp') {
    return warn(id, `the chain ${which} filters ARP`, 'see that it lets the VIP be asked for');
  }
  if (family === 'netdev') {
    return warn(id, `the chain ${which} filters an interface`, 'see that it lets the VIP pass');
  }
  if (policy !== 'drop') return null;
  if (hook === 'output') {
    return warn(id, `the chain ${which} drops output`, 'accept output to lo, and tcp port 7443');
  }
  if (hook !== 'input') return null;
  return warn(id, `the chain ${which} drops input`, 'accept tcp port 7443 and those of the VIP');
}
