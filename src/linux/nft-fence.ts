/**
 * The guard for hosts without eBPF, in nftables alone: frames for or from a VIP pass only while an
 * element with a timeout stands in a set. It is renewed from the packet path, by a datagram that
 * the agent sends to an address of the loopback: no transaction, so that other programs' rulesets
 * are never disturbed by heartbeats.
 *
 * The same rules stand twice: in a table that survives its agent, and, where this fence guards
 * alone, in one that survives others' `nft flush ruleset` (nft-keeper.ts). A frame passes only
 * where both let it pass.
 *
 * Weaker than a deadline in one respect: the time is relative, counted from the datagram. So the
 * clock is read right before it is sent, and a pause between the two lengthens the lease by itself.
 */
import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { ipFamily, parseIp } from '../base/ip.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { WeakHostRule } from './arp-rule.ts';
import { rawNow } from './clock.ts';
import { fencedLinks, removeFence, removeNftFence } from './fence-removal.ts';
import type { HostFence } from './host-fence.ts';
import { check, Errno, sendTo, socket, unless } from './libc.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import {
  hasTable,
  NETLINK_NETFILTER,
  nftInterface,
  nftSync,
  replaceTable,
  setIsEmpty,
  TABLE,
  tableExists,
} from './nft.ts';
import { endKeepers, KEPT_TABLE, keepTable } from './nft-keeper.ts';
import { listLinks, NETLINK_ROUTE } from './rtnetlink.ts';

const AF_INET = 2;
/** SOCK_DGRAM | SOCK_CLOEXEC */
const SOCKET_TYPE = 2 | 0x80000;

/** Nobody's loopback address ("HF"): its datagrams are ours alone, and end in the rules. */
const RENEWAL_ADDRESS = '127.72.70.1';
/** The port says what to do: this one closes, the ones after it open for one step's time each. */
const SHUT_PORT = 7400;
/** Steps of 3 %: from far below any lease to above the longest one (5 s). */
const STEPS_MS: readonly Millis[] = Array.from({ length: 190 }, (_, step) =>
  Math.floor(20 * 1.03 ** step),
);
/** Time daemons slew the kernel's clock against the agent's, and its timers count 4 ms ticks. */
const SLEW_SHARE = 0.9;
/** Before whatever else sees the frames. */
const PRIORITY = -500;
/** The kept table sees a renewal first, and lets the other one see it, too. */
const KEPT_PRIORITY = -501;
/** A datagram may wait for its turn on the loopback; then a transaction closes. */
const SHUT_ATTEMPTS = 3;

const SET = 'lease';
/** The set's only key, as an expression that nft accepts where it wants one: always 1. */
const KEY = 'numgen inc mod 1 offset 1';

export class NftFence implements HostFence {
  readonly kind = 'nft';
  readonly #socket = check(socket(AF_INET, SOCKET_TYPE, 0), 'open a datagram socket');
  readonly #route = new NetlinkSocket(NETLINK_ROUTE);
  readonly #netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  readonly #weakHost: WeakHostRule | null;
  readonly #datagram = Uint8Array.of(0);
  readonly #to = renewalAddress();
  /** The rules in force as this process set them; null before the first time. */
  #armed: string | null = null;
  /** Whether a former agent's fences have been looked for. */
  #swept = false;
  readonly #beside: boolean;
  /** Whether the kept table is part of what is armed. */
  #kept = false;

  /** @param beside another fence of the same agent, which sees to the rest of the host */
  constructor({ beside = false }: { readonly beside?: boolean } = {}) {
    this.#weakHost = beside ? null : new WeakHostRule();
    this.#swept = beside;
    this.#beside = beside;
  }

  /** Returns whether it had to set its rules. */
  arm(vips: readonly VipPlacement[]): boolean {
    const links = listLinks(this.#route);
    for (const { interface: name } of vips) {
      if (links.some((link) => link.name === name)) continue;
      throw new OperatingError({
        code: 'interface-missing',
        message: `interface ${name} is not there`,
        facts: { interface: name },
      });
    }
    const body = fenceRules(vips);
    // A link that was made anew has lost its rules, though its name is the same.
    const indexes = vips.map((vip) => links.find((link) => link.name === vip.interface)?.index);
    const armed = `${indexes.join(' ')}\n${body}`;
    const whole = (): boolean => this.intact() && hasTable(this.#netfilter, 'ip');
    const changes = this.#armed !== armed || (body !== '' && !whole());
    if (changes) {
      if (body !== '') nftSync(replaceTable('netdev', body) + replaceTable('ip', senderRules()));
      else removeNftFence();
      this.#kept =
        body !== '' && !this.#beside && keepTable('netdev', fenceRules(vips, KEPT_PRIORITY));
      this.#armed = armed;
    }
    this.#weakHost?.set(vips);
    if (!this.#swept) this.#takeOver();
    return changes;
  }

  trouble(): null {
    return null;
  }

  /** Whether what it sends to itself leaves: a host firewall may forbid it. */
  maySend(): boolean {
    try {
      this.#send(SHUT_PORT);
      return true;
    } catch (error) {
      if (error instanceof OperatingError) return false;
      throw error;
    }
  }

  /** Whether a renewal has arrived and has not run out. */
  isOpen(): boolean {
    return !setIsEmpty('netdev', SET);
  }

  standing(): readonly string[] {
    return this.#armed !== null && this.intact() ? [this.kind] : [];
  }

  /** Its rules count nothing. */
  drops(): null {
    return null;
  }

  /** Returns whether enough time was left to open it. */
  open(deadline: Millis): boolean {
    const leftMs = (deadline - rawNow()) * SLEW_SHARE;
    const step = STEPS_MS.findLastIndex((stepMs) => stepMs <= leftMs);
    this.#send(SHUT_PORT + step + 1);
    return step >= 0;
  }

  shut(): void {
    if (this.#beside) {
      // The other fence is shut already: nothing depends on when this datagram is read.
      this.#send(SHUT_PORT);
      return;
    }
    const stands = tableExists('netdev');
    if (!stands && !this.#kept) return;
    for (let attempt = 0; attempt < SHUT_ATTEMPTS; attempt++) {
      this.#send(SHUT_PORT);
      if (!this.#anyOpen()) return;
    }
    if (stands) nftSync(`flush set netdev ${TABLE} ${SET}\n`);
    if (this.#kept) endKeepers();
  }

  intact(): boolean {
    if (this.#armed === null) return true;
    const kept = !this.#kept || hasTable(this.#netfilter, 'netdev', KEPT_TABLE);
    return kept && hasTable(this.#netfilter, 'netdev');
  }

  disarm(): void {
    removeNftFence();
    this.#kept = false;
    this.#armed = null;
    this.#weakHost?.set([]);
  }

  /** A former agent's eBPF fences would keep the VIPs mute for ever. */
  #takeOver(): void {
    // Without the right to look there is none that an agent with the same rights has left.
    unless([Errno.EPERM], () => {
      for (const index of fencedLinks(this.#route)) removeFence(this.#route, index);
    });
    this.#swept = true;
  }

  #anyOpen(): boolean {
    if (!setIsEmpty('netdev', SET)) return true;
    return this.#kept && !setIsEmpty('netdev', SET, KEPT_TABLE);
  }

  #send(port: number): void {
    this.#to.writeUInt16BE(port, 2);
    check(
      sendTo(this.#socket, this.#datagram, 1, 0, this.#to, this.#to.length),
      'send the renewal of the fence to itself',
    );
  }
}

/** struct sockaddr_in; the port is written before each use. */
function renewalAddress(): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.set(parseIp(RENEWAL_ADDRESS) ?? [], 4);
  return address;
}

function fenceRules(vips: readonly VipPlacement[], priority = PRIORITY): string {
  if (vips.length === 0) return '';
  const links = [...new Set(vips.map((vip) => vip.interface))];
  const guards = links.map((link, place) => {
    const here = vips.filter((vip) => vip.interface === link);
    const chain = { link, place, priority };
    return guardChain('ingress', chain, here) + guardChain('egress', chain, here);
  });
  const renewals = STEPS_MS.map((stepMs, step) => {
    const port = SHUT_PORT + step + 1;
    return `    udp dport ${port} update @${SET} { ${KEY} timeout ${stepMs}ms }\n`;
  });
  return `  set ${SET} {
    typeof ${KEY}
    size 4
    flags dynamic,timeout
  }
  chain renew {
    udp dport ${SHUT_PORT} delete @${SET} { ${KEY} }
${renewals.join('')}${priority === PRIORITY ? '    drop\n' : ''}  }
  chain loopback {
    type filter hook ingress device "lo" priority ${priority}; policy accept;
    ip daddr ${RENEWAL_ADDRESS} goto renew
  }
  chain leased {
    ${KEY} @${SET} return
    drop
  }
${guards.join('')}`;
}

function guardChain(
  hook: 'ingress' | 'egress',
  {
    link,
    place,
    priority,
  }: { readonly link: string; readonly place: number; readonly priority: number },
  vips: readonly VipPlacement[],
): string {
  const [side, neighbour] = hook === 'ingress' ? ['daddr', '135'] : ['saddr', '136'];
  const rules = vips.flatMap(({ address }) => {
    if (ipFamily(address) === 4) {
      // A gratuitous ARP asks nothing, and this host is the holder's client as well.
      const asks = hook === 'ingress' ? `arp saddr ip != ${address} ` : '';
      return [`${asks}arp ${side} ip ${address} jump leased`, `ip ${side} ${address} jump leased`];
    }
    const bytes = Buffer.from(parseIp(address) ?? []).toString('hex');
    assert(bytes.length === 32, `${address} is no address`);
    return [
      `ip6 ${side} ${address} jump leased`,
      // The target of a neighbour message, 48 bytes into the packet.
      `icmpv6 type ${neighbour} @nh,384,128 0x${bytes} jump leased`,
    ];
  });
  return `  chain ${hook}${place} {
    type filter hook ${hook} device ${nftInterface(link)} priority ${priority}; policy accept;
${rules.map((rule) => `    ${rule}\n`).join('')}  }
`;
}

/** Nobody but the agent's user may renew. */
function senderRules(): string {
  return `  chain renewals {
    type filter hook output priority -300; policy accept;
    ip daddr ${RENEWAL_ADDRESS} meta skuid != ${process.geteuid?.() ?? 0} drop
  }
`;
}
