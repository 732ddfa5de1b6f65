/**
 * ReadIndex: a read is served from the state at its recorded commit index, once a quorum has echoed
 * a heartbeat round that began after the read came in (Raft dissertation, section 6.4). Waiting
 * reads share rounds: those that come while a round is under way wait for the next.
 *
 * Invariant: `#sent` is ordered by round.
 */
import type { Index } from './types.ts';

/** A read that may be served once the state machine has applied `index`. */
export interface ReadState {
  readonly context: number;
  readonly index: Index;
}

/** More reads than this at once are refused: the caller waits or asks again. */
export const maxWaitingReads = 4_096;

interface SentRead extends ReadState {
  readonly round: number;
}

export class ReadQueue {
  #waiting: ReadState[] = [];
  #sent: SentRead[] = [];

  get full(): boolean {
    return this.#waiting.length + this.#sent.length >= maxWaitingReads;
  }

  /** Whether a round should be started for the sake of a read. */
  get wantsRound(): boolean {
    return this.#waiting.length > 0 && this.#sent.length === 0;
  }

  add(context: number, index: Index): void {
    this.#waiting.push({ context, index });
  }

  /** A round has begun: it answers for every read that came before. */
  roundStarted(round: number): void {
    for (const read of this.#waiting) this.#sent.push({ ...read, round });
    this.#waiting = [];
  }

  /** A quorum echoed `round`: takes out the reads that it answers. */
  acknowledged(round: number): ReadState[] {
    let done = 0;
    while ((this.#sent[done]?.round ?? Number.POSITIVE_INFINITY) <= round) done += 1;
    if (done === 0) return [];
    return this.#sent.splice(0, done).map(({ context, index }) => ({ context, index }));
  }

  /** The leadership is over: takes out the contexts of all reads that nobody will answer. */
  fail(): number[] {
    const failed = [...this.#sent, ...this.#waiting].map((read) => read.context);
    this.#sent = [];
    this.#waiting = [];
    return failed;
  }
}
