/**
 * The two halves of the quorum lease, each on its owner's own clock.
 *
 * The leader's half: heartbeat round k leaves at s_k and asks for a promise of E_k. Once a quorum
 * has echoed k, nobody else can be elected before s_k + L(E_k), because each of that quorum
 * promised E_k from a later instant. Counting from the send, not from the answer, is what makes the
 * round trip cancel.
 *
 * The follower's half: until when, and to whom, this node promised to elect nobody else.
 */
import { assert } from '../base/assert.ts';
import { outlasting } from './config.ts';
import type { Release } from './message.ts';
import type { Millis, NodeId, Term } from './types.ts';

/** Rule R3: a promise outside these bounds is neither made nor echoed. */
export const promiseMinMs: Millis = 100;
export const promiseLimitMs: Millis = 5_000;

/**
 * More rounds than any sane heartbeat interval leaves unanswered within one promise; beyond it the
 * oldest are forgotten, which can only shorten the lease.
 */
export const maxOutstandingRounds = 1_024;

/** Whether a promise of `promiseMs` may be asked for and given (rule R3). */
export function isPromiseInBounds(promiseMs: Millis): boolean {
  return promiseMs >= promiseMinMs && promiseMs <= promiseLimitMs;
}

/**
 * L(E): the longest lease that a promise of `promiseMs` carries at a clock rate error of `drift`.
 */
export function leaseLength(promiseMs: Millis, drift: number): Millis {
  return Math.floor((promiseMs * (1 - drift)) / (1 + drift));
}

interface Round {
  readonly sentAt: Millis;
  /** When not even an echo of this round could help any more. */
  readonly uselessAt: Millis;
  /** The lease that this round carries: never beyond what a later, shorter round carries. */
  expiresAt: Millis;
}

/** The lease of one leadership: from rounds sent and echoed to a deadline. */
export class LeaderLease {
  readonly #drift: number;
  readonly #electedAt: Millis;
  /** Consecutive rounds; the first is number `#firstRound`. */
  #rounds: Round[] = [];
  #firstRound = 1;
  #deadline: Millis = 0;
  #provenAt: Millis;
  #released = false;

  constructor(electedAt: Millis, drift: number) {
    this.#electedAt = electedAt;
    this.#provenAt = electedAt;
    this.#drift = drift;
  }

  /** The number of the newest round; 0 before the first. */
  get lastRound(): number {
    return this.#firstRound + this.#rounds.length - 1;
  }

  /** The instant before which this node alone may hold the VIP; 0 for none. */
  get deadline(): Millis {
    return this.#released ? 0 : this.#deadline;
  }

  get released(): boolean {
    return this.#released;
  }

  /** When the newest round that a quorum echoed was sent; the election before the first. */
  get provenAt(): Millis {
    return this.#provenAt;
  }

  /** Starts a round at `now`, which must be read before its bytes leave. Returns its number. */
  start(now: Millis, promiseMs: Millis): number {
    assert(now >= this.#electedAt, 'a round before its election');
    this.#forget(now);
    const expiresAt = now + leaseLength(promiseMs, this.#drift);
    // Who echoes this round but missed an earlier, longer one promised only this much.
    for (let i = this.#rounds.length - 1; i >= 0; i--) {
      const earlier = this.#rounds[i];
      if (earlier === undefined || earlier.expiresAt <= expiresAt) break;
      earlier.expiresAt = expiresAt;
    }
    this.#rounds.push({ sentAt: now, uselessAt: now + promiseMs, expiresAt });
    return this.lastRound;
  }

  /** A quorum of every configuration in force has echoed round `round` or a later one. */
  acknowledged(round: number): void {
    const entry = this.#rounds[round - this.#firstRound];
    if (entry === undefined) return;
    this.#provenAt = Math.max(this.#provenAt, entry.sentAt);
    this.#deadline = Math.max(this.#deadline, entry.expiresAt);
  }

  /**
   * The configuration changed and its quorum has echoed `round`: the lease must not outlive what
   * the members now in force have promised, because only configurations one step apart must
   * overlap.
   */
  reconsider(round: number): void {
    const proven = this.#rounds[round - this.#firstRound]?.expiresAt ?? 0;
    this.#deadline = Math.min(this.#deadline, proven);
  }

  /** Rule R8: given away, for the rest of this leadership. */
  release(): void {
    this.#released = true;
  }

  #forget(now: Millis): void {
    let useless = 0;
    while ((this.#rounds[useless]?.uselessAt ?? Number.POSITIVE_INFINITY) <= now) useless += 1;
    useless = Math.max(useless, this.#rounds.length - maxOutstandingRounds + 1);
    // Moving the array is dearer than a few stale rounds.
    if (useless < Math.max(8, this.#rounds.length / 2)) return;
    this.#rounds = this.#rounds.slice(useless);
    this.#firstRound += useless;
  }
}

interface EchoedPromise {
  readonly promiseMs: Millis;
  readonly until: Millis;
}

/** What this node promised to whom, whatever its role since; outlives terms, roles and restarts. */
export class VotePromise {
  /** Rule R2: what an earlier process may have promised; no release ends it. */
  readonly #earlierUntil: Millis;
  #until: Millis = 0;
  #term: Term = 0;
  #leader: NodeId | null = null;
  /** Echoed ones that a restart would owe: each shorter than the one before it, and later over. */
  #echoed: EchoedPromise[] = [];

  /** `maxMs` is the longest promise that the disk says may still bind this node; 0 for none. */
  constructor(now: Millis, maxMs: Millis, drift: number) {
    this.#earlierUntil = maxMs === 0 ? Number.NEGATIVE_INFINITY : now + outlasting(maxMs, drift);
    if (maxMs > 0) this.#echoed.push({ promiseMs: maxMs, until: this.#earlierUntil });
  }

  /** The instant before which no vote is given and no campaign begun. */
  get until(): Millis {
    return Math.max(this.#until, this.#earlierUntil);
  }

  /** What is still owed at `now`, in whole ms rounded up; 0 for nothing. */
  remaining(now: Millis): Millis {
    return Math.max(0, Math.ceil(this.until - now));
  }

  /**
   * Promises (term, leader) to elect nobody else before `until`; an earlier promise never shrinks.
   */
  make(until: Millis, term: Term, leader: NodeId): void {
    this.#until = Math.max(this.#until, until);
    this.#term = term;
    this.#leader = leader;
  }

  /**
   * A promise of `promiseMs` is about to be echoed. Returns the longest that a process which starts
   * anew would have to wait for: longer ones have run out, whoever they were made to.
   */
  echo(now: Millis, promiseMs: Millis): Millis {
    const longer = this.#echoed.filter((each) => each.until > now && each.promiseMs > promiseMs);
    this.#echoed = [...longer, { promiseMs, until: now + promiseMs }];
    return longer[0]?.promiseMs ?? promiseMs;
  }

  /** Rule R8: ends the promise if it was made to exactly the leadership that let go. */
  release(release: Release): void {
    if (release.term === this.#term && release.leader === this.#leader) this.#until = 0;
  }
}
