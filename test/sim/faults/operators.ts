/** What operators ask for at the wrong moment, or of the wrong host. */
import { intBetween, type Prng, pick } from '../../../src/base/prng.ts';
import type { NodeId, Timing } from '../../../src/raft/types.ts';
import type { Faults } from '../faults.ts';
import { newestLeader, type SimHost } from '../host.ts';
import type { FaultKind } from '../options.ts';
import type { Catalogue } from './fault.ts';

/** How slow a transfer's target may be. */
const SLOW_TARGET_MS = 400;

type Kind =
  | 'spec-change'
  | 'transfer'
  | 'transfer-to-dead'
  | 'transfer-to-slow'
  | 'transfer-to-learner'
  | 'transfer-to-self'
  | 'transfer-to-removed'
  | 'two-transfers';

export const operatorFaults: Catalogue<Kind> = {
  'spec-change'(faults) {
    const timing = someTiming(faults.random);
    faults.parts.workload.ask({ type: 'retime', timing }, 'spec-change');
    return 'asked';
  },
  transfer(faults) {
    const to = faults.random() < 0.5 ? null : pick(faults.random, faults.parts.hosts).id;
    faults.parts.workload.ask({ type: 'transfer', to }, 'transfer');
    return 'asked';
  },
  /** Dead since just now, so that the leader may not know. */
  'transfer-to-dead'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    const target = otherVoter(faults, leader);
    if (leader === undefined || target === undefined) return false;
    target.kill();
    faults.later(faults.duration(), () => target.start());
    return transfer(faults, leader, target.id, 'transfer-to-dead');
  },
  'transfer-to-slow'(faults) {
    const { net, hosts, world } = faults.parts;
    const leader = newestLeader(hosts);
    const target = otherVoter(faults, leader);
    if (leader === undefined || target === undefined) return false;
    const ms = SLOW_TARGET_MS * faults.random();
    net.slow(leader.id, target.id, ms);
    if (faults.random() < 0.5) target.disk.stall(world.now + ms);
    if (faults.random() < 0.3) target.pause(ms);
    faults.later(1_000, () => net.slow(leader.id, target.id, 0));
    return transfer(faults, leader, target.id, 'transfer-to-slow');
  },
  'transfer-to-learner'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    const [learner] = leader?.config()?.learners ?? [];
    if (leader === undefined || learner === undefined) return false;
    return transfer(faults, leader, learner, 'transfer-to-learner');
  },
  'transfer-to-self'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    if (leader === undefined) return false;
    return transfer(faults, leader, leader.id, 'transfer-to-self');
  },
  'transfer-to-removed'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    const removed = leader?.state()?.removedIds ?? [];
    if (leader === undefined || removed.length === 0) return false;
    return transfer(faults, leader, pick(faults.random, removed), 'transfer-to-removed');
  },
  'two-transfers'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    const one = otherVoter(faults, leader);
    const other = otherVoter(faults, leader);
    if (leader === undefined || one === undefined || other === undefined) return false;
    transfer(faults, leader, one.id, 'transfer');
    const ask = (): unknown => transfer(faults, leader, other.id, 'two-transfers');
    if (faults.random() < 0.5) faults.later(20 * faults.random(), ask);
    else ask();
    return 'asked';
  },
};

function transfer(faults: Faults, leader: SimHost, to: NodeId, as: FaultKind): 'asked' {
  faults.parts.workload.askOf(leader, { type: 'transfer', to }, as);
  return 'asked';
}

function otherVoter(faults: Faults, leader: SimHost | undefined): SimHost | undefined {
  const others = faults.parts.hosts.filter(
    (host) => host !== leader && host.isUp && host.isVoter(),
  );
  return others.length === 0 ? undefined : pick(faults.random, others);
}

/** Any timing that the bounds allow, so that promises of all lengths meet, or one that adapts. */
function someTiming(random: Prng): Timing | 'auto' {
  const promiseMs = intBetween(random, 150, 1_200);
  const heartbeatMs = intBetween(random, 20, Math.floor(promiseMs / 4));
  const jitterMs = intBetween(random, 30, 200);
  return promiseMs % 4 === 0 ? 'auto' : { promiseMs, heartbeatMs, jitterMs };
}
