/**
 * One path in the kernel, kept in agreement with what is wanted of it: plans stand, connections to
 * backends that do not answer any more are ended, and those that are open are counted.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import { sameMembers } from '../base/sets.ts';
import type { ForwardBackend, ForwardCount, Forwarder, ForwardPlan } from './ports.ts';
import { Upkeep } from './upkeep.ts';

export interface ForwardingParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly forwarder: Forwarder;
  /** What stands has changed, or why it does not. */
  readonly onChange: () => void;
  readonly onCount: () => void;
  /** So many connections more were led to a backend. */
  readonly onLed: (frontend: string, backend: string, connections: number) => void;
}

/** Counting takes a hundredth of the time at most, and not more often than this. */
const COUNT_EVERY_MS: Millis = 2_000;
const COUNT_SHARE = 100;

export class Forwarding {
  readonly #parts: ForwardingParts;
  readonly #upkeep: Upkeep<ForwardPlan>;
  #plans: readonly ForwardPlan[] = [];
  /** The frontends of the plans that were set last. */
  #standing: ReadonlySet<string> = new Set();
  #counts: ReadonlyMap<string, number> = new Map();
  /** What was last read of each backend's counter. */
  readonly #totals = new Map<string, number>();
  #counting: Timer | null = null;
  #stopped = false;

  constructor(parts: ForwardingParts) {
    const { clock, random, log, forwarder, onChange } = parts;
    this.#parts = parts;
    this.#upkeep = new Upkeep({
      clock,
      random,
      log: log.child({ dataPath: forwarder.kind }),
      events: { failed: 'lb.not-forwarded', again: 'lb.forwarded' },
      declare: (plans) => this.#declare(plans),
      clear: () => forwarder.clear(),
      onChange,
    });
  }

  /** Why the plans do not stand, or null. */
  get error(): string | null {
    return this.#upkeep.error;
  }

  get failures(): number {
    return this.#upkeep.failures;
  }

  unavailable(): string | null {
    return this.#parts.forwarder.unavailable();
  }

  /** Makes these, and only these, plans stand, sooner or later. */
  want(plans: readonly ForwardPlan[]): void {
    this.#plans = plans;
    this.#upkeep.want(plans);
    if (plans.length > 0 && this.#counting === null) this.#countAfter(0);
  }

  /** Whether a plan of this frontend is in force. */
  stands(frontend: string): boolean {
    return this.#standing.has(frontend);
  }

  /** Rules of ours may have been removed. */
  look(): void {
    if (this.#plans.length > 0) this.#upkeep.look();
  }

  connections(frontend: string, backend: string): number {
    return this.#counts.get(keyOf(frontend, backend)) ?? 0;
  }

  /** Ends the connections to a backend, once no plan that still has it can make new ones. */
  async sever(frontend: ForwardPlan, backend: ForwardBackend): Promise<void> {
    await this.#upkeep.settled();
    await this.#end({ frontend: frontend.name, backend: backend.name }, () =>
      this.#parts.forwarder.sever(frontend, backend),
    );
  }

  /** Ends the connections of a VIP that has left. */
  async release(address: string): Promise<void> {
    await this.#end({ vip: address }, () => this.#parts.forwarder.release(address));
  }

  /** Removes everything; rejects when that failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#counting?.cancel();
    await this.#upkeep.stop();
  }

  async #declare(plans: readonly ForwardPlan[]): Promise<void> {
    await this.#parts.forwarder.set(plans);
    const before = this.#standing;
    this.#standing = new Set(plans.map(({ name }) => name));
    if (!sameMembers(before, this.#standing)) this.#parts.onChange();
  }

  async #end(what: Readonly<Record<string, string>>, end: () => Promise<number>): Promise<void> {
    const { log } = this.#parts;
    try {
      const connections = await end();
      if (connections > 0) log.info('lb.connections-ended', { ...what, connections });
    } catch (error) {
      log.warn('lb.connections-kept', { ...what, reason: describeError(error) });
    }
  }

  /** Whether anybody was led anywhere since the last look. */
  #lead(counts: readonly ForwardCount[]): boolean {
    let isAny = false;
    for (const { frontend, backend, total } of counts) {
      const key = keyOf(frontend, backend);
      const before = this.#totals.get(key) ?? 0;
      this.#totals.set(key, total);
      // A counter that was made anew begins at 0.
      const led = total < before ? total : total - before;
      if (led === 0) continue;
      this.#parts.onLed(frontend, backend, led);
      isAny = true;
    }
    return isAny;
  }

  #countAfter(delayMs: Millis): void {
    this.#counting = this.#parts.clock.after(delayMs, () => void this.#count());
  }

  async #count(): Promise<void> {
    const { clock, forwarder, log, onCount } = this.#parts;
    const began = clock.now();
    try {
      const counts = await forwarder.counts();
      const next = new Map(
        counts.map(({ frontend, backend, connections }) => [keyOf(frontend, backend), connections]),
      );
      const isNew = [...next].some(([key, value]) => this.#counts.get(key) !== value);
      this.#counts = next;
      const isAnyLed = this.#lead(counts);
      if (isNew || isAnyLed) onCount();
    } catch (error) {
      log.debug('lb.not-counted', { reason: describeError(error) });
    }
    if (this.#stopped) return;
    this.#counting = null;
    const nextMs = Math.max(COUNT_EVERY_MS, (clock.now() - began) * COUNT_SHARE);
    if (this.#plans.length > 0) this.#countAfter(nextMs);
  }
}

function keyOf(frontend: string, backend: string): string {
  return JSON.stringify([frontend, backend]);
}
