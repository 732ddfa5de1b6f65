/**
 * What clients were told, against what became of it: every write that was acknowledged is in the
 * log, once and where its writer was told; a write that was refused for good is nowhere; and all of
 * it is linearizable.
 *
 * Values are unique, so that finding one in a committed entry is proof of its write. Every read
 * sees a prefix of the one log and every write has a place in it, so the log itself is the order
 * that a search would have to find: what is left to check is that it agrees with real time.
 * Whatever was asked after something else was answered comes behind it.
 */
import { OperatingError } from '../../../src/base/errors.ts';
import type { Entry, Index } from '../../../src/raft/types.ts';
import type { World } from '../world.ts';

/** Refusals after which the write can never happen; all others leave it open. */
const final: ReadonlySet<string> = new Set(['not-leader', 'proposal-dropped', 'busy']);

const valuePattern = /value-\d+/;

export class HistoryChecker {
  readonly #world: World;
  readonly #committed = new Map<string, Index>();
  readonly #refused = new Map<string, string>();
  #answered: Index = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** How far the log was seen by any answer so far: whatever is asked now must come behind it. */
  get answered(): Index {
    return this.#answered;
  }

  /** An entry that is committed for the first time anywhere. */
  committed(entry: Entry): void {
    const value = valuePattern.exec(Buffer.from(entry.data).toString('latin1'))?.[0];
    if (value === undefined) return;
    const earlier = this.#committed.get(value);
    if (earlier !== undefined) {
      this.#fail('write-happens-once', `${value} is at ${earlier} and at ${entry.index}`);
    }
    this.#committed.set(value, entry.index);
    this.#checkRefused(value);
  }

  /** A recovery kept the log below `index` and nothing else: what it lost is forgotten here. */
  recovered(index: Index): void {
    this.#answered = Math.min(this.#answered, index - 1);
    for (const [value, at] of [...this.#committed]) {
      if (at >= index) this.#committed.delete(value);
    }
    this.#refused.clear();
  }

  /** A write that was asked for when `floor` was {@link answered} was said to be at `index`. */
  written(value: string, floor: Index, index: Index): void {
    if (this.#committed.get(value) !== index) {
      const found = this.#committed.get(value) ?? 'nowhere';
      this.#fail('acknowledged-is-committed', `${value} was said to be at ${index}, is ${found}`);
    }
    if (index <= floor) {
      this.#fail('linearizable-write', `${value} is at ${index}, ${floor} was seen before`);
    }
    this.#answered = Math.max(this.#answered, index);
  }

  refused(value: string, error: unknown): void {
    const code = error instanceof OperatingError ? error.code : 'a program error';
    if (!(error instanceof OperatingError)) this.#fail('refusals-have-codes', String(error));
    if (!final.has(code)) return;
    this.#refused.set(value, code);
    this.#checkRefused(value);
  }

  /** A read that was asked for when `floor` was {@link answered} saw the log up to `index`. */
  read(floor: Index, index: Index): void {
    if (index < floor) {
      this.#fail('linearizable-read', `a read saw ${index} after ${floor} was seen`);
    }
    this.#answered = Math.max(this.#answered, index);
  }

  #checkRefused(value: string): void {
    const code = this.#refused.get(value);
    if (code === undefined || !this.#committed.has(value)) return;
    this.#fail('refused-is-nowhere', `${value} was refused (${code}) and happened all the same`);
  }

  #fail(rule: string, message: string): void {
    this.#world.fail(rule, message);
  }
}
