/** Where balancers are measured: a client, a balancing host and three web servers on one switch. */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../test/lab/clock.ts';
import type { Host } from '../../test/lab/host.ts';
import { createLab, type Lab } from '../../test/lab/lab.ts';
import { failure } from '../../test/lab/shell.ts';

export const servicePort = 6443;
/** Of the file behind `/bulk`: no single download reaches its end. */
const bulkBytes = 64 * 1024 ** 3;

export interface Scene {
  readonly lab: Lab;
  /** The host that balances. */
  readonly balancer: Host;
  readonly servers: readonly Host[];
}

/** Three nginx, each on a host of its own; the balancing host is empty. */
export async function createScene(): Promise<Scene> {
  const lab = await createLab({ hosts: 4 });
  const [balancer, ...servers] = lab.hosts;
  if (balancer === undefined) throw new Error('a lab without hosts');
  try {
    await Promise.all([balancer, lab.client].map(widenPorts));
    await Promise.all(servers.map(startServer));
  } catch (error) {
    await lab.close();
    throw error;
  }
  return { lab, balancer, servers };
}

/** New connections by the ten thousand a second need more ports than a host has by default. */
async function widenPorts(host: Host): Promise<void> {
  const outcome = await host.exec(['sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65000']);
  if (outcome.code !== 0) throw new Error(failure(outcome));
}

async function startServer(host: Host): Promise<void> {
  const root = join(host.directory, 'www');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'bulk'), '');
  truncateSync(join(root, 'bulk'), bulkBytes);
  const file = join(host.directory, 'nginx.conf');
  writeFileSync(file, serverConfiguration(host, root));
  host.spawn(['nginx', '-c', file, '-e', 'stderr'], { log: 'nginx' });
  await listening(host, host.address, servicePort);
}

/** Answers in memory, bulk by sendfile from a sparse file: as little of its own cost as can be. */
function serverConfiguration(host: Host, root: string): string {
  return `daemon off; user root; worker_processes 1; pid ${join(host.directory, 'nginx.pid')};
error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nopush off; keepalive_requests 100000000; keepalive_timeout 1h;
  client_body_temp_path ${root}; proxy_temp_path ${root}; fastcgi_temp_path ${root};
  uwsgi_temp_path ${root}; scgi_temp_path ${root};
  server {
    listen [::]:${servicePort} ipv6only=off backlog=4096; root ${root};
    location = /bulk { default_type application/octet-stream; }
    location / { default_type text/plain; return 200 '${host.name} ${'.'.repeat(125)}'; }
  }
}
`;
}

/** Resolves once `address:port` accepts a connection from `from`. */
export async function listening(from: Host, address: string, port: number): Promise<void> {
  await until(async () => (await from.fetch(`http://${address}:${port}/`)).status === 200, {
    timeoutMs: 20_000,
    everyMs: 50,
    what: `${address}:${port} to answer`,
  });
}
