/** Faults of the network between the members. */
import { intBetween, pick } from '../../../src/base/prng.ts';
import { newestLeader } from '../host.ts';
import { type Catalogue, names } from './fault.ts';

/** How much a slow link adds to each message at most. */
const SLOWEST_LINK_MS = 800;
/** When messages of a former process come again after its successor's start. */
const STALE_WITHIN_MS = 1_500;

/** Of writes that nobody commits; logs that are compacted less often are left alone. */
const LONGEST_RUN = 60;

type Kind =
  | 'cut-one-way'
  | 'isolate'
  | 'deafen'
  | 'partition'
  | 'bridge'
  | 'swizzle-clog'
  | 'slow-link'
  | 'lone-writes'
  | 'stale-messages';

export const linkFaults: Catalogue<Kind> = {
  'cut-one-way'(faults) {
    const from = faults.victim();
    const to = pick(faults.random, faults.parts.hosts);
    faults.cut([from], [to], faults.duration());
    return from !== to;
  },
  isolate(faults) {
    const host = faults.victim();
    const ms = faults.duration();
    faults.cut([host], faults.parts.hosts, ms);
    faults.cut(faults.parts.hosts, [host], ms);
    return true;
  },
  deafen(faults) {
    const host = faults.victim();
    const others = faults.parts.hosts;
    if (faults.random() < 0.5) faults.cut(others, [host], faults.duration());
    else faults.cut([host], others, faults.duration());
    return true;
  },
  partition(faults) {
    const [left, right] = faults.split();
    const ms = faults.duration();
    faults.cut(left, right, ms);
    faults.cut(right, left, ms);
    return left.length > 0 && right.length > 0;
  },
  bridge(faults) {
    const middle = pick(faults.random, faults.parts.hosts);
    const [left, right] = faults.split().map((side) => side.filter((host) => host !== middle));
    const ms = faults.duration();
    faults.cut(left ?? [], right ?? [], ms);
    faults.cut(right ?? [], left ?? [], ms);
    return true;
  },
  /** Hosts lose all their links one after another and get them back in another order. */
  'swizzle-clog'(faults) {
    const [chosen] = faults.split();
    const { net, hosts } = faults.parts;
    if (chosen.length < 2) return false;
    const stepMs = faults.duration() / chosen.length;
    const clog = (id: string, how: 'cut' | 'restore'): void => {
      for (const { id: other } of hosts) {
        if (other === id) continue;
        net[how](id, other);
        net[how](other, id);
      }
      faults.note(`${how === 'cut' ? 'clogs' : 'unclogs'} ${id}`);
    };
    chosen.forEach(({ id }, at) => {
      faults.later(at * stepMs, () => clog(id, 'cut'));
    });
    const back = faults.shuffled(chosen);
    back.forEach(({ id }, at) => {
      faults.later((chosen.length + at) * stepMs, () => clog(id, 'restore'));
    });
    return true;
  },
  'slow-link'(faults) {
    const { net, hosts } = faults.parts;
    const from = faults.victim();
    const ms = SLOWEST_LINK_MS * faults.random();
    const others = hosts.filter((host) => host !== from && faults.random() < 0.5);
    faults.note(`slow ${from.id} > ${names(others)} by up to ${ms.toFixed(0)} ms`);
    for (const to of others) net.slow(from.id, to.id, ms);
    faults.later(faults.duration(), () => {
      for (const to of others) net.slow(from.id, to.id, 0);
    });
    return others.length > 0;
  },
  /**
   * A leader that is cut off takes a long run of writes that nobody will ever commit, while the
   * others go on by fewer and compact their log: what it gets then is a snapshot from the middle of
   * what it must forget.
   */
  'lone-writes'(faults) {
    const { hosts, options, workload } = faults.parts;
    const leader = newestLeader(hosts);
    const others = hosts.filter((host) => host !== leader);
    const entries = options.compactAfterEntries;
    if (leader === undefined || !leader.isVoter() || entries > LONGEST_RUN) return false;
    const ms = 5 * leader.timing().promiseMs;
    faults.undisturbed(ms);
    workload.hush(ms);
    faults.cut([leader], others, ms);
    faults.cut(others, [leader], ms);
    for (let at = 0; at < 3 * entries; at++) faults.later(at, () => workload.writeTo(leader));
    for (let at = 0; at < 1.4 * entries; at++) {
      faults.later(0.6 * ms + 2 * at, () => {
        const next = newestLeader(others);
        if (next !== undefined) workload.writeTo(next);
      });
    }
    return true;
  },
  /** A process is killed, and what was said to and by it arrives after its successor's start. */
  'stale-messages'(faults) {
    const { net } = faults.parts;
    const host = faults.victim();
    if (!host.isUp) return false;
    const past = net.past(host.id);
    if (past.length === 0) return false;
    host.kill();
    const again = faults.shuffled(past).slice(0, intBetween(faults.random, 5, 40));
    faults.later(1 + 30 * faults.random(), () => {
      host.start();
      for (const message of again) {
        faults.later(STALE_WITHIN_MS * faults.random(), () => net.sendAgain(message));
      }
    });
    return true;
  },
};
