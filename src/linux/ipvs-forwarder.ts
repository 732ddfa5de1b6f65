/**
 * Forwarding by the kernel's virtual servers (IPVS). Each VIP:port has a server of its own, chosen
 * by a mark that rules of ours give to its packets; see ipvs-rules.ts for why.
 *
 * A destination that leaves a plan is kept with weight 0 until its last connection has ended: one
 * that is removed loses its connections with their next packet, which is what `sever` and `release`
 * do on purpose. What the kernel has of ours is read each time and nothing is stored: services of
 * marks that this process did not give are a former agent's, and end with their connections.
 */
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import { ipFamily } from '../base/ip.ts';
import type {
  ForwardBackend,
  ForwardCount,
  Forwarder,
  ForwardPlan,
  Scheduler,
} from '../lb/ports.ts';
import { enableForwarding } from './forwarding-sysctls.ts';
import { nextMark, VirtualServers } from './ipvs.ts';
import type { IpvsDest, IpvsDestKey, IpvsDestRow, IpvsService } from './ipvs-codec.ts';
import { IPVS_TABLE, ipvsRules } from './ipvs-rules.ts';
import { settingMissing, turnOnSettings } from './ipvs-settings.ts';
import { Errno, interfaceIndex, unless } from './libc.ts';
import { nft, nftSync, removeTable, tableExists } from './nft.ts';

/** As long as connection tracking remembers them; IPVS alone would forget a watch after 15 min. */
const IDLE_TCP_SECONDS = 432_000;

/** kube-proxy's own device in IPVS mode; it deletes virtual servers that it does not know. */
const KUBE_IPVS_DEVICE = 'kube-ipvs0';

/**
 * The kernel's schedulers, each with what to take where the kernel lacks it. Maglev (mh) moves only
 * the clients of a backend that goes; sh, of kernels before 4.18, moves nearly all of them.
 */
const schedulers: Readonly<Record<Scheduler, readonly string[]>> = {
  'round-robin': ['rr'],
  weighted: ['wrr'],
  'least-connections': ['wlc'],
  'source-hash': ['mh', 'sh'],
};

type Frontend = Pick<ForwardPlan, 'address' | 'port' | 'protocol'>;

const familyOf = (address: string): 4 | 6 => defined(ipFamily(address), 'the family of an address');
const keyOf = ({ address, port, protocol }: Frontend): string => `${address} ${protocol} ${port}`;
const destOf = ({ address, port }: IpvsDestKey): string => `${address} ${port}`;
const sameService = (a: { family: 4 | 6; mark: number }): string => `${a.family} ${a.mark}`;

export function createIpvsForwarder(): Forwarder {
  return new IpvsForwarder();
}

class IpvsForwarder implements Forwarder {
  readonly kind = 'ipvs';
  #servers: VirtualServers | null = null;
  #plans: readonly ForwardPlan[] = [];
  /** The mark of each plan's server. */
  readonly #marks = new Map<string, number>();
  #lastMark: number | null = null;
  /** What the rules stand for, as this process set them; they stand while the table exists. */
  #rules: string | null = null;
  /** One change after the other, in the order of the calls. */
  #queue: Promise<unknown> = Promise.resolve();

  unavailable(): string | null {
    if (interfaceIndex(KUBE_IPVS_DEVICE) !== 0) {
      return 'kube-proxy runs in IPVS mode and deletes virtual servers of others';
    }
    const servers = VirtualServers.open();
    if (servers === null) {
      return (
        'the kernel module ip_vs is not loaded: run modprobe ip_vs, and name it in a file of' +
        ' /etc/modules-load.d'
      );
    }
    servers.close();
    return settingMissing();
  }

  set(plans: readonly ForwardPlan[]): Promise<void> {
    return this.#inTurn(() => this.#apply(plans));
  }

  sever(frontend: Frontend, backend: IpvsDestKey): Promise<number> {
    return this.#inTurn(async () => {
      const servers = this.#open();
      const mark = this.#marks.get(keyOf(frontend));
      if (mark === undefined) return 0;
      const service = { family: familyOf(frontend.address), mark };
      const rows = servers.destinations(service);
      const row = rows.find((candidate) => destOf(candidate) === destOf(backend));
      if (row === undefined) return 0;
      servers.removeDestination(service, row);
      return openOf(row, frontend);
    });
  }

  release(address: string): Promise<number> {
    return this.#inTurn(async () => {
      const plans = this.#plans.filter((candidate) => candidate.address === address);
      // Also a kernel without IPVS is asked to let go.
      if (plans.length === 0) return 0;
      const servers = this.#open();
      let ended = 0;
      for (const plan of plans) {
        const mark = this.#marks.get(keyOf(plan));
        if (mark === undefined) continue;
        const service = { family: familyOf(address), mark };
        for (const row of servers.destinations(service)) ended += openOf(row, plan);
        servers.removeService(service);
        this.#marks.delete(keyOf(plan));
      }
      await this.#apply(this.#plans);
      return ended;
    });
  }

  counts(): Promise<readonly ForwardCount[]> {
    return this.#inTurn(async () => {
      const servers = this.#open();
      const counts = this.#plans.flatMap((plan) => {
        const mark = this.#marks.get(keyOf(plan));
        if (mark === undefined) return [];
        const rows = servers.destinations({ family: familyOf(plan.address), mark });
        return plan.backends.map((backend) => {
          const row = rows.find((candidate) => destOf(candidate) === destOf(backend));
          const connections = row === undefined ? 0 : openOf(row, plan);
          const total = row?.total ?? 0;
          return { frontend: plan.name, backend: backend.name, connections, total };
        });
      });
      this.#retire(servers);
      return counts;
    });
  }

  clear(): Promise<void> {
    return this.#inTurn(async () => {
      this.#plans = [];
      this.#marks.clear();
      this.#rules = null;
      removeVirtualServers();
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(action);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  #isThere(): boolean {
    this.#servers ??= VirtualServers.open();
    return this.#servers !== null;
  }

  #open(): VirtualServers {
    if (this.#isThere() && this.#servers !== null) return this.#servers;
    throw new OperatingError({
      code: 'ipvs-missing',
      message: 'the kernel has no IPVS',
      hint: 'run modprobe ip_vs, and name it in a file of /etc/modules-load.d',
    });
  }

  /** Adds before it leads there, and leads elsewhere before it takes away. */
  async #apply(plans: readonly ForwardPlan[]): Promise<void> {
    // A host without IPVS has nothing of ours, and is well as long as nothing is asked of it.
    if (plans.length === 0 && !this.#isThere()) {
      this.#plans = plans;
      return;
    }
    const servers = this.#open();
    refuseUnroutable(plans);
    if (plans.length > 0) {
      for (const family of new Set(plans.map(({ address }) => familyOf(address)))) {
        enableForwarding(family);
      }
      turnOnSettings();
      servers.keepIdleTcp(IDLE_TCP_SECONDS);
    }
    this.#plans = plans;
    this.#offer(servers);
    await this.#lead(servers);
    this.#retire(servers);
  }

  #offer(servers: VirtualServers): void {
    const standing = new Map(servers.services().map((item) => [sameService(item), item]));
    const taken = new Set([...standing.values(), ...this.#entries()].map(({ mark }) => mark));
    for (const plan of this.#plans) {
      if (plan.backends.length === 0) continue;
      let mark = this.#marks.get(keyOf(plan));
      if (mark === undefined) {
        mark = nextMark(this.#lastMark, taken);
        taken.add(mark);
        this.#lastMark = mark;
        this.#marks.set(keyOf(plan), mark);
      }
      const key = { family: familyOf(plan.address), mark };
      offer(servers, plan, key, standing.get(sameService(key)));
    }
  }

  async #lead(servers: VirtualServers): Promise<void> {
    const marked = this.#plans.map((plan) => ({
      plan,
      mark: plan.backends.length === 0 ? null : (this.#marks.get(keyOf(plan)) ?? null),
    }));
    // Without any chain of NAT the kernel translates no packet, of established connections either.
    const isNeeded = this.#plans.length > 0 || servers.services().length > 0;
    const stands = tableExists('inet', IPVS_TABLE);
    const wanted = isNeeded ? JSON.stringify(marked) : '';
    if (wanted === this.#rules && stands === isNeeded) return;
    this.#rules = null;
    await nft(isNeeded ? ipvsRules(marked, stands) : removeTable('inet', IPVS_TABLE));
    this.#rules = wanted;
  }

  /** What no plan wants takes no new connection, and goes when its last one has ended. */
  #retire(servers: VirtualServers): void {
    const wanted = new Map(this.#entries().map((entry) => [sameService(entry), entry.plan]));
    for (const service of servers.services()) {
      const plan = wanted.get(sameService(service));
      const backends = new Set(plan?.backends.map(destOf));
      let left = 0;
      for (const row of servers.destinations(service)) {
        if (backends.has(destOf(row)) || !retire(servers, service, row)) left++;
      }
      // A mark that leads nowhere would lead to this host's own server.
      if (left > 0 || backends.size > 0) continue;
      if (plan !== undefined) this.#marks.delete(keyOf(plan));
      servers.removeService(service);
    }
  }

  #entries(): { family: 4 | 6; mark: number; plan: ForwardPlan }[] {
    return this.#plans.flatMap((plan) => {
      const mark = this.#marks.get(keyOf(plan));
      return mark === undefined ? [] : [{ family: familyOf(plan.address), mark, plan }];
    });
  }
}

/** Makes the service choose among the plan's backends; those that it has beside them stay. */
function offer(
  servers: VirtualServers,
  plan: ForwardPlan,
  key: { family: 4 | 6; mark: number },
  standing: IpvsService | undefined,
): void {
  putService(servers, key, standing, schedulers[plan.scheduler]);
  const present = new Map(servers.destinations(key).map((row) => [destOf(row), row]));
  for (const backend of plan.backends) {
    const dest = destinationFor(backend);
    const row = present.get(destOf(dest));
    if (row === undefined) servers.addDestination(key, dest);
    else if (row.weight !== dest.weight || row.method !== dest.method) {
      servers.changeDestination(key, dest);
    }
  }
}

function putService(
  servers: VirtualServers,
  key: { family: 4 | 6; mark: number },
  standing: IpvsService | undefined,
  names: readonly string[],
): void {
  if (standing !== undefined && names.includes(standing.scheduler)) return;
  for (const [index, scheduler] of names.entries()) {
    // ENOENT: this kernel has no such scheduler, and no module of it either.
    const bearable = index < names.length - 1 ? [Errno.ENOENT] : [];
    const isPut = unless(bearable, () => {
      if (standing === undefined) servers.addService({ ...key, scheduler });
      else servers.changeService({ ...key, scheduler });
    });
    if (isPut) return;
  }
}

const destinationFor = ({ address, port, weight, mode }: ForwardBackend): IpvsDest => ({
  address,
  port,
  weight,
  method: mode,
});

/** True where it is gone now. */
function retire(servers: VirtualServers, service: IpvsService, row: IpvsDestRow): boolean {
  if (row.active + row.inactive === 0) {
    servers.removeDestination(service, row);
    return true;
  }
  if (row.weight !== 0) servers.changeDestination(service, { ...row, weight: 0 });
  return false;
}

/** UDP has no established state: all of its connections count as inactive. */
function openOf({ active, inactive }: IpvsDestRow, { protocol }: Frontend): number {
  return protocol === 'udp' ? active + inactive : active;
}

/** A packet that is passed on unchanged arrives at the port that it was sent to. */
function refuseUnroutable(plans: readonly ForwardPlan[]): void {
  for (const { name, port, backends } of plans) {
    const wrong = backends.find((item) => item.mode !== 'masquerade' && item.port !== port);
    if (wrong === undefined) continue;
    throw new OperatingError({
      code: 'backend-unroutable',
      message: `${name}: ${wrong.name} is reached unchanged, so its port must be ${port}`,
      hint: `let it listen on port ${port}, or let its packets be translated`,
    });
  }
}

/** Removes all that is ours, whoever made it; what was removed, in words. */
export function removeVirtualServers(): string[] {
  const removed: string[] = [];
  if (tableExists('inet', IPVS_TABLE)) {
    nftSync(removeTable('inet', IPVS_TABLE));
    removed.push(`nft table inet ${IPVS_TABLE}`);
  }
  const servers = VirtualServers.open();
  if (servers === null) return removed;
  try {
    for (const service of servers.services()) {
      servers.removeService(service);
      removed.push(`IPv${service.family} virtual server of mark 0x${service.mark.toString(16)}`);
    }
  } finally {
    servers.close();
  }
  return removed;
}
