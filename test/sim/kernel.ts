/**
 * A host's kernel as far as a VIP is concerned: the address table, the fence, and the link. It
 * lives as long as the host has power, whoever of its processes sleeps or is dead.
 *
 * A host *answers* for a VIP while the address is there, its lifetime is not over, the fence is
 * open (or nobody put one up), and the link is up. Answering begins only by a call or by a link
 * coming up, and each of these is reported, so that looking then sees every instant.
 */
import type { Millis } from '../../src/base/clock.ts';
import type { NodeId } from '../../src/raft/types.ts';
import type { Link, VipPlacement } from '../../src/vip/ports.ts';
import type { DriftClock } from './clock.ts';

export const INTERFACE = 'eth0';
export const VIP = '10.0.0.100';

/** A call to the kernel that did not work; the names are Linux's own. */
export class KernelFailure extends Error {
  constructor(call: string, errno: string) {
    super(`${call}: ${errno}`);
  }
}

/** What may go wrong with calls to a kernel. */
export type KernelTrouble = 'netlink' | 'fence' | 'slow';

export function macOf(id: NodeId): string {
  return `02:00:00:00:00:${Number(id.slice(1)).toString(16).padStart(2, '0')}`;
}

/** How much later than asked the kernel takes an address away, at most. */
const LIFETIME_SLACK_MS = 50;

interface AddressState {
  readonly placement: VipPlacement;
  readonly expiresMono: Millis;
}

/** The part that calls change: a process sees its own calls here before the world does. */
export class KernelState {
  readonly addresses = new Map<string, AddressState>();
  /** What the fence guards; null while there is none. */
  guarded: ReadonlySet<string> | null = null;
  /** On the kernel's own clock, which is not the one deadlines are counted on. */
  openUntilMono: Millis = 0;

  clone(): KernelState {
    const copy = new KernelState();
    for (const [address, state] of this.addresses) copy.addresses.set(address, state);
    copy.guarded = this.guarded;
    copy.openUntilMono = this.openUntilMono;
    return copy;
  }

  put(placement: VipPlacement, lifetimeSeconds: number, mono: Millis): void {
    const expiresMono = mono + lifetimeSeconds * 1000 + LIFETIME_SLACK_MS;
    this.addresses.set(placement.address, { placement, expiresMono });
  }

  remove(address: string): void {
    this.addresses.delete(address);
  }

  arm(vips: readonly VipPlacement[]): void {
    this.guarded = new Set(vips.map((vip) => vip.address));
  }

  has(address: string, mono: Millis): boolean {
    const state = this.addresses.get(address);
    return state !== undefined && mono < state.expiresMono;
  }

  /** Whether frames for and from `address` pass the fence. */
  passes(address: string, mono: Millis): boolean {
    if (this.guarded === null || !this.guarded.has(address)) return true;
    return mono < this.openUntilMono;
  }
}

export class SimKernel {
  readonly mac: string;
  readonly #hostAddress: string;
  #mono: DriftClock;
  #state = new KernelState();
  #linkUp = true;
  #powered = true;
  readonly #troubledUntil = new Map<KernelTrouble, Millis>();
  /** Somebody removed the fence, and no process has put it back since. */
  #unguarded = false;
  /** Nothing runs on this machine before: neither its kernel nor its clocks. */
  #frozenUntil: Millis = 0;

  constructor(mac: string, hostAddress: string, mono: DriftClock) {
    this.mac = mac;
    this.#hostAddress = hostAddress;
    this.#mono = mono;
  }

  get state(): KernelState {
    return this.#state;
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  set linkUp(up: boolean) {
    this.#linkUp = up;
  }

  mono(at: Millis): Millis {
    return this.#mono.local(at);
  }

  setMonoRate(at: Millis, rate: number): void {
    this.#mono.setRate(at, rate);
  }

  /** The whole machine stands still. */
  freeze(at: Millis, until: Millis): void {
    this.#frozenUntil = until;
    this.#mono.standStill(at, until);
  }

  isFrozen(at: Millis): boolean {
    return at < this.#frozenUntil;
  }

  trouble(what: KernelTrouble, until: Millis): void {
    this.#troubledUntil.set(what, until);
  }

  isTroubled(what: KernelTrouble, at: Millis): boolean {
    return at < (this.#troubledUntil.get(what) ?? 0);
  }

  /** Somebody removes the fence. A process that dies before it dropped the VIP cannot help it. */
  unguard(): void {
    this.#state.guarded = null;
    this.#unguarded = true;
  }

  powerOff(): void {
    this.#unguarded = false;
    this.#powered = false;
    this.#frozenUntil = 0;
    this.#state = new KernelState();
  }

  powerOn(mono: DriftClock): void {
    this.#powered = true;
    this.#mono = mono;
    this.#linkUp = true;
  }

  /** Whether this host answers for `address` at true time `at`. */
  answers(address: string, at: Millis): boolean {
    if (!this.#powered || !this.#linkUp || this.isFrozen(at)) return false;
    this.#unguarded &&= this.#state.guarded === null;
    if (this.#unguarded) return false;
    const mono = this.mono(at);
    return this.#state.has(address, mono) && this.#state.passes(address, mono);
  }

  links(state: KernelState, at: Millis): Link[] {
    const mono = this.mono(at);
    const vips = [...state.addresses.keys()].filter((address) => state.has(address, mono));
    return [
      {
        index: 2,
        name: INTERFACE,
        mac: this.mac,
        up: this.#linkUp,
        loopback: false,
        carrierChanges: 0,
        carriers: [],
        defaultRouteOf: [],
        addresses: [
          { address: this.#hostAddress, prefixLength: 24 },
          ...vips.map((address) => ({ address, prefixLength: 32 })),
        ],
      },
    ];
  }
}
