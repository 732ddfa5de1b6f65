/**
 * What kind of world a seed makes: size, timing, and a random *subset* of the faults at random
 * rates. The subset matters more than the rates: a fault that is always there hides what happens
 * without it (swarm testing, Groce et al., ISSTA 2012).
 */
import type { Millis } from '../../src/base/clock.ts';
import { intBetween, type Prng, pick } from '../../src/base/prng.ts';
import type { Timing } from '../../src/raft/types.ts';
import type { DiskTiming } from './disk.ts';
import type { NetTiming } from './net.ts';
import { describeRanks, type Ranks, ranksOf } from './ranks.ts';
import type { World } from './world.ts';

/** What may happen to a running cluster, by name. */
export const faultKinds = [
  // Processes and hosts.
  'kill',
  'power-cut',
  'quick-restart',
  'pause',
  'vm-pause',
  'siege',
  'drowse',
  'graceful-stop',
  'clock-rate',
  'wall-clock',
  // Links.
  'cut-one-way',
  'isolate',
  'deafen',
  'partition',
  'bridge',
  'swizzle-clog',
  'slow-link',
  'lone-writes',
  'stale-messages',
  // Disks.
  'disk-stall',
  'disk-full',
  'disk-slow',
  'disk-error',
  'torn-write',
  'disk-lost',
  // The kernel and the segment of the VIP.
  'link-down',
  'address-deleted',
  'netlink-error',
  'netlink-slow',
  'fence-error',
  'fence-removed',
  'stranger',
  // Members.
  'member-change',
  'promote',
  'replace',
  'move',
  'drain',
  'return-removed',
  'grow',
  'shrink',
  'change-in-transfer',
  'change-in-snapshot',
  'recovery',
  // Operators.
  'spec-change',
  'transfer',
  'transfer-to-dead',
  'transfer-to-slow',
  'transfer-to-learner',
  'transfer-to-self',
  'transfer-to-removed',
  'two-transfers',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** What a seed's world is like throughout, counted beside the faults. */
export const conditions = [
  'loss',
  'duplicates',
  'late messages',
  'clock drift',
  'sleep before an effect',
  'slow fsync',
  'grown one by one',
  'overlap after vm-pause',
  'wild-clocks',
  'disk-rollback',
] as const;

/**
 * `promised`: within what the product promises. The others are outside of it, and show what is lost
 * there: `wild-clocks` may cost what counts time (the VIP, promises), `disk-rollback` anything.
 */
export const modes = ['promised', 'wild-clocks', 'disk-rollback'] as const;

export type Mode = (typeof modes)[number];

export interface Options {
  readonly mode: Mode;
  readonly nodes: number;
  /** `formed`: all are voters from the start; `grown`: the first admits the others. */
  readonly start: 'formed' | 'grown';
  readonly timing: Timing | 'auto';
  /** How long faults go on, ms of true time. */
  readonly faultyMs: Millis;
  readonly faults: readonly FaultKind[];
  /** Mean time between two faults. */
  readonly faultEveryMs: Millis;
  /** How often a fault picks the leader, or whoever holds the VIP, as its victim. */
  readonly aimAtLeader: number;
  readonly net: NetTiming;
  readonly disk: DiskTiming;
  /** Bound on the error of the clocks' rates. */
  readonly drift: number;
  /** How often a process sleeps right before an effect. */
  readonly hesitateChance: number;
  readonly hesitateMs: Millis;
  /** Mean time between two proposals; long, so that logs stay equal while links are cut. */
  readonly proposeEveryMs: Millis;
  readonly compactAfterEntries: number;
  /** Transports talk to members only, as seen by each side; else to anybody. */
  readonly pinnedPeers: boolean;
  /** `true`: nobody sets the wall clocks, whatever the faults. */
  readonly wallClocks: 'jump' | 'true';
  readonly ranks: Ranks;
}

/** ρ of LEASE: the promise arithmetic holds up to it, so the simulator goes to its edge. */
export const DRIFT_BOUND = 0.01;
/** How many seeds leave what is promised, for each way to leave it. */
const WILD_SHARE = 0.02;

const timings: readonly Timing[] = [
  { heartbeatMs: 30, promiseMs: 230, jitterMs: 60 },
  { heartbeatMs: 50, promiseMs: 400, jitterMs: 150 },
  { heartbeatMs: 75, promiseMs: 600, jitterMs: 200 },
];
/** The share of worlds whose leaders choose their timing themselves. */
const AUTO_SHARE = 0.25;

export function optionsOf(world: World): Options {
  const random = world.random('options');
  const nodes = pick(random, [1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]);
  const ranks = ranksOf(world, nodes);
  return {
    mode: modeOf(world.random('mode')),
    nodes,
    start: nodes > 1 && random() < 0.35 ? 'grown' : 'formed',
    timing: timingOf(world, pick(random, timings)),
    faultyMs: intBetween(random, 6_000, 14_000),
    // Removed from the hosts of a witness one by one, nobody would be left to hold the VIP.
    faults: someFaults(random).filter((it) => it !== 'member-change' || ranks.witness === null),
    faultEveryMs: pick(random, [150, 400, 900, 2_000]),
    aimAtLeader: pick(random, [0.2, 0.5, 0.8]),
    net: netOf(random),
    disk: {
      syncMeanMs: pick(random, [0.2, 1, 5, 15]),
      slowChance: pick(random, [0, 0, 0.002, 0.01]),
    },
    drift: pick(random, [0, DRIFT_BOUND, DRIFT_BOUND]),
    ...hesitationOf(random),
    proposeEveryMs: pick(random, [20, 80, 400, 4_000]),
    compactAfterEntries: pick(random, [8, 30, 200]),
    pinnedPeers: random() < 0.5,
    ranks,
    wallClocks: 'jump',
  };
}

function timingOf(world: World, timing: Timing): Options['timing'] {
  return world.random('timing')() < AUTO_SHARE ? 'auto' : timing;
}

function modeOf(random: Prng): Mode {
  const draw = random();
  if (draw < WILD_SHARE) return 'wild-clocks';
  return draw < 2 * WILD_SHARE ? 'disk-rollback' : 'promised';
}

/** Sometimes a few kinds again and again, sometimes nearly all of them. */
function someFaults(random: Prng): FaultKind[] {
  const share = pick(random, [0.1, 0.2, 0.4]);
  return faultKinds.filter(() => random() < share);
}

function netOf(random: Prng): NetTiming {
  return {
    minMs: 0.05,
    meanMs: pick(random, [0.2, 1, 4]),
    tailChance: pick(random, [0, 0.001, 0.01, 0.05]),
    tailMs: pick(random, [100, 600, 3_000]),
    lossChance: pick(random, [0, 0, 0.01, 0.1]),
    duplicateChance: pick(random, [0, 0, 0.02, 0.1]),
  };
}

function hesitationOf(random: Prng): Pick<Options, 'hesitateChance' | 'hesitateMs'> {
  return {
    hesitateChance: pick(random, [0, 0, 0.0003, 0.002]),
    hesitateMs: pick(random, [20, 150, 800]),
  };
}

/** One line for a person, and for the trace's hash. */
export function describeOptions(options: Options): string {
  const { mode, nodes, start, timing, faultyMs, faults, faultEveryMs, net, disk } = options;
  return [
    ...(mode === 'promised' ? [] : [mode]),
    `${nodes} nodes ${start}, E ${timing === 'auto' ? timing : timing.promiseMs}`,
    `${faultyMs} ms of faults each ~${faultEveryMs}`,
    `[${faults.join(' ')}]`,
    `delay ${net.meanMs} tail ${net.tailChance}x${net.tailMs} loss ${net.lossChance}`,
    `dup ${net.duplicateChance}, fsync ${disk.syncMeanMs} slow ${disk.slowChance}`,
    `drift ${options.drift}, hesitate ${options.hesitateChance}x${options.hesitateMs}`,
    `cut at ${options.compactAfterEntries}${options.pinnedPeers ? ', pinned' : ''}`,
    describeRanks(options.ranks),
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** Which of {@link conditions} these options make. */
export function conditionsOf({ mode, net, disk, drift, hesitateChance, start }: Options): string[] {
  const held: readonly [(typeof conditions)[number], boolean][] = [
    ['loss', net.lossChance > 0],
    ['duplicates', net.duplicateChance > 0],
    ['late messages', net.tailChance > 0],
    ['clock drift', drift > 0],
    ['sleep before an effect', hesitateChance > 0],
    ['slow fsync', disk.slowChance > 0],
    ['grown one by one', start === 'grown'],
    ['wild-clocks', mode === 'wild-clocks'],
  ];
  return held.filter(([, holds]) => holds).map(([name]) => name);
}
