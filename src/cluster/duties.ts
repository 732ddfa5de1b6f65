/**
 * Carries the assignment to the rooms that act: the VIP's while the lease's owner waits for it, the
 * balancer's when the state changed. Renewals take a short way, because they come with each round
 * of heartbeats; everything else goes through `assign()`.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { LeaseView } from '../raft/types.ts';
import {
  type AssignSelf,
  assign,
  eligibilityOf,
  type FrontendDuty,
  type VipDuty,
} from './assign.ts';
import type { ClusterNode } from './node.ts';
import type { LeaseSink } from './ports.ts';
import type { ClusterState } from './state.ts';
import type { ClusterView } from './view.ts';

/** Whoever makes the kernel agree with a duty. When a call returns, a withdrawal is complete. */
export interface VipSeat {
  take(duty: VipDuty): void;
  /** The hold of the last duty goes on until `deadline`. */
  renew(deadline: Millis): void;
}

export interface DutiesParts {
  readonly clock: Clock;
  readonly marginMs: Millis;
  readonly vip: VipSeat;
  /** Takes what to balance, after each change of the replicated state. */
  readonly balance: (frontends: readonly FrontendDuty[]) => void;
  /** Why this host could not carry these VIPs now; null if it could. */
  readonly problem: (state: ClusterState) => string | null;
}

export class Duties implements LeaseSink {
  readonly #parts: DutiesParts;
  #node: ClusterNode | null = null;
  #self: AssignSelf;
  #state: ClusterState | null = null;
  /** The term in which the VIP was last said to be held, and by which state; null for not held. */
  #held: { readonly term: number; readonly state: ClusterState } | null = null;

  constructor(parts: DutiesParts) {
    this.#parts = parts;
    this.#self = { marginMs: parts.marginMs, problem: 'the agent is starting' };
  }

  /** Begins to act for `node`, which must have been made with this as its sink. */
  attach(node: ClusterNode): void {
    this.#node = node;
    node.onView(() => this.#viewChanged());
    this.#viewChanged();
  }

  /** Something about this host changed: a link went down or came up. */
  hostChanged(): void {
    if (this.#node === null) return;
    const view = this.#node.view();
    this.#lookAtHost(view);
    this.#act(view);
  }

  update(lease: LeaseView): void {
    if (this.#node === null) return;
    const view = this.#node.view();
    if (this.#mayRenew(lease, view)) this.#parts.vip.renew(lease.deadline);
    else if (lease.role === 'leader' || this.#held !== null) this.#act(view);
  }

  /** Nothing has changed since the hold was given, except that it lasts longer now. */
  #mayRenew(lease: LeaseView, view: ClusterView): boolean {
    if (this.#held === null || lease.role !== 'leader') return false;
    if (lease.released || lease.wantsRelease) return false;
    if (this.#held.term !== lease.term || this.#held.state !== view.state) return false;
    return this.#parts.clock.now() < lease.deadline - this.#parts.marginMs;
  }

  #viewChanged(): void {
    if (this.#node === null) return;
    const view = this.#node.view();
    if (view.state !== this.#state) {
      this.#state = view.state;
      this.#lookAtHost(view);
      this.#parts.balance(assign(view, this.#self, view.atMs).lb.frontends);
    }
    this.#act(view);
  }

  #lookAtHost(view: ClusterView): void {
    this.#self = { marginMs: this.#parts.marginMs, problem: this.#parts.problem(view.state) };
    this.#node?.setEligibility(eligibilityOf(view, this.#self));
  }

  #act(view: ClusterView): void {
    const { vip } = assign(view, this.#self, this.#parts.clock.now());
    this.#held = vip.hold === null ? null : { term: vip.hold.epoch, state: view.state };
    this.#parts.vip.take(vip);
  }
}
