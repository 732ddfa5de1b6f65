/**
 * The ports of the VIP room on a simulated kernel, for one process. Each call is seen by this
 * process at once and by the world at the process's own time, perhaps after a pause.
 */
import type { Millis } from '../../src/base/clock.ts';
import type { LeaseView } from '../../src/raft/types.ts';
import type { AddressTable, AnnounceLink, Fence, Link, VipPlacement } from '../../src/vip/ports.ts';
import { KernelFailure, type KernelState, type SimKernel } from './kernel.ts';
import type { SimProcess } from './process.ts';

/** Of what is left of the lease the fence uses nine tenths: its clock may be slewed. */
const FENCE_SHARE = 0.9;

/** How long a call by netlink may take while something holds the kernel's lock. */
const SLOW_CALL_MS = 300;

/** Told after each call that took effect. */
export interface KernelObserver {
  /** What the process believed of the lease when it made the call now taking effect. */
  belief(): LeaseView | null;
  /** @param what null for what happens with every heartbeat and is no news. */
  changed(what: string | null, belief: LeaseView | null): void;
  announced(frame: Uint8Array): void;
  /** MACs of all others that would answer a question for `address` now. */
  answersHeard(address: string): readonly string[];
}

export class SimKernelPorts implements AddressTable, Fence, AnnounceLink {
  readonly kind = 'sim';
  readonly #kernel: SimKernel;
  readonly #process: SimProcess;
  readonly #observer: KernelObserver;
  readonly #seen: KernelState;
  readonly #watchers = new Set<() => void>();
  #armedFor: string | null = null;

  constructor(kernel: SimKernel, process: SimProcess, observer: KernelObserver) {
    this.#kernel = kernel;
    this.#process = process;
    this.#observer = observer;
    this.#seen = kernel.state.clone();
  }

  links(): Link[] {
    return this.#kernel.links(this.#seen, this.#process.time);
  }

  put(vip: VipPlacement, lifetimeSeconds: number): void {
    this.#netlink('RTM_NEWADDR', this.#process.time % 2 < 1 ? 'EBUSY' : 'EEXIST');
    this.#call(`put ${vip.address} for ${lifetimeSeconds} s`, (state, at) =>
      state.put(vip, lifetimeSeconds, this.#kernel.mono(at)),
    );
  }

  remove(address: string): void {
    if (!this.#seen.addresses.has(address)) return;
    this.#netlink('RTM_DELADDR', 'EBUSY');
    this.#call(`remove ${address}`, (state) => state.remove(address));
  }

  ours(): VipPlacement[] {
    const mono = this.#kernel.mono(this.#process.time);
    const held = [...this.#seen.addresses.values()];
    return held.filter((one) => mono < one.expiresMono).map((one) => one.placement);
  }

  defaultRoute(): null {
    return null;
  }

  watch(onChange: () => void): { close(): void } {
    this.#watchers.add(onChange);
    return { close: () => this.#watchers.delete(onChange) };
  }

  arm(vips: readonly VipPlacement[]): void {
    const names = vips.map((vip) => vip.address).join(' ');
    if (names === this.#armedFor) return;
    this.#fence('BPF_PROG_ATTACH');
    this.#armedFor = names;
    this.#call(`fence guards ${names || 'nothing'}`, (state) => {
      state.arm(vips);
      state.openUntilMono = 0;
    });
  }

  /** Reads the kernel's clock first: a sleep between the two readings only shortens the opening. */
  open(deadline: Millis): void {
    this.#fence('BPF_MAP_UPDATE_ELEM');
    const mono = this.#kernel.mono(this.#process.time);
    const left = deadline - this.#process.now();
    const until = mono + FENCE_SHARE * left;
    const isRenewal = mono < this.#seen.openUntilMono;
    this.#call(isRenewal ? null : `fence open for ${left.toFixed(1)}`, (state) => {
      state.openUntilMono = until;
    });
  }

  shut(): void {
    // Shutting what is shut is no news, and is done with every heartbeat of a follower.
    if (this.#seen.openUntilMono === 0) return;
    this.#call('fence shut', (state) => {
      state.openUntilMono = 0;
    });
  }

  intact(): boolean {
    return this.#seen.guarded !== null;
  }

  disarm(): void {
    this.#armedFor = null;
    this.#call('fence gone', (state) => {
      state.guarded = null;
      state.openUntilMono = 0;
    });
  }

  send(
    interfaceName: string,
    frame: Uint8Array,
  ): { readonly ok: boolean; readonly error?: string } {
    if (!this.#kernel.linkUp) return { ok: false, error: `${interfaceName} is down` };
    const copy = Uint8Array.from(frame);
    this.#process.effect(() => this.#observer.announced(copy));
    return { ok: true };
  }

  probe(vip: VipPlacement, waitMs: Millis): Promise<readonly string[]> {
    return new Promise((resolve) => {
      const heard = this.#observer.answersHeard(vip.address);
      this.#process.after(waitMs, () => resolve(heard));
    });
  }

  /** Somebody took the fence away; nobody is told, whoever looks sees it. */
  fenceRemoved(): void {
    this.#armedFor = null;
    this.#seen.guarded = null;
  }

  /** Somebody else changed the kernel: this process sees it and is told a little later. */
  foreignChange(change: (state: KernelState) => void): void {
    change(this.#seen);
    const tell = (): void => {
      for (const watcher of this.#watchers) watcher();
    };
    this.#process.after(1, tell);
  }

  /** A call by netlink: fails while that fails, takes its time while that is slow. */
  #netlink(call: string, errno: string): void {
    const { time } = this.#process;
    if (this.#kernel.isTroubled('slow', time)) {
      const phase = (time * 7.3) % 1;
      this.#process.sleepUntil(time + SLOW_CALL_MS * phase);
    }
    if (this.#kernel.isTroubled('netlink', time)) throw new KernelFailure(call, errno);
  }

  #fence(call: string): void {
    if (this.#kernel.isTroubled('fence', this.#process.time))
      throw new KernelFailure(call, 'ENOMEM');
  }

  #call(what: string | null, change: (state: KernelState, at: Millis) => void): void {
    const belief = this.#observer.belief();
    this.#process.effect((at) => {
      change(this.#kernel.state, at);
      this.#observer.changed(what, belief);
    });
    change(this.#seen, this.#process.time);
  }
}
