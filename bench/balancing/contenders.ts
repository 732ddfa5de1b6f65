/**
 * Who is measured: no balancer at all, the peers as their manuals tune them for two processors, and
 * each data path of Holdfast as a single member with the real agent.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import type { Child } from '../../test/lab/children.ts';
import { until } from '../../test/lab/clock.ts';
import { Cluster } from '../../test/lab/cluster.ts';
import type { Host } from '../../test/lab/host.ts';
import { must } from '../../test/lab/shell.ts';
import { listening, type Scene, servicePort } from './scene.ts';

export interface Service {
  /** Where the client asks. */
  readonly address: string;
  /** Processes that carry it, workers included; none where the kernel does it alone. */
  pids(): readonly number[];
  stop(): Promise<void>;
}

export interface Contender {
  readonly name: string;
  /** Idle connections that it is to hold; unless told, as many as one process may. */
  readonly idleConnections?: number;
  start(scene: Scene): Promise<Service>;
}

export const direct: Contender = {
  name: 'direct',
  async start({ servers }) {
    const address = servers[0]?.address ?? '';
    return { address, pids: () => [], stop: async () => undefined };
  },
};

/** HAProxy in TCP mode, two threads, no timeouts in the way, no logging, splicing allowed. */
export const haproxy: Contender = {
  name: 'haproxy',
  start: (scene) =>
    startPeer(
      scene,
      'haproxy',
      (file) => ['haproxy', '-db', '-f', file],
      (backends) =>
        `global
  nbthread 2
  maxconn 7500
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option splice-auto
listen service
  bind ${scene.lab.vip}:${servicePort} backlog 4096
  balance roundrobin
${backends.map((to, at) => `  server s${at} ${to} check\n`).join('')}`,
    ),
};

/** nginx's stream module, one worker for each processor. */
export const nginxStream: Contender = {
  name: 'nginx stream',
  start: (scene) =>
    startPeer(
      scene,
      'nginx',
      (file) => ['nginx', '-c', file, '-e', 'stderr'],
      (backends) =>
        `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; user root; worker_processes 2; worker_rlimit_nofile 20000;
pid ${join(scene.balancer.directory, 'nginx.pid')}; error_log stderr crit;
events { worker_connections 16384; }
stream {
  upstream service {
${backends.map((to) => `    server ${to};\n`).join('')}  }
  server {
    listen ${scene.lab.vip}:${servicePort} backlog=4096 reuseport;
    proxy_pass service; proxy_timeout 1h; tcp_nodelay on;
  }
}
`,
    ),
};

/** The real agent with one frontend on `dataPath`. */
export function holdfast(dataPath: string): Contender {
  return {
    name: `holdfast ${dataPath}`,
    // Two workers at least share them.
    idleConnections: 10_000,
    async start({ lab, balancer, servers }) {
      await Cluster.initialise(lab, balancer);
      const spec = {
        apiVersion: 'holdfast/v1',
        kind: 'Cluster',
        spec: {
          vips: [{ address: lab.vip, interface: 'eth0' }],
          frontends: [
            {
              name: 'service',
              vip: lab.vip,
              port: servicePort,
              dataPath,
              backends: {
                static: servers.map(({ address }) => ({ address, port: servicePort })),
              },
              healthCheck: { type: 'tcp' },
            },
          ],
        },
      };
      const file = join(balancer.directory, 'spec.json');
      writeFileSync(file, JSON.stringify(spec));
      await balancer.must(['apply', '-f', file, '--yes']);
      await listening(lab.client, lab.vip, servicePort);
      await carriedBy(balancer, dataPath);
      const { agent } = balancer;
      return {
        address: lab.vip,
        pids: () => family(agent),
        async stop() {
          await balancer.stopAgent();
          await balancer.must(['reset', '--yes']);
        },
      };
    },
  };
}

/** Resolves when the frontend is on `dataPath`: until then another one would be measured. */
async function carriedBy(balancer: Host, dataPath: string): Promise<void> {
  await until(
    async () => {
      const status = (await balancer.json(['status'])) as StatusDocument;
      return status.frontends.every((frontend) => frontend.dataPath === dataPath);
    },
    { timeoutMs: 20_000, everyMs: 100, what: `the data path to be ${dataPath}` },
  );
}

/** A peer program on the balancing host, which gets the address by hand. */
async function startPeer(
  { lab, balancer, servers }: Scene,
  name: string,
  argv: (file: string) => readonly string[],
  configuration: (backends: readonly string[]) => string,
): Promise<Service> {
  const file = join(balancer.directory, `${name}.conf`);
  writeFileSync(file, configuration(servers.map(({ address }) => `${address}:${servicePort}`)));
  await address(balancer, 'add', lab.vip);
  const child = balancer.spawn(argv(file), { log: name });
  await listening(lab.client, lab.vip, servicePort);
  return {
    address: lab.vip,
    pids: () => family(child),
    async stop() {
      await child.stop();
      await address(balancer, 'del', lab.vip);
    },
  };
}

async function address(host: Host, verb: 'add' | 'del', ip: string): Promise<void> {
  await must(['ip', '-n', host.namespace, 'addr', verb, `${ip}/32`, 'dev', 'eth0']);
  // A client that knew the former balancer by its address must not wait for its cache.
  if (verb === 'add') await host.exec(['arping', '-q', '-A', '-c', '1', '-I', 'eth0', ip]);
}

/** The process and whatever descends from it. */
function family(child: Child): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== null) parents.set(Number(name), parent);
  }
  const members = [child.pid];
  for (const member of members) {
    for (const [pid, parent] of parents) if (parent === member) members.push(pid);
  }
  return members;
}

function parentOf(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It has ended since the folder was read.
    return null;
  }
}
