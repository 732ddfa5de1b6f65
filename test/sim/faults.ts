/**
 * What goes wrong, and when: at random moments one of the seed's faults befalls a host or a link. A
 * fault that has an end arranges for it by itself; `heal` ends them all.
 */
import type { Millis } from '../../src/base/clock.ts';
import { intBetween, type Prng, pick } from '../../src/base/prng.ts';
import type { Timing } from '../../src/raft/types.ts';
import { newestLeader, type SimHost } from './host.ts';
import { calmNet, type SimNet } from './net.ts';
import type { FaultKind, Options } from './options.ts';
import type { Workload } from './workload.ts';
import type { World } from './world.ts';

export interface FaultParts {
  readonly world: World;
  readonly options: Options;
  readonly net: SimNet;
  readonly hosts: readonly SimHost[];
  readonly workload: Workload;
  readonly vip: string;
}

/** The furthest that a wall clock jumps at once, either way. */
const WALL_JUMP_MS = 86_400_000;

type Fault = (faults: Faults) => void;

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
    const { world, options } = this.parts;
    if (options.faults.length === 0) return;
    world.after(this.exponential(options.faultEveryMs), () => {
      if (this.#over) return;
      if (world.now >= this.#undisturbedUntil) catalogue[pick(this.random, options.faults)](this);
      this.begin();
    });
  }

  /** All links, disks and processes are well from now on; who sleeps sleeps out. */
  heal(): void {
    const { world, net, hosts } = this.parts;
    this.#over = true;
    world.note('WORLD', 'HEALS');
    net.restoreAll();
    net.setTiming(calmNet);
    for (const host of hosts) {
      host.calm();
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

  split(): [SimHost[], SimHost[]] {
    const side = new Map(this.parts.hosts.map((host) => [host, this.random() < 0.5]));
    const { hosts } = this.parts;
    return [hosts.filter((host) => side.get(host)), hosts.filter((host) => !side.get(host))];
  }
}

const catalogue: Readonly<Record<FaultKind, Fault>> = {
  kill(faults) {
    const host = faults.victim();
    host.kill();
    faults.later(faults.duration(), () => host.start());
  },
  'power-cut'(faults) {
    const host = faults.victim();
    host.powerCut();
    faults.later(faults.duration(), () => host.start());
  },
  'quick-restart'(faults) {
    const host = faults.victim();
    if (!host.isUp) return;
    host.kill();
    faults.later(1 + 20 * faults.random(), () => host.start());
  },
  pause(faults) {
    faults.victim().pause(faults.duration());
  },
  'cut-one-way'(faults) {
    faults.cut([faults.victim()], [pick(faults.random, faults.parts.hosts)], faults.duration());
  },
  isolate(faults) {
    const host = faults.victim();
    const ms = faults.duration();
    faults.cut([host], faults.parts.hosts, ms);
    faults.cut(faults.parts.hosts, [host], ms);
  },
  deafen(faults) {
    const host = faults.victim();
    const others = faults.parts.hosts;
    if (faults.random() < 0.5) faults.cut(others, [host], faults.duration());
    else faults.cut([host], others, faults.duration());
  },
  partition(faults) {
    const [left, right] = faults.split();
    const ms = faults.duration();
    faults.cut(left, right, ms);
    faults.cut(right, left, ms);
  },
  bridge(faults) {
    const middle = pick(faults.random, faults.parts.hosts);
    const [left, right] = faults.split().map((side) => side.filter((host) => host !== middle));
    const ms = faults.duration();
    faults.cut(left ?? [], right ?? [], ms);
    faults.cut(right ?? [], left ?? [], ms);
  },
  /**
   * One follower no longer hears the leader and soon wants to be elected, while those who still do
   * are restarted under the leader's feet: whoever forgets its promise then elects a second holder.
   */
  siege(faults) {
    const { hosts } = faults.parts;
    const leader = newestLeader(hosts);
    const others = hosts.filter((host) => host !== leader && host.isUp && host.isVoter());
    if (leader === undefined || others.length < 2) return;
    const rebel = pick(faults.random, others);
    const { promiseMs } = leader.timing();
    faults.undisturbed(4 * promiseMs);
    faults.cut([leader], [rebel], 4 * promiseMs);
    if (faults.random() < 0.5) faults.cut([rebel], [leader], 4 * promiseMs);
    for (const loyal of others.filter((host) => host !== rebel)) {
      faults.later(promiseMs * (1.2 + 2.5 * faults.random()), () => {
        loyal.kill();
        if (faults.random() < 0.7) faults.cut([leader], [loyal], promiseMs);
        faults.later(1 + 5 * faults.random(), () => loyal.start());
      });
    }
  },
  'disk-stall'(faults) {
    const host = faults.victim();
    const ms = faults.duration();
    faults.note(`${host.id}'s disk stalls for ${ms.toFixed(0)} ms`);
    host.disk.stall(faults.parts.world.now + ms);
  },
  /** One host's, or everybody's at once, as when all logs grow alike. */
  'disk-full'(faults) {
    const { hosts, world } = faults.parts;
    const ms = faults.duration();
    const full = faults.random() < 0.3 ? hosts : [faults.victim()];
    faults.note(`no space left on ${names(full)} for ${ms.toFixed(0)} ms`);
    for (const host of full) host.disk.fill(world.now + ms);
  },
  'disk-error'(faults) {
    faults.victim().failDisk();
  },
  'clock-rate'(faults) {
    faults.victim().changeRates();
  },
  'wall-clock'(faults) {
    faults.victim().jumpWallClock((2 * faults.random() - 1) * WALL_JUMP_MS);
  },
  'link-down'(faults) {
    const host = faults.victim();
    host.setLink(false);
    faults.later(faults.duration(), () => host.setLink(true));
  },
  'address-deleted'(faults) {
    faults.victim().deleteAddress(faults.parts.vip);
  },
  transfer(faults) {
    const to = faults.random() < 0.5 ? null : pick(faults.random, faults.parts.hosts).id;
    faults.parts.workload.ask({ type: 'transfer', to });
  },
  'graceful-stop'(faults) {
    const host = faults.victim();
    const down = faults.duration();
    // Also a host that still stops when all is healed comes back.
    host.stop(() => faults.parts.world.after(down, () => host.start()));
  },
  'member-change'(faults) {
    const { hosts, workload, options } = faults.parts;
    const host = pick(faults.random, hosts);
    const isMember = hosts.some((other) => other.leads && isIn(other, host));
    // Members are removed less often than strangers are added, so that clusters stay clusters.
    if (!isMember) workload.ask({ type: 'add', id: host.id });
    else if (options.nodes > 1 && faults.random() < 0.5) {
      workload.ask({ type: 'remove', id: host.id });
    }
  },
  'spec-change'(faults) {
    faults.parts.workload.ask({ type: 'retime', timing: someTiming(faults.random) });
  },
};

function isIn(leader: SimHost, host: SimHost): boolean {
  const config = leader.config();
  if (config === null) return false;
  return [...config.voters, ...config.learners].includes(host.id);
}

/** Any timing that the bounds allow, so that promises of all lengths meet, or one that adapts. */
function someTiming(random: Prng): Timing | 'auto' {
  const promiseMs = intBetween(random, 150, 1_200);
  const heartbeatMs = intBetween(random, 20, Math.floor(promiseMs / 4));
  const jitterMs = intBetween(random, 30, 200);
  return promiseMs % 4 === 0 ? 'auto' : { promiseMs, heartbeatMs, jitterMs };
}

function names(hosts: readonly SimHost[]): string {
  return hosts.map((host) => host.id).join(',');
}
