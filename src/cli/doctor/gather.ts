/**
 * Finds out, for `doctor`, whatever can be found out in a fifth of a second: the slow questions (a
 * link, the peers, the disk) are asked together, and each has its own end.
 */
import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { placeVips } from '../../agent/placement.ts';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errors.ts';
import { ipFamily } from '../../base/ip.ts';
import type { StatusDocument } from '../../cluster/status-document.ts';
import type { AgentConfig } from '../../config/agent-config.ts';
import { readAgentConfigIfThere } from '../../config/agent-file.ts';
import { defaultGrpcPort, defaultHttpPort, parseEndpoint } from '../../config/endpoint.ts';
import type { Paths } from '../../config/paths.ts';
import { createAddressTable } from '../../linux/address-table.ts';
import { missingCapabilities } from '../../linux/capabilities.ts';
import {
  clockSynchronised,
  foreignChains,
  foreignPrograms,
  kernelRelease,
  linkSysctl,
  listenersOn,
  lockableBytes,
  probeEbpf,
  probeNft,
  probeRealTime,
  running,
  sysctl,
} from '../../linux/inspection.ts';
import { createPacketLink } from '../../linux/packet-link.ts';
import { readPki } from '../../pki/files.ts';
import { parseCertificates } from '../../pki/inspect.ts';
import { probeCodec } from '../../vip/frames.ts';
import type { Link, VipPlacement } from '../../vip/ports.ts';
import type { Context } from '../context.ts';
import type { CertificateFacts, DiskFacts, DoctorFacts, Found, VipFacts } from './facts.ts';

/** A neighbour answers within a millisecond, and a peer within a few. */
const PROBE_MS = 60;
const CONNECT_MS = 100;
/** So many writes, as long as they take no longer in all. */
const SYNCS = 5;
const SYNCS_MS = 60;
const SYNC_BYTES = 4096;
/** Where units are looked for, the strongest first (systemd.unit(5)). */
const UNIT_FOLDERS = ['/etc', '/run', '/usr/lib', '/lib'].map((at) => `${at}/systemd/system`);
const UNIT = 'holdfast.service';
const RIVALS = ['keepalived', 'kube-vip', 'ucarp', 'vrrpd'];

interface Host {
  readonly links: readonly Link[];
  readonly ours: readonly VipPlacement[];
}

/** @param status this node's view; `value: null` where this host is no node yet */
export async function gather(
  context: Context,
  paths: Paths,
  status: DoctorFacts['status'],
): Promise<DoctorFacts> {
  const { clock } = context;
  const document = 'value' in status ? status.value : null;
  const agentRuns = document !== null && document.view.kind !== 'offline';
  const config = await readAgentConfigIfThere(paths.config).catch(() => null);
  const host = readHost(clock);
  const placed = placements(document, config, host.links);
  const [nft, chains, answering, peers, disk] = await Promise.all([
    probeNft(),
    foreignChains(),
    Promise.all(placed.map((vip) => askFor(clock, vip, host.links))),
    Promise.all(peersOf(document).map((peer) => connectTo(clock, peer))),
    found(() => measureDisk(clock, paths)),
  ]);
  const vips = placed.map((vip, i): VipFacts => {
    const silent = { unknown: 'it has no interface on which anybody could be asked' };
    return { ...vip, answering: answering[i] ?? silent, sysctls: sysctlsOf(vip) };
  });
  const on = vips.flatMap(({ address, interface: link }) =>
    link === null || !host.links.some(({ name }) => name === link)
      ? []
      : [{ address, interface: link }],
  );
  return {
    wallNowMs: clock.wallNow(),
    isRoot: process.geteuid?.() === 0,
    status,
    agentRuns,
    fences: { ebpf: probeEbpf(), nft },
    missingCapabilities: missingCapabilities(),
    realTime: probeRealTime(),
    lockableBytes: lockableBytes(),
    kernelRelease: kernelRelease(),
    vips,
    conntrack: conntrack(),
    ipForward: sysctl(['net', 'ipv4', 'ip_forward']) === 1,
    ip6Forward: sysctl(['net', 'ipv6', 'conf', 'all', 'forwarding']) === 1,
    ports: ports(document, config),
    peers,
    clockSynchronised: clockSynchronised(),
    disk,
    certificates: await found(async () => certificates(paths)),
    unit: readUnit(),
    hasSystemd: existsSync('/run/systemd/system'),
    foreign: {
      chains,
      programs: foreignPrograms(on),
      addresses: strays(vips, host),
      rivals: running(RIVALS),
    },
  };
}

/** What may be missing without a reason to stop looking. */
async function found<T>(action: () => Promise<T>): Promise<Found<T>> {
  try {
    return { value: await action() };
  } catch (error) {
    return { unknown: describeError(error) };
  }
}

function readHost(clock: Clock): Host {
  const table = createAddressTable(clock);
  try {
    return { links: table.links(), ours: table.ours() };
  } finally {
    table.close();
  }
}

type Placed = Pick<VipFacts, 'address' | 'interface' | 'problem'>;

/** As the agent would place them; before there is a spec, there are none. */
function placements(
  document: StatusDocument | null,
  config: AgentConfig | null,
  links: readonly Link[],
): readonly Placed[] {
  const local = config ?? { interface: null, interfaces: {} };
  const vips = (document?.vips ?? []).map(({ address, interface: link, interfaceFrom }) => ({
    address,
    interface: interfaceFrom === 'subnet' ? null : link,
    onConflict: 'defend' as const,
  }));
  return placeVips(vips, links, local);
}

async function askFor(
  clock: Clock,
  vip: Placed,
  links: readonly Link[],
): Promise<VipFacts['answering']> {
  const { address, interface: link } = vip;
  if (link === null || !links.some(({ name, up }) => name === link && up)) {
    return { unknown: 'nobody could be asked: its interface is not up' };
  }
  return found(async () => {
    const packets = createPacketLink(clock, probeCodec);
    return [...new Set(await packets.probe({ address, interface: link }, PROBE_MS))];
  });
}

function sysctlsOf({ address, interface: link }: Placed): Readonly<Record<string, number>> {
  if (link === null) return {};
  const [family, names] =
    ipFamily(address) === 6
      ? (['ipv6', ['disable_ipv6']] as const)
      : (['ipv4', ['arp_ignore', 'arp_announce', 'arp_filter', 'rp_filter']] as const);
  return Object.fromEntries(names.map((name) => [name, linkSysctl(family, link, name)]));
}

interface Peer {
  readonly name: string;
  readonly address: string;
}

function peersOf(document: StatusDocument | null): readonly Peer[] {
  const members = document?.members ?? [];
  return members.filter(({ name }) => name !== document?.self.name);
}

function connectTo(clock: Clock, { name, address }: Peer): Promise<DoctorFacts['peers'][number]> {
  const endpoint = parseEndpoint(address, defaultGrpcPort);
  if (endpoint === null) return Promise.resolve({ name, address, problem: 'no HOST:PORT' });
  return new Promise((resolve) => {
    const socket = connect({ ...endpoint });
    const end = (problem: string | null): void => {
      late.cancel();
      socket.destroy();
      resolve({ name, address, problem });
    };
    const late = clock.after(CONNECT_MS, () => end(`no connection within ${CONNECT_MS} ms`));
    socket.on('connect', () => end(null));
    socket.on('error', (error) => end(describeError(error)));
  });
}

async function measureDisk(clock: Clock, paths: Paths): Promise<DiskFacts> {
  const path = existsSync(paths.dataDir) ? paths.dataDir : join(paths.dataDir, '..');
  const { bavail, bsize } = statfsSync(path);
  const file = join(path, `.holdfast-doctor-${process.pid}`);
  const handle = await open(file, 'wx', 0o600);
  const took: number[] = [];
  try {
    const begun = clock.now();
    while (took.length < SYNCS && clock.now() - begun < SYNCS_MS) {
      const at = clock.now();
      await handle.write(Buffer.alloc(SYNC_BYTES));
      await handle.datasync();
      took.push(clock.now() - at);
    }
  } finally {
    await handle.close();
    await rm(file, { force: true });
  }
  took.sort((a, b) => a - b);
  const median = took[Math.floor(took.length / 2)] ?? 0;
  return { path, freeBytes: bavail * bsize, fsyncMs: { median, max: took.at(-1) ?? 0 } };
}

function conntrack(): DoctorFacts['conntrack'] {
  const [count, max, establishedSeconds] = [
    'nf_conntrack_count',
    'nf_conntrack_max',
    'nf_conntrack_tcp_timeout_established',
  ].map((name) => sysctl(['net', 'netfilter', name]));
  if (count == null || max == null || establishedSeconds == null) return null;
  return { count, max, establishedSeconds };
}

function ports(document: StatusDocument | null, config: AgentConfig | null): DoctorFacts['ports'] {
  const grpc = parseEndpoint(config?.listen ?? '', defaultGrpcPort)?.port ?? defaultGrpcPort;
  const http = parseEndpoint(config?.http.listen ?? '', defaultHttpPort)?.port ?? defaultHttpPort;
  const frontends = (document?.frontends ?? []).map(({ port }) => port);
  const wanted = [
    { port: grpc, what: 'members' },
    { port: http, what: 'http' },
    ...[...new Set(frontends)].map((port) => ({ port, what: 'vip' })),
  ];
  const listeners = listenersOn(wanted.map(({ port }) => port));
  return wanted.map(({ port, what }) => ({
    port,
    what,
    listeners: listeners
      .filter((each) => each.port === port)
      .map(({ address, program }) => ({ address, program })),
  }));
}

function certificates(paths: Paths): readonly CertificateFacts[] {
  const { certificate, ca } = readPki(paths.pki);
  return [
    ["this node's certificate", certificate] as const,
    ["the cluster's CA", ca.certificate] as const,
  ].flatMap(([what, pem]) => {
    const [leaf] = parseCertificates(pem) ?? [];
    if (leaf === undefined) return [];
    const { validFromDate, validToDate } = leaf;
    return [{ what, notBeforeMs: validFromDate.getTime(), notAfterMs: validToDate.getTime() }];
  });
}

/** The unit with its drop-ins, as far as files tell. */
function readUnit(): DoctorFacts['unit'] {
  const path = UNIT_FOLDERS.map((folder) => join(folder, UNIT)).find((file) => existsSync(file));
  if (path === undefined) return null;
  const dropIns = UNIT_FOLDERS.map((folder) => join(folder, `${UNIT}.d`))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    .filter((file) => file.endsWith('.conf'));
  try {
    const text = [path, ...dropIns].map((file) => readFileSync(file, 'utf8')).join('\n');
    return { path, text };
  } catch {
    return { path, text: '' };
  }
}

/** VIPs that this host has without our mark. */
function strays(
  vips: readonly Placed[],
  { links, ours }: Host,
): DoctorFacts['foreign']['addresses'] {
  const marked = new Set(ours.map(({ address }) => address));
  return vips
    .filter(({ address }) => !marked.has(address))
    .flatMap(({ address }) =>
      links
        .filter((link) => link.addresses.some((each) => each.address === address))
        .map(({ name }) => ({ address, interface: name })),
    );
}
