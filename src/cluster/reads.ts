/**
 * Linearizable reads: a caller waits until the quorum has confirmed that this node still led when
 * it asked, and until everything committed by then is applied here (ReadIndex, Raft thesis 6.4).
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { OperatingError } from '../base/errors.ts';
import type { ReadIndexResult, ReadState } from '../raft/rawnode.ts';
import type { Index } from '../raft/types.ts';
import { nodeStopped, noQuorum } from './refusals.ts';

interface Read {
  readonly resolve: (index: Index) => void;
  readonly reject: (error: OperatingError) => void;
  readonly timer: Timer;
  /** Raft has it. */
  asked: boolean;
  /** What must be applied first, once the quorum has said so. */
  index: Index | null;
}

export class Reads {
  readonly #clock: Clock;
  readonly #notLeader: () => OperatingError;
  readonly #open = new Map<number, Read>();
  #lastContext = 0;

  constructor(clock: Clock, notLeader: () => OperatingError) {
    this.#clock = clock;
    this.#notLeader = notLeader;
  }

  /** Resolves with an index that is applied here and was committed when the caller asked. */
  add(timeoutMs: number): Promise<Index> {
    return new Promise((resolve, reject) => {
      const context = ++this.#lastContext;
      const timer = this.#clock.after(timeoutMs, () => this.#drop(context, noQuorum(timeoutMs)));
      this.#open.set(context, { resolve, reject, timer, asked: false, index: null });
    });
  }

  /** Asks Raft for whatever it was not ready to answer before. */
  offer(ask: (context: number) => ReadIndexResult): void {
    for (const [context, read] of this.#open) {
      if (read.asked) continue;
      const result = ask(context);
      if (result.ok) read.asked = true;
      else if (result.reason === 'not-leader') this.#drop(context, this.#notLeader());
    }
  }

  confirmed(states: readonly ReadState[], failed: readonly number[]): void {
    for (const { context, index } of states) {
      const read = this.#open.get(context);
      if (read !== undefined) read.index = index;
    }
    for (const context of failed) this.#drop(context, this.#notLeader());
  }

  applied(index: Index): void {
    for (const [context, read] of this.#open) {
      if (read.index === null || read.index > index) continue;
      this.#open.delete(context);
      read.timer.cancel();
      read.resolve(read.index);
    }
  }

  stop(): void {
    for (const context of this.#open.keys()) this.#drop(context, nodeStopped());
  }

  #drop(context: number, error: OperatingError): void {
    const read = this.#open.get(context);
    if (read === undefined) return;
    this.#open.delete(context);
    read.timer.cancel();
    read.reject(error);
  }
}
