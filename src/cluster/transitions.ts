/** The newest changes of leader that this node saw: who held the VIPs, since when, and why. */
import type { Clock } from '../base/clock.ts';
import type { NodeId, Term } from '../raft/types.ts';
import { type ClusterState, memberById } from './state.ts';
import type { ClusterView } from './view.ts';

/** What a person looks at after a bad night. */
export const maxTransitions = 32;

/** A new leader within this time belongs to the loss of the old one. */
const electionMs = 2_000;

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
  /** Leader and term as last known; survives the time without a leader. */
  #reign: string | null = null;
  #elections = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  saw(view: ClusterView): void {
    const { leader, state, term } = view;
    this.#count(leader, term);
    if (leader === this.#leader) return;
    const atWallMs = this.#clock.wallNow();
    const to = nameOf(state, leader);
    const reason = to === null ? 'the leader is not heard any more' : `elected in term ${term}`;
    this.#add({ atWallMs, term, from: this.#name, to, reason });
    this.#leader = leader;
    this.#name = to;
  }

  /** How often another leader, or the same one in another term, took the place of one. */
  leaderChanges(): number {
    return this.#elections;
  }

  #count(leader: NodeId | null, term: Term): void {
    if (leader === null) return;
    const reign = `${leader} ${term}`;
    if (this.#reign !== null && this.#reign !== reign) this.#elections++;
    this.#reign = reign;
  }

  /** An election that went well reads as one change, not as a loss and a gain. */
  #add(transition: Transition): void {
    const [newest, ...older] = this.#newestFirst;
    const gap = newest?.to === null && transition.atWallMs - newest.atWallMs <= electionMs;
    const whole = gap ? { ...transition, from: newest.from } : transition;
    const before = gap ? older : this.#newestFirst;
    const kept = whole.from === whole.to ? before : [whole, ...before];
    this.#newestFirst = kept.slice(0, maxTransitions);
  }

  list(): readonly Transition[] {
    return this.#newestFirst;
  }
}

/** A leader may be heard before the state that names it. */
function nameOf(state: ClusterState, id: NodeId | null): string | null {
  return id === null ? null : (memberById(state, id)?.name ?? id);
}
