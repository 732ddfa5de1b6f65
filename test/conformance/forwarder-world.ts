/**
 * A small network in namespaces for whatever forwards: this process is the holder; a client, a
 * member without a server and three backend hosts are on the same LAN, and a pod's subnet is behind
 * the first backend. Every place is a process of its own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ForwardBackend, Forwarder } from '../../src/lb/ports.ts';
import type { Answer, ForwarderWorld, OpenConnection, Place } from './forwarder-suite.ts';
import { addNamespace, enterFreshNamespace, inNamespace, run } from './netns.ts';

const PORT = 6443;
const HOSTS = ['client', 'member', 'b1', 'b2', 'b3'] as const;
const HOLDER_NUMBER = 10;
const NETS = { 4: '10.78.0.', 6: 'fd78::' } as const;
const VIPS = { 4: '10.78.0.100', 6: 'fd78::100' } as const;
/** Addresses by the thousand, all of them the client's. */
const CROWD = { 4: '10.79.0.0/16', 6: 'fd79::/64' } as const;
const POD_NET = { 4: '10.80.0.', 6: 'fd80::' } as const;
const PREFIX = { 4: 24, 6: 64 } as const;
const FAMILIES = [4, 6] as const;
const CONNECTIONS_AT_ONCE = 32;
const PATIENCE_MS = 2_000;

type Family = 4 | 6;

class Station {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #lastId = 0;

  constructor(namespace: string | null, options: Required<NetworkOptions>) {
    const settings = [options.atOnce, options.speaks, options.patienceMs].map(String);
    const entry = fileURLToPath(new URL('./forwarder-station.ts', import.meta.url));
    const enter = namespace === null ? [] : ['ip', 'netns', 'exec', namespace];
    const [program = '', ...args] = [...enter, process.execPath, entry, ...settings];
    this.#child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', ([id, result]: [number, unknown]) => {
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  do<T>(action: string, argument: unknown): Promise<T> {
    const id = ++this.#lastId;
    this.#child.send([id, action, argument]);
    return new Promise((resolve) => this.#waiting.set(id, resolve as (result: unknown) => void));
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

export interface NetworkOptions {
  /** Connections that one place has under way at the same time. */
  readonly atOnce?: number;
  /** What clients and servers say to each other is carried as it is, or in HTTP. */
  readonly speaks?: 'lines' | 'http';
  /** Silence for so long is one; a quarter of it is at once. */
  readonly patienceMs?: number;
}

export interface Network {
  world(family: Family): ForwarderWorld;
  close(): Promise<void>;
}

/** Moves this process into the holder's namespace, and builds the rest around it. */
export async function createNetwork(
  create: () => Forwarder,
  { atOnce = CONNECTIONS_AT_ONCE, speaks = 'lines', patienceMs = PATIENCE_MS }: NetworkOptions = {},
): Promise<Network> {
  const options = { atOnce, speaks, patienceMs };
  enterFreshNamespace();
  const namespaces = buildLan();
  const stations = new Map<string, Station>([['holder', new Station(null, options)]]);
  for (const [label, name] of namespaces) stations.set(label, new Station(name, options));
  await Promise.all(
    ['holder', 'b1', 'b2', 'b3'].map((name) =>
      station(stations, name).do('serve', { name, port: PORT }),
    ),
  );
  const forwarder = create();
  return {
    world: (family) => new NamespaceWorld(family, forwarder, stations, patienceMs / 4),
    async close() {
      await forwarder.clear();
      await Promise.all([...stations.values()].map((each) => each.end()));
    },
  };
}

function buildLan(): ReadonlyMap<string, string> {
  const lan = addNamespace('lan');
  inNamespace(lan, () => run('ip link add br0 type bridge'));
  inNamespace(lan, () => run('ip link set br0 up'));
  const namespaces = new Map<string, string>();
  plug(lan, 'holder', null, HOLDER_NUMBER);
  for (const [index, label] of HOSTS.entries()) {
    const name = addNamespace(label);
    namespaces.set(label, name);
    plug(lan, label, name, HOLDER_NUMBER + 1 + index);
  }
  const at = (label: string, command: string): string =>
    inNamespace(namespaces.get(label) ?? '', () => run(command));
  for (const family of FAMILIES) {
    at('client', `ip -${family} route add local ${CROWD[family]} dev lo`);
    run(`ip -${family} route add ${CROWD[family]} via ${NETS[family]}${numberOf('client')}`);
  }
  buildPod(namespaces);
  return namespaces;
}

/** A pod whose packets leave its host as they are: no translation hides its subnet. */
function buildPod(namespaces: Map<string, string>): void {
  const pod = addNamespace('pod');
  const host = namespaces.get('b1') ?? '';
  namespaces.set('pod', pod);
  inNamespace(host, () => run(`ip link add pod0 type veth peer name eth0 netns ${pod}`));
  for (const family of FAMILIES) {
    const [net, prefix] = [POD_NET[family], PREFIX[family]];
    const add = (n: number, link: string): string =>
      run(`ip addr add ${net}${n}/${prefix} dev ${link}${family === 6 ? ' nodad' : ''}`);
    inNamespace(host, () => add(1, 'pod0'));
    inNamespace(pod, () => add(2, 'eth0'));
  }
  inNamespace(host, () => {
    run('ip link set pod0 up');
    run('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
  });
  inNamespace(pod, () => run('ip link set eth0 up'));
  for (const family of FAMILIES) {
    const [net, prefix] = [POD_NET[family], PREFIX[family]];
    inNamespace(pod, () => run(`ip -${family} route add default via ${net}1`));
    const everybody = ['member', 'b2', 'b3'].map((label) => namespaces.get(label) ?? '');
    const route = `ip -${family} route add ${net}0/${prefix} via ${NETS[family]}${numberOf('b1')}`;
    run(route);
    for (const each of everybody) inNamespace(each, () => run(route));
  }
}

function numberOf(label: (typeof HOSTS)[number]): number {
  return HOLDER_NUMBER + 1 + HOSTS.indexOf(label);
}

/** A cable from the LAN's bridge to eth0 of a namespace, or of this one. */
function plug(lan: string, label: string, name: string | null, number: number): void {
  const act = (command: string): string =>
    name === null ? run(command) : inNamespace(name, () => run(command));
  act(`ip link add eth0 type veth peer name ${label} netns ${lan}`);
  for (const family of FAMILIES) {
    const nodad = family === 6 ? ' nodad' : '';
    act(`ip addr add ${NETS[family]}${number}/${PREFIX[family]} dev eth0${nodad}`);
  }
  act('ip link set eth0 up');
  inNamespace(lan, () => run(`ip link set ${label} master br0 up`));
}

function station(stations: ReadonlyMap<string, Station>, name: string): Station {
  const found = stations.get(name);
  assert.ok(found, name);
  return found;
}

class NamespaceWorld implements ForwarderWorld {
  readonly forwarder: Forwarder;
  readonly vip: string;
  readonly port = PORT;
  readonly atOnceMs: number;
  readonly remote: readonly ForwardBackend[];
  readonly local: ForwardBackend;
  readonly #family: Family;
  readonly #stations: ReadonlyMap<string, Station>;

  constructor(
    family: Family,
    forwarder: Forwarder,
    stations: ReadonlyMap<string, Station>,
    atOnceMs: number,
  ) {
    this.atOnceMs = atOnceMs;
    this.#family = family;
    this.forwarder = forwarder;
    this.#stations = stations;
    this.vip = VIPS[family];
    const backend = (name: string, number: number): ForwardBackend => ({
      name,
      address: `${NETS[family]}${number}`,
      port: PORT,
      weight: 1,
      mode: 'masquerade',
    });
    this.local = backend('holder', HOLDER_NUMBER);
    this.remote = (['b1', 'b2', 'b3'] as const).map((name) => backend(name, numberOf(name)));
  }

  async moveVip(here: boolean): Promise<void> {
    const lifetime = this.#family === 6 ? ' nodad preferred_lft 0' : '';
    const whole = this.#family === 6 ? 128 : 32;
    const what = here
      ? `add ${this.vip}/${whole} dev eth0${lifetime}`
      : `del ${this.vip}/${whole} dev eth0`;
    run(`ip addr ${what}`);
  }

  ask(from: Place): Promise<Answer> {
    return this.#at(from).do('ask', this.#target());
  }

  askUdp(from: Place): Promise<Answer> {
    return this.#at(from).do('askUdp', this.#target());
  }

  async tally(from: Place, connections: number): Promise<ReadonlyMap<string, number>> {
    const targets = Array.from({ length: connections }, () => this.#target());
    return countBy(await this.#at(from).do<Answer[]>('askMany', targets));
  }

  async crowd(clients: number): Promise<readonly string[]> {
    const targets = Array.from({ length: clients }, (_, index) => ({
      ...this.#target(),
      localAddress:
        this.#family === 4
          ? `10.79.${1 + (index >> 8)}.${index & 255}`
          : `fd79::${(index + 1).toString(16)}`,
    }));
    const answers = await this.#at('client').do<Answer[]>('askMany', targets);
    return answers.map((answer) => ('server' in answer ? answer.server : JSON.stringify(answer)));
  }

  async open(from: Place): Promise<OpenConnection> {
    const at = this.#at(from);
    const { id, server } = await at.do<{ id: number; server: string }>('open', this.#target());
    return {
      server,
      echo: (text) => at.do('echo', { id, text }),
      ended: () => at.do('ended', { id }),
      halfClose: () => at.do('halfClose', { id }),
      close: () => void at.do('close', { id }),
    };
  }

  ownAddress(): string {
    return `${NETS[this.#family]}${HOLDER_NUMBER}`;
  }

  idleSeconds(): number | null {
    const name = '/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established';
    return Number(readFileSync(name, 'utf8'));
  }

  #at(place: Place): Station {
    return station(this.#stations, place === 'backend' ? 'b1' : place);
  }

  #target(): { readonly host: string; readonly port: number } {
    return { host: this.vip, port: this.port };
  }
}

function countBy(answers: readonly Answer[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const answer of answers) {
    const name = 'server' in answer ? answer.server : JSON.stringify(answer);
    counts.set(name.replace(/[\d.]{4,}/, 'some'), (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
