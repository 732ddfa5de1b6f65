/**
 * Facts → the status document. Pure. It judges with what this node knows, and says null where it
 * does not know.
 */
import type { PeerStatus, RaftStatus } from '../raft/rawnode.ts';
import { eligibilityOf } from './assign.ts';
import { isoTime } from './duration.ts';
import type { LocalFacts } from './local-facts.ts';
import type { Observed } from './observations.ts';
import { observedBy } from './observed-by.ts';
import type { FrontendSpec } from './spec.ts';
import { type ClusterState, type Member, memberById } from './state.ts';
import type {
  FrontendStatus,
  MemberStatus,
  StatusDocument,
  TransitionStatus,
  VipStatus,
} from './status-document.ts';
import { statusWarnings } from './status-warnings.ts';
import { timingName, timingOf } from './timing.ts';
import type { TimingView } from './timing-choice.ts';
import type { Transition } from './transitions.ts';
import type { ClusterView } from './view.ts';

export interface StatusFacts {
  readonly kind: 'local' | 'linearizable';
  readonly view: ClusterView;
  readonly raft: RaftStatus;
  readonly transitions: readonly Transition[];
  readonly timing: TimingView;
  readonly local: LocalFacts;
  /** What members have told this node, as leader, of the VIPs. */
  readonly observed: readonly Observed[];
  readonly wallNowMs: number;
  /** How old `view` is. */
  readonly ageMs: number;
}

export function buildStatus(facts: StatusFacts): StatusDocument {
  const { view, local } = facts;
  const { eligibility } = local;
  const problem = eligibility.eligible ? null : eligibility.reason;
  const own = eligibilityOf(view, { marginMs: 0, problem });
  const { state } = view;
  const members = state.members.map((member) => memberStatus(member, facts));
  const failuresLeft = countFailuresLeft(facts, members);
  const { warnings, verdict } = statusWarnings(facts, members, failuresLeft);
  return {
    apiVersion: 'holdfast/v1',
    view: { kind: facts.kind, ageMs: Math.max(0, Math.round(facts.ageMs)) },
    verdict,
    warnings,
    cluster: {
      id: state.clusterId,
      name: state.clusterName,
      leader: nameOf(state, view.leader),
      term: view.term,
      revision: state.specRevision,
      quorum: view.quorum,
      failuresLeft,
      timing: timingStatus(facts.timing),
    },
    self: {
      id: view.selfId,
      name: local.name,
      role: selfRole(view),
      version: local.version,
      eligible: own.eligible,
      reason: own.reason,
      fences: local.fences,
    },
    members,
    vips: state.spec.vips.map((vip) => vipStatus(vip.address, vip.interface, facts)),
    frontends: state.spec.frontends.map((each) => frontendStatus(each, local)),
    transitions: transitionStatuses(facts),
  };
}

function nameOf(state: ClusterState, id: string | null): string | null {
  return id === null ? null : (memberById(state, id)?.name ?? id);
}

function timingStatus({ name, timing, reason }: TimingView): StatusDocument['cluster']['timing'] {
  const { heartbeatMs, promiseMs } = timing;
  return { profile: name, heartbeatMs, promiseMs, reason };
}

/** What the spec says: which of its timings `auto` would choose, only an agent knows. */
function timingOffline({ spec }: ClusterState): StatusDocument['cluster']['timing'] {
  const { heartbeatMs, promiseMs } = timingOf(spec.timing);
  return { profile: timingName(spec.timing), heartbeatMs, promiseMs, reason: null };
}

function selfRole(view: ClusterView): StatusDocument['self']['role'] {
  if (view.removed) return null;
  const member = memberById(view.state, view.selfId);
  if (member?.role === 'witness') return 'witness';
  if (member === undefined || member.role === 'learner') return 'learner';
  return view.role === 'pre-candidate' ? 'candidate' : view.role;
}

function memberStatus(member: Member, facts: StatusFacts): MemberStatus {
  const { id, name, address, role } = member;
  const isSelf = id === facts.view.selfId;
  const peer = facts.raft.peers.find((each) => each.id === id);
  return {
    id,
    name,
    address,
    role,
    reachable: isSelf ? true : (contactOf(peer, facts, id)?.reachable ?? null),
    lastContactMs: isSelf ? 0 : (contactOf(peer, facts, id)?.lastContactMs ?? null),
    matchIndex: isSelf ? facts.raft.lastIndex : (peer?.match ?? null),
    version: member.version || null,
    certExpires: member.certExpires || null,
    priority: member.priority,
    draining: member.draining,
  };
}

/** The leader counts echoed heartbeats; the others know only what their transport heard. */
function contactOf(peer: PeerStatus | undefined, facts: StatusFacts, id: string) {
  if (peer === undefined) return facts.local.contacts.get(id);
  const { recentlyActive, lastEchoMs } = peer;
  const lastContactMs = lastEchoMs === null ? null : Math.round(lastEchoMs);
  return { reachable: recentlyActive, lastContactMs };
}

/** How many more voters may fail; null where nobody can tell. */
function countFailuresLeft(facts: StatusFacts, members: readonly MemberStatus[]): number | null {
  const voters = members.filter((member) => member.role !== 'learner');
  if (!facts.view.quorum || voters.some((voter) => voter.reachable === null)) return null;
  const up = voters.filter((voter) => voter.reachable === true).length;
  return Math.max(0, up - (Math.floor(voters.length / 2) + 1));
}

function vipStatus(address: string, specified: string | null, facts: StatusFacts): VipStatus {
  const { view, local } = facts;
  const here = local.vips.find((vip) => vip.address === address);
  const heldHere = here?.heldHere ?? false;
  const leader = nameOf(view.state, view.leader);
  const isLeader = view.leader === view.selfId;
  return {
    address,
    interface: here?.interface ?? specified,
    interfaceFrom: here?.interfaceFrom ?? (specified === null ? null : 'spec'),
    // As follower: whoever leads with a quorum behind it is the only one that may hold it.
    holder: (isLeader ? heldHere : view.quorum) ? leader : null,
    heldHere,
    since: vipSince(isLeader ? (here?.sinceWallMs ?? null) : null, facts),
    reason: here?.reason ?? 'this host does not carry it',
    observedBy: observedBy(address, facts),
  };
}

function vipSince(ownSinceWallMs: number | null, facts: StatusFacts): string | null {
  const since = ownSinceWallMs ?? facts.transitions[0]?.atWallMs ?? null;
  return since === null ? null : isoTime(since);
}

function frontendStatus(spec: FrontendSpec, local: LocalFacts): FrontendStatus {
  const here = local.frontends.find((each) => each.name === spec.name);
  return {
    name: spec.name,
    address: spec.vip,
    port: spec.port,
    dataPath: here?.dataPath ?? spec.dataPath,
    dataPathReason: here?.dataPathReason ?? 'not in force on this host',
    backends: (here?.backends ?? []).map(({ sinceWallMs, ...backend }) => ({
      ...backend,
      since: isoTime(sinceWallMs),
    })),
  };
}

function transitionStatuses(facts: StatusFacts): TransitionStatus[] {
  return facts.transitions.flatMap((transition) =>
    facts.view.state.spec.vips.map((vip) => ({
      at: isoTime(transition.atWallMs),
      vip: vip.address,
      from: transition.from,
      to: transition.to,
      reason: transition.reason,
    })),
  );
}

export interface OfflineFacts {
  readonly version: string;
  readonly self: { readonly id: string; readonly name: string; readonly clusterId: string };
  /** The state in the data directory; null where it could not be read. */
  readonly state: ClusterState | null;
  /** Term in the data directory; null where it could not be read. */
  readonly term: number | null;
  /** VIPs of ours that the kernel has although no agent runs. */
  readonly heldHere: readonly { readonly address: string; readonly interface: string }[];
  /** Further sentences: why the directory could not be read. */
  readonly warnings: readonly string[];
}

/**
 * What can be said while the agent is down: what was last written, and what the kernel still has.
 */
export function offlineStatus(facts: OfflineFacts): StatusDocument {
  const { self, state } = facts;
  const stray = facts.heldHere.map(
    ({ address }) => `${address} is still on this host: run \`holdfast cleanup\``,
  );
  const down = 'the agent is not running on this host: `systemctl start holdfast`';
  return {
    apiVersion: 'holdfast/v1',
    view: { kind: 'offline', ageMs: 0 },
    verdict: 'unknown',
    warnings: [down, ...stray, ...facts.warnings],
    cluster: {
      id: self.clusterId,
      name: state?.clusterName ?? '',
      leader: null,
      term: facts.term,
      revision: state?.specRevision ?? null,
      quorum: null,
      failuresLeft: null,
      timing: state === null ? null : timingOffline(state),
    },
    self: {
      id: self.id,
      name: self.name,
      role: null,
      version: facts.version,
      eligible: null,
      reason: 'the agent is not running',
      fences: [],
    },
    members: (state?.members ?? []).map(offlineMember),
    vips: (state?.spec.vips ?? []).map((vip) => offlineVip(vip.address, vip.interface, facts)),
    frontends: (state?.spec.frontends ?? []).map((each) => ({
      name: each.name,
      address: each.vip,
      port: each.port,
      dataPath: each.dataPath,
      dataPathReason: 'the agent is not running',
      backends: [],
    })),
    transitions: [],
  };
}

function offlineMember(member: Member): MemberStatus {
  const { id, name, address, role } = member;
  return {
    ...{ id, name, address, role },
    reachable: null,
    lastContactMs: null,
    matchIndex: null,
    version: member.version || null,
    certExpires: member.certExpires || null,
    priority: member.priority,
    draining: member.draining,
  };
}

function offlineVip(address: string, specified: string | null, facts: OfflineFacts): VipStatus {
  const here = facts.heldHere.find((vip) => vip.address === address);
  return {
    address,
    interface: here?.interface ?? specified,
    interfaceFrom: null,
    holder: null,
    heldHere: here !== undefined,
    since: null,
    reason: 'the agent is not running',
    observedBy: {},
  };
}
