/**
 * What the agent tells of itself, to `status` and to the HTTP port: the rooms' views, translated.
 */
import type { Clock } from '../base/clock.ts';
import type { LocalFacts, LocalVip, PeerContact } from '../cluster/local-facts.ts';
import type { ClusterNode } from '../cluster/node.ts';
import type { Observation } from '../cluster/observations.ts';
import type { TimingView } from '../cluster/timing-choice.ts';
import type { HttpFacts } from '../http/facts.ts';
import { type HealthReport, reportOf } from '../http/health.ts';
import type { LbController } from '../lb/controller.ts';
import type { HostFence } from '../linux/host-fence.ts';
import type { Eligibility } from '../raft/types.ts';
import type { PeerView } from '../rpc/transport.ts';
import type { VipController } from '../vip/controller.ts';
import type { PlacedVip } from './placement.ts';

/** The line behind the fences: the address goes by itself when nobody refreshes it. */
const ADDRESS_LIFETIME = 'lifetime';

export interface FactSources {
  readonly clock: Clock;
  readonly version: string;
  readonly name: string;
  readonly node: ClusterNode;
  readonly vip: VipController;
  readonly lb: LbController;
  readonly fence: HostFence;
  readonly peers: () => readonly PeerView[];
  readonly placed: () => readonly PlacedVip[];
  readonly eligibility: () => Eligibility;
  readonly alarms: () => readonly string[];
  /** What this host sees of a VIP that another one holds; null while it has not looked. */
  readonly observed: (address: string) => Observation | null;
  /** Foreign claims of VIPs held here, and strangers found to answer for one. */
  readonly conflicts: () => number;
}

/** What of it is needed to tell of this host alone. */
export interface LocalSources
  extends Pick<
    FactSources,
    'version' | 'name' | 'peers' | 'placed' | 'eligibility' | 'alarms' | 'observed'
  > {
  readonly vip: Pick<VipController, 'view'>;
  readonly lb: Pick<LbController, 'view'>;
  readonly fence: Pick<HostFence, 'standing'>;
}

export function localFacts(from: LocalSources): LocalFacts {
  return {
    name: from.name,
    version: from.version,
    eligibility: from.eligibility(),
    fences: [...from.fence.standing(), ADDRESS_LIFETIME],
    vips: localVips(from),
    frontends: from.lb.view(),
    contacts: new Map(from.peers().map((peer) => [peer.id, contact(peer)])),
    alarms: from.alarms(),
  };
}

/** Another fence guards meanwhile, but no single one is to be relied on. */
export function fenceAlarms(fence: Pick<HostFence, 'trouble'>): readonly string[] {
  const trouble = fence.trouble();
  if (trouble === null) return [];
  return [`eBPF alone guards the VIPs on this host: ${trouble}; see \`holdfast doctor\``];
}

function localVips({ vip, placed, observed }: LocalSources): readonly LocalVip[] {
  const views = new Map(vip.view().map((view) => [view.address, view]));
  return placed().map(({ address, interface: link, from, problem }) => {
    const view = views.get(address);
    return {
      address,
      interface: link,
      interfaceFrom: from,
      heldHere: view?.heldHere ?? false,
      sinceWallMs: view?.sinceWallMs ?? null,
      reason: view?.reason ?? problem ?? 'not looked at yet',
      observed: observed(address),
    };
  });
}

function contact({ connected, lastHeardMs }: PeerView): PeerContact {
  return {
    // Followers have nothing to say to each other: a standing connection is all there is to know.
    reachable: connected,
    lastContactMs: lastHeardMs === null ? null : Math.round(lastHeardMs),
  };
}

export function httpFacts(from: FactSources): HttpFacts {
  const view = from.node.view();
  const raft = from.node.raftStatus();
  const vip = from.vip.counters();
  const lb = from.lb.counters();
  const members: Record<string, number> = { voter: 0, learner: 0, witness: 0 };
  for (const { role } of view.state.members) members[role] = (members[role] ?? 0) + 1;
  const backends = new Map(from.lb.view().map((frontend) => [frontend.name, frontend.backends]));
  return {
    version: from.version,
    node: from.name,
    raft: {
      isLeader: view.role === 'leader',
      hasLeader: view.quorum,
      term: view.term,
      commitIndex: raft.commit,
      appliedIndex: view.appliedIndex,
      members,
      proposals: from.node.proposalsMade(),
      leaderChanges: from.node.leaderChanges(),
    },
    vips: from.vip.view().map(({ address, heldHere }) => ({
      address,
      heldHere,
      transitions: vip.claims + vip.withdrawals,
    })),
    leaseRemainingMs: Math.max(0, view.lease.deadline - from.clock.now()),
    timing: timingFacts(from.node.timing()),
    fence: {
      renewals: vip.fenceRenewals,
      misses: vip.fenceLosses,
      expiries: vip.lateDrops,
      droppedFrames: from.fence.drops(),
      standing: from.fence.standing(),
    },
    announcements: vip.announcementsSent,
    announcementsFailed: vip.announcementsFailed,
    conflicts: from.conflicts(),
    repairs: vip.repairs,
    frontends: lb.frontends.map((frontend) => ({
      ...frontend,
      backends: backends.get(frontend.name) ?? [],
    })),
    proxyWorkerRestarts: lb.workerRestarts,
    steeringFailures: lb.steeringFailures,
  };
}

function timingFacts({ timing, delayMs, changes }: TimingView): HttpFacts['timing'] {
  return { promiseMs: timing.promiseMs, delayMs, changes };
}

/** Whether this process does its work; when it does not, a restart helps. */
export function livez({ node }: FactSources): HealthReport {
  const running = node.isRunning();
  const detail = running ? 'takes part' : 'has stopped';
  return reportOf([{ name: 'node', ok: running, detail }]);
}

/** Whether this node serves its purpose now: it is a member, and the cluster has a leader. */
export function readyz({ node }: FactSources): HealthReport {
  const view = node.view();
  const isMember = view.state.members.some(({ id }) => id === view.selfId);
  const known = `known in term ${view.term}`;
  return reportOf([
    { name: 'member', ok: isMember, detail: isMember ? 'of the cluster' : 'not a member' },
    {
      name: 'leader',
      ok: view.quorum,
      detail: view.quorum ? known : 'no leader with a quorum is known',
    },
  ]);
}
