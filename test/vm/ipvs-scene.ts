/**
 * A holder, which is this process, three backends, a client and a pod's subnet behind the first
 * backend, all on one switch; IPv4 and IPv6. Every host serves on the VIP's own port.
 */
import type { Server } from 'node:net';
import type { ForwardBackend, ForwardPlan } from '../../src/lb/ports.ts';
import { addNamespace, enterFreshNamespace, inNamespace, run } from '../conformance/netns.ts';
import { dial, line, type Place, serve } from './sockets.ts';

export const port = 6443;

export interface Net {
  readonly family: 4 | 6;
  readonly vip: string;
  readonly prefix: string;
  readonly pod: string;
}

export const nets: readonly Net[] = [
  { family: 4, vip: '10.79.0.100', prefix: '10.79.0.', pod: '10.244.1.5' },
  { family: 6, vip: 'fd79::100', prefix: 'fd79::', pod: 'fd44::5' },
];

const hosts = { holder: 1, b1: 11, b2: 12, b3: 13, client: 50 } as const;
export type HostName = keyof typeof hosts;

export interface IpvsScene {
  readonly places: Readonly<Record<HostName | 'pod', Place>>;
  address(net: Net, host: HostName): string;
  backend(net: Net, host: HostName, more?: Partial<ForwardBackend>): ForwardBackend;
  plan(net: Net, backends: readonly ForwardBackend[], more?: Partial<ForwardPlan>): ForwardPlan;
  /** Which server answered, and whom it saw; `refused`, `reset` or `silent` otherwise. */
  ask(from: HostName | 'pod', net: Net): Promise<string>;
  close(): void;
}

export function createScene(): IpvsScene {
  enterFreshNamespace();
  const lan = addNamespace('lan');
  inNamespace(lan, () => {
    run('ip link add br0 type bridge stp_state 0 forward_delay 0');
    run('ip link set br0 up');
  });
  const places: Record<HostName | 'pod', Place> = {
    holder: null,
    b1: addNamespace('b1'),
    b2: addNamespace('b2'),
    b3: addNamespace('b3'),
    client: addNamespace('client'),
    pod: addNamespace('pod'),
  };
  for (const host of Object.keys(hosts) as HostName[]) plugIn(host, places[host], lan);
  routePod(places);
  for (const net of nets) run(`ip addr add ${vipOn(net, 'eth0')}`);
  const servers: Server[] = (['holder', 'b1', 'b2', 'b3'] as const).map((host) =>
    serve(places[host], host, port),
  );
  const address = (net: Net, host: HostName): string => `${net.prefix}${hosts[host]}`;
  return {
    places,
    address,
    backend: (net, host, more = {}) => ({
      name: host,
      address: address(net, host),
      port,
      weight: 1,
      mode: 'masquerade',
      ...more,
    }),
    plan: (net, backends, more = {}) => ({
      name: `api${net.family}`,
      address: net.vip,
      port,
      protocol: 'tcp',
      scheduler: 'round-robin',
      backends,
      ...more,
    }),
    async ask(from, net) {
      const connection = dial(places[from], net.vip, port);
      if (typeof connection === 'string') return connection;
      const answer = await line(connection);
      connection.destroy();
      return answer;
    },
    close: () => {
      for (const server of servers) server.close();
    },
  };
}

/** The VIP as arguments of `ip addr add`; as the agent adds it, it is no source for others. */
export function vipOn({ family, vip }: Net, link: string): string {
  const address = `${vip}/${family === 4 ? 32 : 128} dev ${link}`;
  return family === 4 ? address : `${address} nodad preferred_lft 0`;
}

function within(place: Place, action: () => void): void {
  if (place === null) action();
  else inNamespace(place, action);
}

function plugIn(host: HostName, place: Place, lan: string): void {
  within(place, () => {
    run(`ip link add eth0 type veth peer name ${host} netns ${lan}`);
    run(`ip addr add ${nets[0]?.prefix}${hosts[host]}/24 dev eth0`);
    run(`ip addr add ${nets[1]?.prefix}${hosts[host]}/64 dev eth0 nodad`);
    run('ip link set eth0 up');
  });
  inNamespace(lan, () => run(`ip link set ${host} master br0 up`));
}

/** A pod behind b1: everybody else reaches its subnet by b1, and b1 passes its packets on. */
function routePod(places: Readonly<Record<HostName | 'pod', Place>>): void {
  within(places.b1, () => {
    run(`ip link add pod0 type veth peer name eth0 netns ${places.pod}`);
    run('ip addr add 10.244.1.1/24 dev pod0');
    run('ip addr add fd44::1/64 dev pod0 nodad');
    run('ip link set pod0 up');
    run('sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
  });
  within(places.pod, () => {
    run('ip addr add 10.244.1.5/24 dev eth0');
    run('ip addr add fd44::5/64 dev eth0 nodad');
    run('ip link set eth0 up');
    run('ip route add default via 10.244.1.1');
    run('ip -6 route add default via fd44::1');
  });
  for (const host of ['holder', 'b2', 'b3', 'client'] as const) {
    within(places[host], () => {
      run(`ip route add 10.244.1.0/24 via ${nets[0]?.prefix}${hosts.b1}`);
      run(`ip -6 route add fd44::/64 via ${nets[1]?.prefix}${hosts.b1}`);
    });
  }
}
