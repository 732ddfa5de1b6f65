/**
 * Forwarding by nftables: connections to a VIP are translated to their backends before the socket
 * look-up, by rules in a table of our own (nft-forwarding-rules.ts). Each change is one transaction
 * about what is different; a connection that is established never meets a rule again.
 */
import { spawnSync } from 'node:child_process';
import { ipFamily } from '../base/ip.ts';
import type { ForwardCount, Forwarder, ForwardPlan, Protocol } from '../lb/ports.ts';
import { type Connection, Conntrack } from './conntrack.ts';
import { enableForwarding } from './forwarding-sysctls.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import {
  countRules,
  hasTable,
  NETLINK_NETFILTER,
  nft,
  readCounters,
  removeTable,
  rulesetNumber,
} from './nft.ts';
import {
  changes,
  counterOf,
  FORWARD_TABLE,
  type ForwardRules,
  forwardRules,
  NO_RULES,
  type SlotsOf,
  wholeTable,
} from './nft-forwarding-rules.ts';
import { nudge } from './nudge.ts';
import { listAddresses, NETLINK_ROUTE } from './rtnetlink.ts';

/** A forwarder for the network namespace in which it is made. */
export function createNftForwarder(slots: SlotsOf): Forwarder {
  return new NftForwarder(slots);
}

class NftForwarder implements Forwarder {
  readonly kind = 'nftables';
  readonly #slots: SlotsOf;
  readonly #netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  readonly #route = new NetlinkSocket(NETLINK_ROUTE);
  readonly #conntrack = new Conntrack();
  #plans: readonly ForwardPlan[] = [];
  /** The rules as this process set them. */
  #rules: ForwardRules = NO_RULES;
  /** What is known to stand: its number of rules, and the ruleset in which they were seen. */
  #seen: { readonly rules: number; ruleset: number } | null = null;
  /** One transaction after the other, in the order of the calls. */
  #queue: Promise<unknown> = Promise.resolve();
  #absence: string | null | undefined;

  constructor(slots: SlotsOf) {
    this.#slots = slots;
  }

  unavailable(): string | null {
    // Once: to ask takes a process, which an agent that holds a lease does not wait for twice.
    if (this.#absence === undefined) this.#absence = whyNot();
    return this.#absence;
  }

  set(plans: readonly ForwardPlan[]): Promise<void> {
    return this.#inTurn(() => this.#set(plans));
  }

  async sever(
    { address, port, protocol }: Pick<ForwardPlan, 'address' | 'port' | 'protocol'>,
    backend: { readonly address: string; readonly port: number },
  ): Promise<number> {
    const ended = await this.#conntrack.end(address, protocol, ({ to, answers }) => {
      const fits = answers.address === backend.address && answers.port === backend.port;
      return fits && to.port === port;
    });
    // Elsewhere it is somebody else's business what is said in the VIP's name.
    if (protocol === 'tcp' && this.#isHere(address)) nudge(ended);
    return ended.length;
  }

  async release(address: string): Promise<number> {
    // By whatever plan, of whichever process, and those of a proxy as well: when its sockets are
    // reset, the address is gone, and the kernel would wait for their end for days.
    let ended = 0;
    for (const protocol of ['tcp', 'udp'] as const) {
      ended += (await this.#conntrack.end(address, protocol, isTranslated)).length;
    }
    return ended;
  }

  async counts(): Promise<readonly ForwardCount[]> {
    const plans = this.#plans;
    const open = new Map<string, number>();
    for (const address of new Set(plans.map((plan) => plan.address))) {
      for (const protocol of this.#portsOf(address).keys()) {
        await this.#conntrack.to(address, protocol, (connection) => {
          if (!connection.open) return;
          const { to, answers } = connection;
          const key = keyOf({ address, protocol, port: to.port }, answers);
          open.set(key, (open.get(key) ?? 0) + 1);
        });
      }
    }
    const led = await this.#counters();
    return plans.flatMap((plan) =>
      plan.backends.map((backend) => ({
        frontend: plan.name,
        backend: backend.name,
        connections: open.get(keyOf(plan, backend)) ?? 0,
        total: led.get(counterOf(plan, backend)) ?? 0,
      })),
    );
  }

  /** By a socket of their own, because it answers nothing else until the list has ended. */
  async #counters(): Promise<ReadonlyMap<string, number>> {
    const socket = new NetlinkSocket(NETLINK_NETFILTER);
    try {
      return await readCounters(socket, 'inet', FORWARD_TABLE);
    } finally {
      socket.close();
    }
  }

  clear(): Promise<void> {
    return this.#inTurn(async () => {
      this.#plans = [];
      if (hasTable(this.#netfilter, 'inet', FORWARD_TABLE)) {
        await nft(removeTable('inet', FORWARD_TABLE));
      }
      this.#forget();
    });
  }

  async #set(plans: readonly ForwardPlan[]): Promise<void> {
    const stands = this.#stands();
    if (stands && plans === this.#plans) return;
    // Without a table there is nothing to do, and no need for the binary either.
    const isEmpty = plans.length === 0 && !hasTable(this.#netfilter, 'inet', FORWARD_TABLE);
    const rules = forwardRules(plans, this.#rules, this.#slots);
    const script = isEmpty ? '' : stands ? changes(this.#rules, rules) : wholeTable(rules);
    for (const family of new Set(plans.map(({ address }) => ipFamily(address)))) {
      if (family !== null) enableForwarding(family);
    }
    this.#plans = plans;
    if (script === '') return;
    this.#forget();
    await nft(script);
    this.#rules = rules;
    this.#see();
  }

  /** Others may flush what is not theirs, as a whole or in part. */
  #stands(): boolean {
    if (this.#seen === null) return false;
    const ruleset = rulesetNumber(this.#netfilter);
    if (ruleset === this.#seen.ruleset) return true;
    if (!hasTable(this.#netfilter, 'inet', FORWARD_TABLE)) return false;
    if (countRules(this.#netfilter, 'inet', FORWARD_TABLE) !== this.#seen.rules) return false;
    this.#seen.ruleset = ruleset;
    return true;
  }

  #see(): void {
    const ruleset = rulesetNumber(this.#netfilter);
    this.#seen = { rules: countRules(this.#netfilter, 'inet', FORWARD_TABLE), ruleset };
  }

  /** Rotations go on all the same. */
  #forget(): void {
    this.#seen = null;
  }

  #isHere(address: string): boolean {
    return listAddresses(this.#route).some((row) => row.address === address);
  }

  #portsOf(address: string): ReadonlyMap<Protocol, ReadonlySet<number>> {
    const ports = new Map<Protocol, Set<number>>();
    for (const plan of this.#plans) {
      if (plan.address !== address) continue;
      ports.set(plan.protocol, (ports.get(plan.protocol) ?? new Set()).add(plan.port));
    }
    return ports;
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(action);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

function isTranslated({ to, answers }: Connection): boolean {
  return to.address !== answers.address || to.port !== answers.port;
}

function keyOf(
  { address, protocol, port }: Pick<ForwardPlan, 'address' | 'protocol' | 'port'>,
  backend: { readonly address: string; readonly port: number },
): string {
  return `${address} ${protocol} ${port} ${backend.address} ${backend.port}`;
}

/** A dry run asks the kernel for everything that the rules are made of, and leaves nothing. */
function whyNot(): string | null {
  const input = wholeTable(NO_RULES);
  const { error, status, stderr } = spawnSync('nft', ['-c', '-f', '-'], {
    input,
    encoding: 'utf8',
  });
  if (error !== undefined) return 'the program nft is not installed';
  const [reason = ''] = stderr.trim().split('\n');
  return status === 0 ? null : `nftables cannot translate here: ${reason}`;
}
