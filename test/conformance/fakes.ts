/**
 * A kernel on paper for the VIP room: it keeps addresses, links and a fence, and writes every call
 * as a line that a person could have typed, so that a test compares texts. And a clock that stands
 * still until it is told.
 */
import type { Clock, Millis, Timer } from '../../src/base/clock.ts';
import type { IpFamily } from '../../src/base/ip.ts';
import { decodeArp } from '../../src/vip/arp.ts';
import { decodeNdp } from '../../src/vip/ndp.ts';
import type {
  AddressTable,
  AnnounceLink,
  DefaultRoute,
  Fence,
  Link,
  LinkAddress,
  VipPlacement,
} from '../../src/vip/ports.ts';

export class FakeClock implements Clock {
  #now: Millis = 0;
  #pending: { at: Millis; callback: () => void }[] = [];

  now(): Millis {
    return this.#now;
  }

  wallNow(): Millis {
    return 1_800_000_000_000 + this.#now;
  }

  after(delayMs: Millis, callback: () => void): Timer {
    const entry = { at: this.#now + Math.max(0, delayMs), callback };
    this.#pending.push(entry);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== entry);
      },
    };
  }

  /** Lets time pass with every timer at its moment. */
  advance(byMs: Millis): void {
    const end = this.#now + byMs;
    for (;;) {
      const [next] = this.#pending.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#pending = this.#pending.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }

  /** Lets time pass as in a pause of the process: no timer rings meanwhile. */
  pause(forMs: Millis): void {
    this.#now += forMs;
  }
}

interface Entry {
  readonly vip: VipPlacement;
  readonly expiresAt: Millis;
}

const hostLength = (address: string): number => (address.includes(':') ? 128 : 32);

export class FakeKernel implements AddressTable, Fence, AnnounceLink {
  readonly kind = 'fake';
  /** Every call since the last {@link told}, as a line of text. */
  readonly #lines: string[] = [];
  readonly #clock: FakeClock;
  readonly #links = new Map<string, Omit<Link, 'addresses'>>();
  readonly #static = new Map<string, LinkAddress[]>();
  readonly #watchers = new Set<() => void>();
  #entries: Entry[] = [];
  #armed: string | null = null;
  #openUntil: Millis | null = null;
  #fencePresent = true;
  /** Runs before a call takes effect, by the first word of its line. */
  readonly before = new Map<string, () => void>();

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  /** The lines since the last call. */
  told(): string[] {
    return this.#lines.splice(0);
  }

  // What the test does to the host.

  plug(name: string, change: Partial<Omit<Link, 'name'>> = {}): void {
    const former = this.#links.get(name);
    const index = former?.index ?? this.#links.size + 1;
    const mac = `02:00:00:00:00:0${index}`;
    const { addresses, ...rest } = change;
    const link = {
      ...{ mac, up: true, loopback: false, carrierChanges: 0, carriers: [], defaultRouteOf: [] },
      ...former,
      ...rest,
      index,
      name,
    };
    this.#links.set(name, link);
    if (addresses !== undefined) this.#static.set(name, [...addresses]);
    this.#changed();
  }

  unplug(name: string): void {
    this.#links.delete(name);
    this.#entries = this.#entries.filter(({ vip }) => vip.interface !== name);
    this.#changed();
  }

  /** Somebody else's `ip addr del`. */
  steal(address: string): void {
    this.#entries = this.#entries.filter(({ vip }) => vip.address !== address);
    this.#changed();
  }

  removeFence(): void {
    this.#fencePresent = false;
  }

  fenceIsOpen(): boolean {
    return this.#openUntil !== null && this.#clock.now() < this.#openUntil;
  }

  // AddressTable

  links(): Link[] {
    this.#expire();
    return [...this.#links.values()].map((link) => ({
      ...link,
      addresses: [
        ...(this.#static.get(link.name) ?? []),
        ...this.#entries
          .filter(({ vip }) => vip.interface === link.name)
          .map(({ vip }) => ({ address: vip.address, prefixLength: hostLength(vip.address) })),
      ],
    }));
  }

  put(vip: VipPlacement, lifetimeSeconds: number): void {
    this.#tell(`add ${vip.address} dev ${vip.interface} valid_lft ${lifetimeSeconds}`);
    if (!this.#links.has(vip.interface)) throw new Error(`no ${vip.interface}`);
    const others = this.#entries.filter(({ vip: other }) => other.address !== vip.address);
    const expiresAt = this.#clock.now() + lifetimeSeconds * 1000;
    this.#entries = [...others, { vip, expiresAt }];
  }

  remove(address: string): void {
    this.#tell(`del ${address}`);
    this.#entries = this.#entries.filter(({ vip }) => vip.address !== address);
    for (const [name, addresses] of this.#static) {
      this.#static.set(
        name,
        addresses.filter((other) => other.address !== address),
      );
    }
  }

  ours(): VipPlacement[] {
    this.#expire();
    return this.#entries.map(({ vip }) => ({ ...vip }));
  }

  defaultRoute(family: IpFamily, interfaceName?: string): DefaultRoute | null {
    const link = [...this.#links.values()].find(
      ({ name, defaultRouteOf }) =>
        defaultRouteOf.includes(family) && (interfaceName ?? name) === name,
    );
    if (link === undefined) return null;
    return { interface: link.name, gateway: family === 4 ? '10.0.0.1' : 'fd00::1' };
  }

  watch(onChange: () => void): { close(): void } {
    this.#watchers.add(onChange);
    return { close: () => this.#watchers.delete(onChange) };
  }

  // Fence

  arm(vips: readonly VipPlacement[]): void {
    const text = vips.map((vip) => `${vip.address}@${vip.interface}`).join(' ') || 'nothing';
    if (text === this.#armed && this.#fencePresent) return;
    this.#tell(`guard ${text}`);
    this.#armed = text;
    this.#fencePresent = true;
  }

  open(deadline: Millis): void {
    this.#tell(`open until ${deadline}`);
    this.#openUntil = deadline;
  }

  shut(): void {
    // Closing what is closed is no news.
    if (this.#openUntil !== null) this.#tell('shut');
    this.#openUntil = null;
  }

  intact(): boolean {
    return this.#fencePresent;
  }

  disarm(): void {
    this.#tell('unguard');
    this.#armed = null;
    this.#openUntil = null;
  }

  // AnnounceLink

  send(
    interfaceName: string,
    frame: Uint8Array,
  ): { readonly ok: boolean; readonly error?: string } {
    this.#tell(`send ${interfaceName} ${describe(frame)}`);
    return this.fenceIsOpen() ? { ok: true } : { ok: false, error: 'No buffer space available' };
  }

  probe(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  #tell(line: string): void {
    this.#lines.push(line);
    const [word = ''] = line.split(' ');
    this.before.get(word)?.();
  }

  #expire(): void {
    this.#entries = this.#entries.filter(({ expiresAt }) => this.#clock.now() < expiresAt);
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

function describe(frame: Uint8Array): string {
  const arp = decodeArp(frame);
  if (!('invalid' in arp)) {
    const { operation, senderAddress, senderMac, targetAddress } = arp;
    const asks = targetAddress === senderAddress ? '' : ` asks for ${targetAddress}`;
    return `arp ${operation} ${senderAddress} is at ${senderMac}${asks}`;
  }
  const ndp = decodeNdp(frame);
  if ('invalid' in ndp) return ndp.invalid;
  if (ndp.kind === 'advertisement') return `na ${ndp.target} is at ${ndp.mac}`;
  return `ns ${ndp.target} from ${ndp.source}`;
}
