/**
 * What clients were told, against what became of it: every write that was acknowledged is in the
 * log, once and where its writer was told; a write that was refused for good is nowhere; and a
 * linearizable read sees every write that was acknowledged before the read was asked.
 *
 * Values are unique, so that finding one in a committed entry is proof of its write.
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
  #acknowledged: Index = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** The highest index of an acknowledged write: what a read asked now must see. */
  get acknowledged(): Index {
    return this.#acknowledged;
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
    this.#acknowledged = Math.min(this.#acknowledged, index - 1);
    for (const [value, at] of [...this.#committed]) {
      if (at >= index) this.#committed.delete(value);
    }
    this.#refused.clear();
  }

  written(value: string, index: Index): void {
    if (this.#committed.get(value) !== index) {
      const found = this.#committed.get(value) ?? 'nowhere';
      this.#fail('acknowledged-is-committed', `${value} was said to be at ${index}, is ${found}`);
    }
    this.#acknowledged = Math.max(this.#acknowledged, index);
  }

  refused(value: string, error: unknown): void {
    const code = error instanceof OperatingError ? error.code : 'a program error';
    if (!(error instanceof OperatingError)) this.#fail('refusals-have-codes', String(error));
    if (!final.has(code)) return;
    this.#refused.set(value, code);
    this.#checkRefused(value);
  }

  /** A read asked when `floor` was acknowledged saw the log up to `index`. */
  read(floor: Index, index: Index): void {
    if (index < floor) {
      this.#fail('linearizable-read', `a read saw ${index} after ${floor} was acknowledged`);
    }
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
