/**
 * What goes wrong, and when: at random moments one of the seed's faults befalls a host or a link. A
 * fault that has an end arranges for it by itself; `heal` ends them all.
 */
import type { Millis } from '../../src/base/clock.ts';
import { type Prng, pick } from '../../src/base/prng.ts';
import { beginBeyond } from './faults/beyond.ts';
import { catalogue } from './faults/catalogue.ts';
import { names } from './faults/fault.ts';
import { newestLeader, type SimHost } from './host.ts';
import type { Lan } from './lan.ts';
import { calmNet, type SimNet } from './net.ts';
import type { Options } from './options.ts';
import type { Workload } from './workload.ts';
import type { World } from './world.ts';

export interface FaultParts {
  readonly world: World;
  readonly options: Options;
  readonly net: SimNet;
  readonly hosts: readonly SimHost[];
  readonly workload: Workload;
  readonly lan: Lan;
  readonly vip: string;
  /** Makes a host a cluster of its own, all others being lost for ever; false if it cannot be. */
  readonly recover: (survivor: SimHost) => boolean;
}

export class Faults {
  readonly parts: FaultParts;
  readonly random: Prng;
  #over = false;
  #undisturbedUntil: Millis = 0;

  constructor(parts: FaultParts) {
    this.parts = parts;
    this.random = parts.world.random('faults');
  }

  /** Faults come from now on until {@link heal}. */
  begin(): void {
    beginBeyond(this);
    if (this.parts.options.faults.length > 0) this.#next();
  }

  #next(): void {
    const { world, options } = this.parts;
    world.after(this.exponential(options.faultEveryMs), () => {
      if (this.#over) return;
      if (world.now >= this.#undisturbedUntil) {
        const kind = pick(this.random, options.faults);
        if (catalogue[kind](this) === true) world.exercise(kind);
      }
      this.#next();
    });
  }

  /** All links, disks and processes are well from now on; who sleeps sleeps out. */
  heal(): void {
    const { world, net, hosts, lan, options } = this.parts;
    this.#over = true;
    world.note('WORLD', 'HEALS');
    net.restoreAll();
    net.setTiming(calmNet);
    lan.stranger = false;
    for (const host of hosts) {
      if (options.mode === 'wild-clocks') host.changeRates();
      host.calm();
      host.healKernel();
      host.disk.heal();
      host.setLink(true);
      host.start();
    }
  }

  /** Calls `undo` after `ms` unless everything is healed by then. */
  later(ms: Millis, undo: () => void): void {
    this.parts.world.after(ms, () => {
      if (!this.#over) undo();
    });
  }

  /** No other fault, and perhaps no write, for `ms`: a slow drama needs its stage to itself. */
  undisturbed(ms: Millis): void {
    const { world, workload } = this.parts;
    this.#undisturbedUntil = world.now + ms;
    if (this.random() < 0.7) workload.hush(ms);
  }

  exponential(mean: Millis): Millis {
    return -Math.log(1 - this.random()) * mean;
  }

  /** Short mostly, sometimes long enough to outlast every lease and promise. */
  duration(): Millis {
    return Math.min(this.exponential(pick(this.random, [50, 300, 1_200])), 4_000);
  }

  victim(): SimHost {
    const { hosts, options } = this.parts;
    const leader = newestLeader(hosts);
    if (leader !== undefined && this.random() < options.aimAtLeader) return leader;
    return pick(this.random, hosts);
  }

  cut(from: readonly SimHost[], to: readonly SimHost[], ms: Millis): void {
    const { net } = this.parts;
    const pairs = from.flatMap((a) => to.filter((b) => b !== a).map((b) => [a.id, b.id] as const));
    for (const [a, b] of pairs) net.cut(a, b);
    this.note(`cut ${names(from)} > ${names(to)} for ${ms.toFixed(0)} ms`);
    this.later(ms, () => {
      for (const [a, b] of pairs) net.restore(a, b);
      this.note(`restored ${names(from)} > ${names(to)}`);
    });
  }

  note(text: string): void {
    this.parts.world.note('WORLD', text);
  }

  shuffled<T>(items: readonly T[]): T[] {
    const drawn = items.map((item) => ({ item, draw: this.random() }));
    return drawn.sort((left, right) => left.draw - right.draw).map(({ item }) => item);
  }

  split(): [SimHost[], SimHost[]] {
    const side = new Map(this.parts.hosts.map((host) => [host, this.random() < 0.5]));
    const { hosts } = this.parts;
    return [hosts.filter((host) => side.get(host)), hosts.filter((host) => !side.get(host))];
  }
}
