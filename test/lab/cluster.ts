/**
 * A Holdfast cluster on the hosts of a lab, formed as a person would: `init` on the first host,
 * `join` on the others, an agent on each. Whatever changes it goes through the real command line.
 */
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import { askStatus } from './agent-view.ts';
import { until } from './clock.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';

/** What `init -o json` promises to scripts. */
export interface InitResult {
  readonly token: string;
  readonly caHash: string;
  readonly joinCommand: string;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly dataDir: string;
}

export interface ClusterOptions {
  /** How many of the lab's hosts take part (default: all). */
  readonly members?: number;
  /** Further arguments of `init`. */
  readonly initArgs?: readonly string[];
  readonly onProgress?: (sentence: string) => void;
}

export class Cluster {
  readonly lab: Lab;
  readonly init: InitResult;
  readonly #hosts: Host[];

  private constructor(lab: Lab, init: InitResult, hosts: readonly Host[]) {
    this.lab = lab;
    this.init = init;
    this.#hosts = [...hosts];
  }

  /** A cluster that was formed in some other way. */
  static of(lab: Lab, init: InitResult, hosts: readonly Host[]): Cluster {
    return new Cluster(lab, init, hosts);
  }

  static async form(lab: Lab, options: ClusterOptions = {}): Promise<Cluster> {
    const { members = lab.hosts.length, initArgs = [], onProgress = () => undefined } = options;
    const [first, ...others] = lab.hosts.slice(0, members);
    if (first === undefined) throw new Error('a cluster needs a host');
    onProgress(`${first.name}: holdfast init --vip ${lab.vips.join(',')}`);
    const cluster = await Cluster.initialise(lab, first, initArgs);
    for (const host of others) cluster.count(host);
    await Promise.all(
      others.map(async (host) => {
        onProgress(`${host.name}: holdfast join ${first.address}:7443 --token … --ca-hash …`);
        await cluster.join(host, first);
      }),
    );
    await cluster.settled();
    return cluster;
  }

  /** `init` on one host and its agent; the others may join then. */
  static async initialise(
    lab: Lab,
    first: Host,
    initArgs: readonly string[] = [],
  ): Promise<Cluster> {
    const args = ['init', '--vip', lab.vips.join(','), '--name', first.name, ...initArgs];
    const init = (await first.json(args)) as InitResult;
    await first.startAgent();
    return new Cluster(lab, init, [first]);
  }

  /** Hosts that were asked to take part, in the order in which they were. */
  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  joinArgs(host: Host, via: Host = this.#some()): readonly string[] {
    const { token, caHash } = this.init;
    const peer = `${via.address}:7443`;
    return ['join', peer, '--token', token, '--ca-hash', caHash, '--name', host.name];
  }

  /** `join` and the agent; does not wait for the promotion to a voter. */
  async join(host: Host, via: Host = this.#some(), args: readonly string[] = []): Promise<void> {
    await host.must([...this.joinArgs(host, via), ...args]);
    await host.startAgent();
    this.count(host);
  }

  /** Puts the host on the list of those that `settled` waits for. */
  count(host: Host): void {
    if (!this.#hosts.includes(host)) this.#hosts.push(host);
  }

  /** Takes the host off the list of those that `settled` waits for. */
  forget(host: Host): void {
    const at = this.#hosts.indexOf(host);
    if (at >= 0) this.#hosts.splice(at, 1);
  }

  running(): readonly Host[] {
    return this.#hosts.filter(({ agentRuns }) => agentRuns);
  }

  async status(host: Host = this.#some()): Promise<StatusDocument> {
    return (await host.json(['status'])) as StatusDocument;
  }

  /**
   * Resolves with the leader's view once it sees every running host as a reachable voter (an even
   * count leaves one learner), has a quorum, and holds the VIPs.
   */
  async settled(timeoutMs = 20_000): Promise<StatusDocument> {
    let last: StatusDocument | null = null;
    const settled = until(
      async () => {
        const leader = await this.leader();
        if (leader === null) return undefined;
        last = await askStatus(leader);
        return this.#isSettled(last) ? last : undefined;
      },
      { timeoutMs, everyMs: 100, what: 'the cluster to settle' },
    );
    return settled.catch((cause: unknown) => {
      throw new Error(`the cluster does not settle: ${JSON.stringify(last)}`, { cause });
    });
  }

  /** The host that calls itself leader, or null. */
  async leader(): Promise<Host | null> {
    for (const host of this.running()) {
      const status = await askStatus(host).catch(() => null);
      const name = status?.cluster.leader ?? null;
      const leader = this.running().find((candidate) => candidate.name === name);
      if (leader !== undefined) return leader;
    }
    return null;
  }

  #isSettled({ self, cluster, members, vips }: StatusDocument): boolean {
    const running = this.running().map(({ name }) => name);
    const votersWanted = running.length - (running.length % 2 === 0 ? 1 : 0);
    const seen = members.filter(
      ({ name, reachable }) => running.includes(name) && (name === self.name || reachable === true),
    );
    return (
      self.role === 'leader' &&
      cluster.quorum === true &&
      seen.length === running.length &&
      members.filter(({ role }) => role !== 'learner').length >= votersWanted &&
      vips.every(({ heldHere }) => heldHere)
    );
  }

  #some(): Host {
    const host = this.running()[0] ?? this.#hosts[0];
    if (host === undefined) throw new Error('the cluster has no host');
    return host;
  }
}
