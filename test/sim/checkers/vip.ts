/**
 * The promise to users: at no instant do two hosts answer for a VIP. Also who may: only a voter
 * that leads, holds an unexpired lease by its own clock, and has committed an entry of its own
 * term; and a later tenure has a later term.
 *
 * A host can only *begin* to answer by a kernel call or a link coming up, and the checker looks
 * after each of these, so it sees every instant, not samples.
 */
import type { Millis } from '../../../src/base/clock.ts';
import type { LeaseView, NodeId, Term } from '../../../src/raft/types.ts';
import type { World } from '../world.ts';

/** What the checker may see of a host. */
export interface VipHost {
  readonly id: NodeId;
  /** Whether its kernel answers for `address` at this instant. */
  answers(address: string): boolean;
  /** The present on the clock of that process. */
  localNow(): Millis;
  /**
   * The term in which its machine was paused, while what it held then may overlap with what its
   * successor holds; null else.
   */
  overlapTerm(): Term | null;
  /** It holds by a later term now: no overlap is excused any more. */
  overlapIsOver(): void;
  /** Whether the node is a voter of the configuration it has in force. */
  isVoter(): boolean;
}

export interface Tenure {
  readonly host: NodeId;
  readonly term: Term;
  readonly since: Millis;
}

export class VipChecker {
  readonly #world: World;
  readonly #hosts: readonly VipHost[];
  readonly #addresses: readonly string[];
  /** Per address: whoever answered when we last looked. */
  readonly #current = new Map<string, Tenure>();
  readonly #highest = new Map<string, Tenure>();
  #tenures = 0;

  constructor(world: World, hosts: readonly VipHost[], addresses: readonly string[]) {
    this.#world = world;
    this.#hosts = hosts;
    this.#addresses = addresses;
  }

  /** How often a VIP came to a host. */
  get tenures(): number {
    return this.#tenures;
  }

  /** Who answers for `address` now. */
  holder(address: string): NodeId | null {
    return this.#hosts.find((host) => host.answers(address))?.id ?? null;
  }

  /**
   * Looks at all hosts. `actor` made the kernel call that just took effect, believing `belief` of
   * the lease when it made it; null for what no process did.
   */
  look(actor: NodeId | null, belief: LeaseView | null): void {
    for (const address of this.#addresses) {
      for (const host of this.#hosts) {
        const paused = host.id === actor ? host.overlapTerm() : null;
        if (paused !== null && belief !== null && belief.term > paused) host.overlapIsOver();
      }
      const answering = this.#rightful(address);
      if (answering.length > 1) {
        const names = answering.map((host) => host.id).join(' and ');
        this.#world.fail('vip-exclusive', `${names} both answer for ${address}`);
      }
      const [holder] = answering;
      if (holder === undefined) this.#current.delete(address);
      else this.#held(address, holder, holder.id === actor ? belief : null);
    }
  }

  /** All who answer, without a former holder whose machine has just been resumed. */
  #rightful(address: string): readonly VipHost[] {
    const answering = this.#hosts.filter((host) => host.answers(address));
    const highest = this.#highest.get(address)?.term ?? 0;
    const rest = answering.filter((host) => {
      const paused = host.overlapTerm();
      return paused === null || (answering.length === 1 && paused >= highest);
    });
    if (answering.length > 1 && rest.length < answering.length) {
      this.#world.exercise('overlap after vm-pause');
    }
    return rest;
  }

  /** A new epoch was declared: what was before it is nobody's any more. */
  recovered(): void {
    this.#current.clear();
    this.#highest.clear();
  }

  #held(address: string, holder: VipHost, belief: LeaseView | null): void {
    const before = this.#current.get(address);
    const highest = this.#highest.get(address);
    if (before?.host === holder.id && (belief?.role !== 'leader' || belief.term === before.term)) {
      return;
    }
    if (belief === null) {
      // The link came back under an address that the fence still lets through.
      if (highest?.host === holder.id) this.#current.set(address, highest);
      else
        this.#world.fail(
          'vip-leader-only',
          `${holder.id} answers for ${address}, nobody knows why`,
        );
      return;
    }
    const problem = whyNot(holder, belief);
    if (problem !== null) {
      this.#world.fail('vip-leader-only', `${holder.id} answers for ${address}: ${problem}`);
    }
    if (highest !== undefined && highest.host !== holder.id && highest.term >= belief.term) {
      const was = `${highest.host} in ${highest.term}`;
      this.#world.fail('vip-epoch-grows', `${holder.id} holds in ${belief.term} after ${was}`);
    }
    const tenure = { host: holder.id, term: belief.term, since: this.#world.now };
    this.#tenures++;
    this.#current.set(address, tenure);
    this.#highest.set(address, tenure);
    this.#world.note(holder.id, `HOLDS ${address} in term ${belief.term}`);
  }
}

function whyNot(holder: VipHost, lease: LeaseView): string | null {
  if (lease.role !== 'leader') return `it is ${lease.role}`;
  if (!holder.isVoter()) return 'it is no voter';
  if (!lease.ownTermCommitted) return 'nothing of its term is committed';
  if (lease.released) return 'it released the lease';
  if (holder.localNow() >= lease.deadline) return 'its lease has run out';
  if (holder.localNow() < lease.claimNotBefore) return 'an older promise is still owed';
  return null;
}
