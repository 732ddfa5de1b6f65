/**
 * The VIP as a client's own tools see it (`ip neigh`, `arping`, `tcpdump`): a second witness beside
 * the observer, with eyes that nobody here has made.
 */
import { isIPv6 } from 'node:net';
import type { Child } from './children.ts';
import { until } from './clock.ts';
import type { Host } from './host.ts';

/** The MAC that the kernel of `host` has in its cache for `vip`, or null. */
export async function cached(host: Host, vip: string): Promise<string | null> {
  const { stdout } = await host.exec(['ip', 'neigh', 'show', vip]);
  return /lladdr (\S+)/.exec(stdout)?.[1] ?? null;
}

/** Whose MACs answer when `host` asks by `arping`, each once. */
export async function arping(host: Host, vip: string): Promise<readonly string[]> {
  const { stdout } = await host.exec(['arping', '-c', '2', '-I', 'eth0', vip]);
  const answers = [...stdout.matchAll(/\[([0-9a-f:]{17})\]/gi)].map(([, mac = '']) => mac);
  return [...new Set(answers.map((mac) => mac.toLowerCase()))];
}

/** `tcpdump` on a host, from the moment that it listens. */
export class Dump implements AsyncDisposable {
  readonly #child: Child;

  private constructor(child: Child) {
    this.#child = child;
  }

  /** @param filter as tcpdump takes it: `arp`, `icmp6`. */
  static async start(host: Host, filter: string): Promise<Dump> {
    const log = `tcpdump-${Math.round(performance.now())}`;
    const command = ['tcpdump', '-e', '-n', '-v', '-l', '-i', 'eth0', filter];
    const child = host.spawn(command, { log });
    await until(() => child.log().includes('listening'), { timeoutMs: 5_000, what: 'tcpdump' });
    return new Dump(child);
  }

  get text(): string {
    return this.#child.log();
  }

  /** Where in the text the next announcement of `vip` at `mac` begins, or -1. */
  announcement(vip: string, mac: string, from = 0): number {
    const says = isIPv6(vip)
      ? `neighbor advertisement, length 32, tgt is ${vip}, Flags \\[override\\]\\s+` +
        `destination link-address option \\(2\\), length 8 \\(1\\): ${mac}`
      : `${vip} is-at ${mac}`;
    const found = new RegExp(says).exec(this.text.slice(from));
    return found === null ? -1 : from + found.index;
  }

  /** Resolves once it has seen `vip` announced at `mac`, after what stands before `from`. */
  async sees(vip: string, mac: string, from = 0): Promise<void> {
    const seen = until(() => this.announcement(vip, mac, from) >= 0, {
      timeoutMs: 3_000,
      what: `tcpdump to see ${vip} at ${mac}`,
    });
    await seen.catch((cause: unknown) => {
      throw new Error(`tcpdump does not see ${vip} at ${mac}:\n${this.text}`, { cause });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop();
  }
}
