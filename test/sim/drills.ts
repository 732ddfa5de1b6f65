/**
 * What a healthy cluster must do, tried once at the end of each run: move the VIP quickly when its
 * holder dies or is stopped, and stay as it is while one other host misbehaves.
 */
import { unreachable } from '../../src/base/assert.ts';
import type { Millis } from '../../src/base/clock.ts';
import { type Prng, pick } from '../../src/base/prng.ts';
import type { Timing } from '../../src/raft/types.ts';
import { newestLeader, type SimHost } from './host.ts';
import type { SimNet } from './net.ts';
import type { World } from './world.ts';

const kinds = [
  'crash',
  'stop',
  'link',
  'deaf',
  'mute',
  'full',
  'blackout',
  'all-full',
  'disruption',
] as const;
export type DrillKind = (typeof kinds)[number];

/** How long the VIP was away, for the drills that move it. */
export interface DrillResult {
  readonly kind: DrillKind;
  readonly timing: Timing;
  readonly gapMs: Millis;
}

export interface DrillParts {
  readonly world: World;
  readonly net: SimNet;
  readonly hosts: readonly SimHost[];
  readonly vip: string;
}

/** Two fsyncs, a few round trips and the kernel calls: nothing waits for a timer. */
const STOP_BOUND_MS = 100;
/** A leader that may not hold the VIP looks for a successor at its next slow tick. */
const LINK_BOUND_MS = 400;
const DISRUPTION_MS = 3_000;
/** Noticed at a slow tick; then the others are given a second to say how their disks are. */
const FULL_BOUND_MS = 1_700;
const ALL_FULL_MS = 3_000;
/** Until hosts whose power went are started again. */
const DARK_MS = 500;

/** A crash is noticed after E and the jitter; one split vote costs a promise more. */
function crashBoundMs(timing: Timing): Millis {
  return 2.2 * timing.promiseMs + 2 * timing.jitterMs + 100;
}

/** Runs one drill, chosen by the seed; null where the cluster is too small for it. */
export async function drill(parts: DrillParts): Promise<DrillResult | null> {
  const { world, hosts } = parts;
  const random = world.random('drill');
  const leader = newestLeader(hosts);
  const config = leader?.config();
  if (leader === undefined || config === undefined || config === null) return null;
  if (config.voters.length < 3) return null;
  const kind: DrillKind = pick(random, kinds);
  const timing = leader.timing();
  world.note('WORLD', `drill: ${kind} (E ${timing.promiseMs})`);
  if (kind === 'disruption') return disrupt(parts, leader, random);
  if (kind === 'all-full') return fillAll(parts, leader);
  // After a blackout anybody may be the next.
  const former = kind === 'blackout' ? null : leader;
  const gapMs = await gap(parts, former, strike(kind, leader, parts));
  return { kind, timing, gapMs };
}

/** Takes the VIP from `leader`; returns how long it may be away, ms. */
function strike(
  kind: Exclude<DrillKind, 'disruption' | 'all-full'>,
  leader: SimHost,
  { net, hosts, world }: DrillParts,
): Millis {
  const timing = leader.timing();
  switch (kind) {
    case 'crash':
      leader.kill();
      return crashBoundMs(timing);
    case 'stop':
      leader.stop(() => undefined);
      return STOP_BOUND_MS;
    case 'link':
      leader.setLink(false);
      return LINK_BOUND_MS;
    case 'full':
      leader.disk.fill(world.now + 10 * FULL_BOUND_MS);
      return FULL_BOUND_MS;
    case 'blackout':
      // All lose their power at once, and what they had not synced.
      for (const host of hosts) host.powerCut();
      world.after(DARK_MS, () => {
        for (const host of hosts) host.start();
      });
      return DARK_MS + 1.1 * longestOwed(hosts) + crashBoundMs(timing);
    case 'deaf':
      // It goes on asking for promises until E later, though for shorter and shorter ones (R9).
      for (const host of hosts) net.cut(host.id, leader.id);
      return crashBoundMs(timing) + 3 * timing.heartbeatMs;
    case 'mute':
      for (const host of hosts) net.cut(leader.id, host.id);
      return crashBoundMs(timing);
    default:
      return unreachable(kind);
  }
}

/**
 * From now until another host answers; a failure beyond `bound`. That a killed holder's kernel goes
 * on answering for a while helps nobody: who would serve is dead.
 */
async function gap(parts: DrillParts, former: SimHost | null, bound: Millis): Promise<Millis> {
  const { world, hosts, vip } = parts;
  const began = world.now;
  let found: Millis | null = null;
  const look = (): void => {
    if (hosts.some((host) => host !== former && host.answers(vip))) found ??= world.now;
  };
  await world.run(began + 2 * bound + 1_000, look, () => found !== null);
  const gapMs = (found ?? Number.POSITIVE_INFINITY) - began;
  if (gapMs > bound) world.fail('quick-failover', `the VIP was away for ${gapMs.toFixed(0)} ms`);
  return gapMs;
}

/** What rule R2 makes a host wait for after its start, ms: a shorter E has not shortened it. */
function longestOwed(hosts: readonly SimHost[]): Millis {
  return Math.max(...hosts.map(({ disk }) => disk.platters.hard.promiseMaxMs));
}

/** Nobody can write: whoever leads goes on leading, and holds the VIP. */
async function fillAll({ world, hosts, vip }: DrillParts, leader: SimHost): Promise<null> {
  const term = leader.lease?.term;
  const until = world.now + ALL_FULL_MS;
  for (const host of hosts) host.disk.fill(until);
  await world.run(until + 1_000, () => {
    const { lease } = leader;
    if (lease?.role !== 'leader' || lease.term !== term || !leader.answers(vip)) {
      world.fail('kept-on-full-disks', `${leader.id} gave up the VIP, and nobody could take it`);
    }
  });
  return null;
}

/** One follower flaps, restarts and sleeps; whoever leads goes on leading. */
async function disrupt(parts: DrillParts, leader: SimHost, random: Prng): Promise<null> {
  const { world, net, hosts, vip } = parts;
  const term = leader.lease?.term;
  const rebel = pick(
    random,
    hosts.filter((host) => host !== leader && host.isVoter()),
  );
  const flaps: readonly (() => void)[] = [
    () => rebel.kill(),
    () => rebel.start(),
    () => rebel.pause(600 * random()),
    () => rebel.changeRates(),
    () => net.cut(pick(random, hosts).id, rebel.id),
    () => net.cut(rebel.id, pick(random, hosts).id),
    // Deaf for longer than any promise, it wants to be elected, and says so.
    () => {
      for (const host of hosts) net.cut(host.id, rebel.id);
    },
    () => net.restoreAll(),
  ];
  const flap = (): void => {
    if (world.now >= until) return;
    pick(random, flaps)();
    world.after(pick(random, [300, 300, 2_000]) * random(), flap);
  };
  const until = world.now + DISRUPTION_MS;
  flap();
  await world.run(until, () => {
    const { lease } = leader;
    if (lease?.role !== 'leader' || lease.term !== term) {
      world.fail('no-disruption', `${rebel.id} unseated ${leader.id} from term ${term}`);
    } else if (!leader.answers(vip)) {
      world.fail('no-disruption', `${rebel.id} made ${leader.id} drop the VIP`);
    }
  });
  return null;
}
