/**
 * A small network on this machine: a switch, some hosts, and a client, each in a network namespace
 * of its own. It needs root, touches nothing outside its namespaces and its directory, and is gone
 * with the process that made it.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DiskKind } from './disk.ts';
import { Switch } from './faults.ts';
import { Host } from './host.ts';
import { must } from './shell.ts';
import {
  atExit,
  directoryName,
  type Footprint,
  namespacePrefix,
  sweepDeadLabs,
  tearDown,
} from './teardown.ts';
import type { Station } from './wire.ts';

export interface LabOptions {
  /** How many hosts n1, n2, … (default 3, at most 9). */
  readonly hosts?: number;
  /** Gives everybody an IPv6 address and the lab a second VIP. */
  readonly ipv6?: boolean;
  /** Gives each host's data directory a disk of its own. */
  readonly disks?: DiskKind;
  /** The launcher of the Holdfast that the hosts run at first (default: the built one). */
  readonly program?: string;
  /** False: the kernel refuses bpf(2) to the agents, which then have the nftables fence alone. */
  readonly bpf?: boolean;
}

export interface Lab {
  readonly hosts: readonly Host[];
  readonly client: Host;
  readonly switch: Switch;
  readonly switchNamespace: string;
  /** The first is IPv4; a second, IPv6, where the lab has it. Nobody holds them at first. */
  readonly vips: readonly string[];
  readonly vip: string;
  /** Everything that the lab writes is in here. */
  readonly directory: string;
  host(name: string): Host;
  logFile(name: string): string;
  /** What the observer must know of the switch. */
  observationPost(): Promise<ObservationPost>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ObservationPost {
  readonly self: Station;
  readonly bridgeIndex: number;
  readonly ports: readonly {
    readonly index: number;
    readonly host: string;
    readonly mac: string;
  }[];
}

const bridge = 'br0';
const observerStation: Station = {
  mac: '02:00:00:4d:00:fe',
  ipv4: '10.77.0.250',
  ipv6: 'fd77::250',
};
const vip4 = '10.77.0.100';
const vip6 = 'fd77::100';
const withoutBpf = fileURLToPath(new URL('without-bpf.ts', import.meta.url));
let labsMade = 0;

export async function createLab(options: LabOptions = {}): Promise<Lab> {
  const { hosts = 3, ipv6 = false, disks, bpf = true } = options;
  const agentWrapper = bpf ? [] : [process.execPath, withoutBpf];
  requireRoot();
  sweepDeadLabs();
  const sequence = ++labsMade;
  const footprint: Footprint = {
    prefix: namespacePrefix(sequence),
    directory: directoryName(sequence),
  };
  const forget = atExit(() => tearDown(footprint));
  try {
    mkdirSync(footprint.directory, { recursive: true, mode: 0o755 });
    const names = [...Array.from({ length: hosts }, (_, i) => `n${i + 1}`), 'client'];
    const stations = names.map(
      (name, i) => new Host(footprint, name, i + 1, { ipv6, agentWrapper }),
    );
    const switchNamespace = `${footprint.prefix}switch`;
    await wire(switchNamespace, stations, ipv6);
    for (const station of stations) station.program = options.program ?? station.program;
    if (disks !== undefined) {
      await Promise.all(stations.slice(0, hosts).map((host) => host.useDisk(disks)));
    }
    return assemble({ footprint, stations, switchNamespace, ipv6, forget });
  } catch (error) {
    tearDown(footprint);
    forget();
    throw error;
  }
}

/** Says plainly that the lab cannot work otherwise; a test that needs it fails, never skips. */
export function requireRoot(): void {
  if (process.getuid?.() !== 0) {
    throw new Error('the lab makes network namespaces and needs root: run it with sudo');
  }
  if (!existsSync('/usr/sbin/ip') && !existsSync('/sbin/ip') && !existsSync('/usr/bin/ip')) {
    throw new Error('the lab needs iproute2 and nftables: run packaging/setup.sh first');
  }
}

interface Parts {
  readonly footprint: Footprint;
  readonly stations: readonly Host[];
  readonly switchNamespace: string;
  readonly ipv6: boolean;
  readonly forget: () => void;
}

function assemble({ footprint, stations, switchNamespace, ipv6, forget }: Parts): Lab {
  const hosts = stations.slice(0, -1);
  const client = stations.at(-1);
  if (client === undefined) throw new Error('a lab without a client');
  const close = async (): Promise<void> => {
    await Promise.all(stations.map((station) => station.stop()));
    tearDown(footprint);
    forget();
  };
  return {
    hosts,
    client,
    switch: new Switch(
      switchNamespace,
      stations.map(({ name }) => name),
    ),
    switchNamespace,
    vips: ipv6 ? [vip4, vip6] : [vip4],
    vip: vip4,
    directory: footprint.directory,
    host(name) {
      const found = stations.find((station) => station.name === name);
      if (found === undefined) throw new Error(`the lab has no host ${name}`);
      return found;
    },
    logFile: (name) => join(footprint.directory, `${name}.log`),
    observationPost: () => observationPost(switchNamespace, hosts),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Makes the namespaces and the cables; names of the switch's ports are the hosts' names. */
async function wire(
  switchNamespace: string,
  stations: readonly Host[],
  ipv6: boolean,
): Promise<void> {
  const namespaces = [switchNamespace, ...stations.map(({ namespace }) => namespace)];
  await batch(
    [],
    namespaces.map((name) => `netns add ${name}`),
  );
  await batch(
    ['-n', switchNamespace],
    [
      `link add ${bridge} address ${observerStation.mac} type bridge stp_state 0 forward_delay 0`,
      `link set ${bridge} up`,
      `addr add ${observerStation.ipv4}/24 dev ${bridge}`,
      ...(ipv6 ? [`addr add ${observerStation.ipv6}/64 dev ${bridge} nodad`] : []),
      ...stations.flatMap(({ name, namespace, mac }) => [
        `link add ${name} type veth peer name eth0 address ${mac} netns ${namespace}`,
        `link set ${name} master ${bridge} up`,
      ]),
    ],
  );
  await Promise.all(stations.map((station) => station.configure()));
}

async function batch(selector: readonly string[], lines: readonly string[]): Promise<void> {
  await must(['ip', ...selector, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

async function observationPost(
  switchNamespace: string,
  hosts: readonly Host[],
): Promise<ObservationPost> {
  const text = await must(['ip', '-n', switchNamespace, '-j', 'link', 'show']);
  const links = JSON.parse(text) as readonly { ifname: string; ifindex: number }[];
  const indexOf = (name: string): number =>
    links.find(({ ifname }) => ifname === name)?.ifindex ?? -1;
  return {
    self: observerStation,
    bridgeIndex: indexOf(bridge),
    ports: hosts.map(({ name, mac }) => ({ index: indexOf(name), host: name, mac })),
  };
}
