/** The newest changes of leader that this node saw: who held the VIPs, since when, and why. */
import type { Clock } from '../base/clock.ts';
import type { NodeId, Term } from '../raft/types.ts';
import { type ClusterState, memberById } from './state.ts';
import type { ClusterView } from './view.ts';

/** What a person looks at after a bad night. */
export const maxTransitions = 32;

export interface Transition {
  readonly atWallMs: number;
  readonly term: Term;
  /** Names, as they were then; null for nobody. */
  readonly from: string | null;
  readonly to: string | null;
  readonly reason: string;
}

export class Transitions {
  readonly #clock: Clock;
  #newestFirst: readonly Transition[] = [];
  #leader: NodeId | null = null;
  #name: string | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  saw(view: ClusterView): void {
    // A node that campaigns knows no leader for a moment; that alone moves no VIP.
    const leader = view.leader ?? (view.quorum ? this.#leader : null);
    if (leader === this.#leader) return;
    const name = nameOf(view.state, leader);
    const transition = {
      atWallMs: this.#clock.wallNow(),
      term: view.term,
      from: this.#name,
      to: name,
      reason: name === null ? 'the leader is not heard any more' : `elected in term ${view.term}`,
    };
    this.#newestFirst = [transition, ...this.#newestFirst].slice(0, maxTransitions);
    this.#leader = leader;
    this.#name = name;
  }

  list(): readonly Transition[] {
    return this.#newestFirst;
  }
}

/** A leader may be heard before the state that names it. */
function nameOf(state: ClusterState, id: NodeId | null): string | null {
  return id === null ? null : (memberById(state, id)?.name ?? id);
}
