/** Three members each of Holdfast and of etcd on loopback, with their data on the same disk. */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { bundle } from '../../packaging/bundle.ts';
import { defined } from '../../src/base/assert.ts';
import { bootstrapSnapshot } from '../../src/cluster/bootstrap.ts';
import { defaultSpec } from '../../src/cluster/spec-document.ts';
import type { Member } from '../../src/cluster/state.ts';
import { decodeState, encodeState } from '../../src/cluster/state-codec.ts';
import { inspectNodeCertificate, parseCertificates } from '../../src/pki/inspect.ts';
import { createCa, createKey, createRequest, issueNodeCertificate } from '../../src/pki/issue.ts';
import type { Snapshot } from '../../src/raft/types.ts';
import type { TlsMaterial } from '../../src/rpc/node-tls.ts';
import { createDataDir } from '../../src/storage/data-dir.ts';
import { lasting, until } from '../../test/lab/clock.ts';
import type { MemberSettings } from './member.ts';

export interface Contender {
  readonly name: string;
  /** Where the leader answers Put. */
  leaderPort(): Promise<number>;
  /** Processor time that its three members have used, in ms. */
  cpuMs(): number;
  stop(): void;
}

const names = ['n1', 'n2', 'n3'] as const;
const clusterId = 'bench';

/** USER_HZ of every Linux, the unit of /proc/PID/stat. */
const ticksPerSecond = 100;

/** proc(5): after the name in parentheses come state, ppid, …, utime (12th) and stime. */
function cpuMsOf(children: readonly ChildProcess[]): number {
  const ticks = children.map(({ pid }) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return (1_000 / ticksPerSecond) * ticks.reduce((sum, each) => sum + each, 0);
}

/** Ports that are free now, all different. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  return servers.map((server) => {
    const address = server.address();
    server.close();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
}

export interface Restartable extends Contender {
  /** Kills all members and starts them again; resolves when one of them leads, with the time. */
  restart(): Promise<{ readonly tookMs: number }>;
}

/** @param profileDir where each member writes a profile of its processor time; null for none. */
export async function startHoldfast(dir: string, profileDir: string | null): Promise<Restartable> {
  const ports = await freePorts(6);
  const { materials, snapshot } = await newCluster(ports);
  const leads = new Map<ChildProcess, { port: number; leads: boolean }>();
  const members: MemberSettings[] = [];
  for (const [at, material] of materials.entries()) {
    const settings: MemberSettings = {
      dir: `${dir}/holdfast-${material.nodeId}`,
      material,
      peerPort: ports[at] ?? 0,
      clientPort: ports[at + 3] ?? 0,
      seed: at + 1,
    };
    await createDataDir(settings.dir, { ...material, name: material.nodeId }, snapshot);
    members.push(settings);
  }
  const program = await memberProgram(dir, profileDir);
  const start = (settings: MemberSettings): void => {
    const execArgv = profileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
    const child = fork(program, { execArgv });
    const state = { port: settings.clientPort, leads: false };
    leads.set(child, state);
    child.on('message', (message) => {
      state.leads = (message as { leads: boolean }).leads;
    });
    child.send(settings);
  };
  members.forEach(start);
  const leader = () => [...leads.values()].find((state) => state.leads);
  const leaderPort = async (): Promise<number> => {
    const wait = { timeoutMs: 10_000, everyMs: 10, what: 'a leader' };
    await until(() => leader() !== undefined, wait);
    return defined(leader(), 'a leader').port;
  };
  return {
    name: 'holdfast',
    leaderPort,
    async restart() {
      const ended = [...leads.keys()].map((child) => once(child, 'exit'));
      for (const child of leads.keys()) child.kill('SIGKILL');
      await Promise.all(ended);
      leads.clear();
      const began = performance.now();
      members.forEach(start);
      await leaderPort();
      return { tookMs: performance.now() - began };
    },
    cpuMs: () => cpuMsOf([...leads.keys()]),
    stop: () => {
      for (const child of leads.keys()) child.kill('SIGTERM');
    },
  };
}

/** Bundled as the real program is, or from its sources, which a profile tells apart. */
async function memberProgram(dir: string, profileDir: string | null): Promise<string> {
  if (profileDir !== null) return fileURLToPath(new URL('member.ts', import.meta.url));
  const target = `${dir}/program`;
  await bundle(target, { entryPoints: { member: 'bench/proposals/member.ts' } });
  return `${target}/member.js`;
}

interface NewCluster {
  readonly materials: readonly TlsMaterial[];
  /** In which all three are voters from the start. */
  readonly snapshot: Snapshot;
}

async function newCluster(peerPorts: readonly number[]): Promise<NewCluster> {
  const wallNowMs = Date.now();
  const ca = await createCa({ clusterName: 'bench', wallNowMs });
  const materials: TlsMaterial[] = [];
  for (const nodeId of names) {
    const key = createKey();
    const csr = await createRequest({ key, name: nodeId });
    const identity = { clusterId, nodeId, name: nodeId };
    const certificate = await issueNodeCertificate({ ca, csr, ...identity, wallNowMs });
    materials.push({ clusterId, nodeId, certificate, key, caCertificate: ca.certificate });
  }
  const address = (at: number): string => `127.0.0.1:${peerPorts[at]}`;
  const hashes = materials.map(({ certificate }) => {
    const leaf = defined(parseCertificates(certificate)?.[0], 'a certificate');
    return defined(inspectNodeCertificate(leaf), 'a node certificate').publicKeyHash;
  });
  const founding = bootstrapSnapshot({
    clusterId,
    clusterName: 'bench',
    spec: defaultSpec({
      vips: [{ address: '10.0.0.100', interface: null }],
      vipPort: 6443,
      backendPort: 6443,
      frontends: [],
    }),
    founder: {
      id: names[0],
      name: names[0],
      address: address(0),
      publicKeyHash: hashes[0] ?? '',
      version: '',
      certExpires: '',
    },
    tokens: [],
  });
  const state = decodeState(founding.data);
  const founder = defined(state.members[0], 'the founder');
  const members = names.map(
    (id, at): Member => ({
      ...founder,
      id,
      name: id,
      address: address(at),
      publicKeyHash: hashes[at] ?? '',
    }),
  );
  const config = { ...founding.meta.config, voters: [...names] };
  const snapshot = {
    meta: { ...founding.meta, config },
    data: encodeState({ ...state, members }),
  };
  return { materials, snapshot };
}

/** Debian's etcd as it comes, but with TLS between its members, as Holdfast always has it. */
export async function startEtcd(dir: string): Promise<Contender> {
  const ports = await freePorts(6);
  const peerUrl = (at: number): string => `https://127.0.0.1:${ports[at]}`;
  const clientUrl = (at: number): string => `http://127.0.0.1:${ports[at + 3]}`;
  const cluster = names.map((name, at) => `${name}=${peerUrl(at)}`).join(',');
  const children = names.map((name, at) => {
    const dataDir = `${dir}/etcd-${name}`;
    mkdirSync(dataDir, { mode: 0o700 });
    const log = openSync(`${dir}/etcd-${name}.log`, 'w');
    const options = {
      name,
      'data-dir': dataDir,
      'listen-client-urls': clientUrl(at),
      'advertise-client-urls': clientUrl(at),
      'listen-peer-urls': peerUrl(at),
      'initial-advertise-peer-urls': peerUrl(at),
      'initial-cluster': cluster,
      'peer-auto-tls': 'true',
      logger: 'zap',
      'log-level': 'error',
    };
    const args = Object.entries(options).map(([key, value]) => `--${key}=${value}`);
    return spawn('etcd', args, { stdio: ['ignore', log, log] });
  });
  const endpoints = names.map((_, at) => clientUrl(at).replace('http://', '')).join(',');
  return {
    name: 'etcd',
    async leaderPort() {
      for (let attempt = 0; ; attempt++) {
        const leader = etcdLeader(endpoints);
        if (leader !== null) return leader;
        if (attempt > 50) throw new Error(`etcd has no leader: see ${dir}/etcd-*.log`);
        await lasting(200);
      }
    },
    cpuMs: () => cpuMsOf(children),
    stop: () => {
      for (const child of children) child.kill('SIGTERM');
    },
  };
}

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: { readonly leader: number; readonly header: { readonly member_id: number } };
}

function etcdLeader(endpoints: string): number | null {
  try {
    const text = execFileSync(
      'etcdctl',
      [`--endpoints=${endpoints}`, 'endpoint', 'status', '--write-out=json'],
      {
        env: { ...process.env, ETCDCTL_API: '3' },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    const found = JSON.parse(text) as readonly EndpointStatus[];
    const leader = found.find(({ Status }) => Status.leader === Status.header.member_id);
    return leader === undefined ? null : Number(leader.Endpoint.split(':').at(-1));
  } catch {
    return null;
  }
}
