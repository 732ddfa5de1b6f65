/**
 * When a preferred host gets the leadership, and with it the VIP, back. Every move costs clients
 * their connections, so a host that is not well must not get it again and again: it has to be able
 * to lead, seen by one and the same leader, for a hold-down that doubles with each of its recent
 * tenures that ended soon, whatever ended it. Every node counts those, because anybody may lead
 * next; who starts anew has forgotten them and begins with the plain hold-down.
 */
import type { Millis } from '../base/clock.ts';
import type { RaftStatus } from '../raft/rawnode.ts';
import type { NodeId, Term } from '../raft/types.ts';
import { ableToLead, isLevel } from './promotion.ts';
import { type ClusterState, memberById } from './state.ts';

export interface HoldDown {
  readonly holdMs: Millis;
  /** However often it was doubled. */
  readonly maxHoldMs: Millis;
}

export const defaultHoldDown: HoldDown = { holdMs: 30_000, maxHoldMs: 3_600_000 };

/** A tenure that lasts for this many plain hold-downs ended for reasons of its own. */
const steadyHolds = 20;

interface Tenure {
  readonly leader: NodeId;
  readonly term: Term;
  readonly since: Millis;
  /** When it was not seen any more; null while it goes on. */
  endedAt: Millis | null;
}

export class Preference {
  readonly #holdDown: HoldDown;
  #tenure: Tenure | null = null;
  /** Consecutive short tenures, by whose they were. */
  readonly #short = new Map<NodeId, number>();
  /** Since when this node, leading `#term`, sees a preferred peer able to lead. */
  #ableSince: ReadonlyMap<NodeId, Millis> = new Map();
  #term: Term = 0;

  constructor(holdDown: HoldDown) {
    this.#holdDown = holdDown;
  }

  /** Who leads at `now`, as far as this node knows; null for nobody. */
  saw(leader: NodeId | null, term: Term, now: Millis): void {
    const tenure = this.#tenure;
    const goesOn = tenure !== null && leader === tenure.leader && term === tenure.term;
    if (tenure !== null) tenure.endedAt = goesOn ? null : (tenure.endedAt ?? now);
    if (leader === null || goesOn) return;
    if (tenure !== null) this.#judge(tenure, now);
    this.#tenure = { leader, term, since: now, endedAt: null };
  }

  /** Whom this node, the leader, should hand on to now; null to go on leading. */
  successor(status: RaftStatus, state: ClusterState, now: Millis): NodeId | null {
    this.#forgetStrangers(state);
    const before = status.term === this.#term ? this.#ableSince : new Map<NodeId, Millis>();
    const able = new Map<NodeId, Millis>();
    const own = memberById(state, status.id)?.priority ?? 0;
    let best: { readonly id: NodeId; readonly priority: number } | null = null;
    for (const peer of status.peers) {
      const priority = memberById(state, peer.id)?.priority ?? 0;
      const isAble = ableToLead(peer, status, state) && isLevel(peer, status);
      if (!isAble || priority <= own) continue;
      const since = before.get(peer.id) ?? now;
      able.set(peer.id, since);
      if (now - since < this.holdMs(peer.id)) continue;
      if (best === null || priority > best.priority) best = { id: peer.id, priority };
    }
    this.#term = status.term;
    this.#ableSince = able;
    return status.pendingConfChange || status.transferTarget !== null ? null : (best?.id ?? null);
  }

  /** It did not work out: `id` is looked at for a whole hold-down again. */
  refused(id: NodeId): void {
    this.#ableSince = new Map([...this.#ableSince].filter(([each]) => each !== id));
  }

  /** How long `id` must be able to lead before it gets the leadership back. */
  holdMs(id: NodeId): Millis {
    const { holdMs, maxHoldMs } = this.#holdDown;
    return Math.min(holdMs * 2 ** (this.#short.get(id) ?? 0), maxHoldMs);
  }

  #judge({ leader, since, endedAt }: Tenure, now: Millis): void {
    const steady = (endedAt ?? now) - since >= steadyHolds * this.#holdDown.holdMs;
    if (steady) this.#short.delete(leader);
    else this.#short.set(leader, (this.#short.get(leader) ?? 0) + 1);
  }

  #forgetStrangers(state: ClusterState): void {
    for (const id of this.#short.keys()) {
      if (memberById(state, id) === undefined) this.#short.delete(id);
    }
  }
}
