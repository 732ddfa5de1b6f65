/**
 * The one sentence that joins Raft to the VIP and to the balancer: what this host has to do, given
 * what it knows. Pure; its words are plain data that the agent hands to the two rooms.
 */
import type { Millis } from '../base/clock.ts';
import type { Eligibility } from '../raft/types.ts';
import type { FrontendSpec, HealthCheckSpec, HttpSpec, StaticBackend, VipSpec } from './spec.ts';
import { type ClusterState, type Member, memberById } from './state.ts';
import type { ClusterView } from './view.ts';

/** What this host knows of itself and nobody else does. */
export interface AssignSelf {
  /** How long before the lease's end a VIP is no longer claimed (rule R6). */
  readonly marginMs: Millis;
  /** Why this host could not carry the VIPs now (an interface is down); null if it could. */
  readonly problem: string | null;
}

export interface VipDuty {
  readonly vips: readonly VipSpec[];
  /** Null: hold nothing. The epoch is the term: a later owner's is larger (rule R5). */
  readonly hold: { readonly epoch: number; readonly deadline: Millis } | null;
  /** Why, in words that a person reads. */
  readonly reason: string;
}

export interface BackendDuty {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly draining: boolean;
  readonly mode: StaticBackend['mode'];
}

export interface FrontendDuty {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: FrontendSpec['protocol'];
  readonly dataPath: FrontendSpec['dataPath'];
  readonly scheduler: FrontendSpec['scheduler'];
  readonly prefer: FrontendSpec['prefer'];
  readonly backends: readonly BackendDuty[];
  readonly healthCheck: HealthCheckSpec;
  readonly http: Pick<HttpSpec, 'tls' | 'backendTls'> | null;
}

export interface Assignment {
  readonly vip: VipDuty;
  /** The same on every host that may hold a VIP, so that it is warm when the VIP comes. */
  readonly lb: { readonly frontends: readonly FrontendDuty[]; readonly reason: string };
}

export function assign(view: ClusterView, self: AssignSelf, now: Millis): Assignment {
  const refusal = refuseHold(view, self, now);
  const { lease, term, state } = view;
  return {
    vip: {
      vips: state.spec.vips,
      hold: refusal === null ? { epoch: term, deadline: lease.deadline } : null,
      reason: refusal ?? `leads term ${term} with the lease of the quorum`,
    },
    lb: balance(view),
  };
}

/** Whether this host may hold a VIP at all, whoever leads; travels to the leader (rule R7). */
export function eligibilityOf(view: ClusterView, self: AssignSelf): Eligibility {
  const reason = ineligible(memberById(view.state, view.selfId), self);
  return { eligible: reason === null, reason: reason ?? 'may hold the VIP' };
}

function ineligible(member: Member | undefined, self: AssignSelf): string | null {
  if (member === undefined) return 'this node is not a member';
  if (member.joinsAs === 'witness') return 'a witness votes and holds nothing';
  if (member.role !== 'voter') return 'a learner holds nothing until it is promoted';
  if (member.draining) return 'this node is drained';
  return self.problem;
}

/** Rules R5 to R7, and R8's consequence; null where the VIP may be held. */
function refuseHold(view: ClusterView, self: AssignSelf, now: Millis): string | null {
  const { lease, role, state, term } = view;
  if (view.removed) return 'this node was removed from the cluster';
  const reason = ineligible(memberById(state, view.selfId), self);
  if (role !== 'leader') return reason === null ? whoLeads(view) : `${whoLeads(view)}; ${reason}`;
  if (reason !== null) return reason;
  if (lease.released || lease.wantsRelease) return `the lease of term ${term} was handed over`;
  if (!lease.ownTermCommitted || !view.ownTermApplied) {
    return `waits for the first entry of term ${term} to be applied`;
  }
  if (lease.deadline === 0) return 'waits for the quorum to answer the first heartbeat';
  if (lease.deadline - self.marginMs <= now) return 'the lease has run out';
  if (lease.claimNotBefore > now) return 'an older leader may still hold the VIP';
  return null;
}

function whoLeads(view: ClusterView): string {
  if (view.leader === null) return 'no leader is known';
  return `${memberById(view.state, view.leader)?.name ?? view.leader} leads`;
}

function balance(view: ClusterView): Assignment['lb'] {
  const { state } = view;
  const self = memberById(state, view.selfId);
  if (self === undefined) return { frontends: [], reason: 'this node is not a member' };
  if (self.joinsAs === 'witness') return { frontends: [], reason: 'a witness balances nothing' };
  const frontends = state.spec.frontends.map((frontend) => frontendDuty(frontend, state));
  return { frontends, reason: 'every member that may hold a VIP is ready to balance' };
}

function frontendDuty(frontend: FrontendSpec, state: ClusterState): FrontendDuty {
  const { vip: address, backends: _, http, ...rest } = frontend;
  return {
    ...rest,
    address,
    backends: [...memberBackends(frontend, state), ...staticBackends(frontend, state)],
    http: http && { tls: http.tls, backendTls: http.backendTls },
  };
}

/** Joining is enough: each member that is not a witness serves. */
function memberBackends(frontend: FrontendSpec, state: ClusterState): BackendDuty[] {
  const { members, drainedMembers } = frontend.backends;
  if (members === null) return [];
  return state.members
    .filter((member) => member.joinsAs !== 'witness')
    .map((member) => ({
      name: member.name,
      address: hostOf(member.address),
      port: members.port,
      weight: 1,
      draining: drainedMembers.includes(member.name),
      mode: 'masquerade',
    }));
}

/**
 * To be reached untranslated, a backend has the VIP as an address of its own, which on a member
 * would be a second holder: one that has joined since is translated to, as every member is.
 */
function staticBackends(frontend: FrontendSpec, state: ClusterState): BackendDuty[] {
  const members = new Set(state.members.map(({ address }) => hostOf(address)));
  return frontend.backends.static.map((backend) => ({
    name: backend.address.includes(':')
      ? `[${backend.address}]:${backend.port}`
      : `${backend.address}:${backend.port}`,
    ...backend,
    mode: members.has(backend.address) ? 'masquerade' : backend.mode,
  }));
}

/** The host of `host:port` or `[host]:port`, without brackets. */
export function hostOf(address: string): string {
  const host = address.slice(0, address.lastIndexOf(':'));
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
