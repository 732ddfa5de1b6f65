/**
 * A second network of the lab, between the members alone: they hear each other there whatever
 * happens to the network of the VIP.
 */
import { ApiServer } from './api-server.ts';
import { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import { createLab, type Lab } from './lab.ts';
import { Observer } from './observer.ts';
import { must } from './shell.ts';

const peerBridge = 'br1';

export interface PeerScene {
  readonly lab: Lab;
  readonly observer: Observer;
  readonly cluster: Cluster;
  /** Cuts the host off from its peers, or joins it again; its VIP side is not touched. */
  peerLink(host: Host, state: 'up' | 'down'): Promise<void>;
}

const peerAddress = ({ address }: Host): string => address.replace('10.77.', '10.78.');
const portOf = ({ name }: Host): string => `${name}p`;

/** The addresses of the host's own on the VIPs' network, as `ip -batch` puts them there. */
export function ownAddresses({ address, address6 }: Host): readonly string[] {
  return [`addr replace ${address}/24 dev eth0`, `addr replace ${address6}/64 dev eth0 nodad`];
}

/** Three hosts that speak to each other on their own network. */
export async function createPeerScene(): Promise<PeerScene> {
  const lab = await createLab({ hosts: 3, ipv6: true });
  try {
    await wire(lab);
    await ApiServer.startAll(lab.hosts);
    const observer = await Observer.start(lab);
    const [first, ...others] = lab.hosts;
    if (first === undefined) throw new Error('a lab without a host');
    const advertise = (host: Host): readonly string[] => [
      '--advertise',
      `${peerAddress(host)}:7443`,
    ];
    const cluster = await Cluster.initialise(lab, first, advertise(first));
    for (const host of others) await cluster.join(host, first, advertise(host));
    await cluster.settled();
    return {
      lab,
      observer,
      cluster,
      peerLink: async (host, state) => {
        await must(['ip', '-n', lab.switchNamespace, 'link', 'set', portOf(host), state]);
      },
    };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function wire({ hosts, switchNamespace }: Lab): Promise<void> {
  const atSwitch = [
    `link add ${peerBridge} type bridge stp_state 0 forward_delay 0`,
    `link set ${peerBridge} up`,
    ...hosts.flatMap((host) => [
      `link add ${portOf(host)} type veth peer name eth1 netns ${host.namespace}`,
      `link set ${portOf(host)} master ${peerBridge} up`,
    ]),
  ];
  await must(['ip', '-n', switchNamespace, '-batch', '-'], { input: `${atSwitch.join('\n')}\n` });
  for (const host of hosts) {
    const lines = [`addr add ${peerAddress(host)}/24 dev eth1`, 'link set eth1 up'];
    await must(['ip', '-n', host.namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }
}
