/**
 * Whether `auto` may trust the kernel with a frontend: only after a real connection through it to a
 * remote backend, because what breaks translation breaks it silently: a firewall that drops what is
 * passed on, untracked packets, programs of others on the links.
 *
 * It does not flap. The first success counts at once; trust is lost by two failures in a row, and
 * won back by three successes in a row, not before a time that doubles with each loss. A failure
 * counts only where a direct connection to the same backend succeeds.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { endpoint, type Trust } from './data-path.ts';
import type { Trial } from './ports.ts';

export interface Target {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** A frontend that would take the kernel's path, and its backends that may be chosen now. */
export interface Candidate {
  readonly name: string;
  readonly backends: readonly Target[];
}

export interface TrialsParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly trial: Trial;
  /** Whether the backend accepts a connection of this host's own. */
  readonly connects: (target: Target) => Promise<boolean>;
  /** Trust in some frontend changed, or its reason. */
  readonly onChange: () => void;
}

const EVERY_MS: Millis = 30_000;
const EVERY_WITHOUT_TRUST_MS: Millis = 10_000;
/** In a row of successes or failures that is not long enough yet. */
const NEXT_IN_ROW_MS: Millis = 500;
/** Changes of rules come by the dozen. */
const AFTER_CHANGE_MS: Millis = 300;
const FAILURES = 2;
const SUCCESSES = 3;
const FIRST_HOLD_MS: Millis = 10_000;
const MAX_HOLD_MS: Millis = 600_000;
/** A loss is forgotten after this time. */
const MEMORY_MS: Millis = 3_600_000;

interface Record {
  /** Null until the first trial. */
  trusted: boolean | null;
  reason: string;
  /** Results in a row against `trusted`. */
  row: number;
  losses: readonly Millis[];
  heldUntil: Millis;
}

type Result = { readonly fault: string | null } | null;

export class Trials {
  readonly #parts: TrialsParts;
  readonly #records = new Map<string, Record>();
  /** The backends of each candidate in the last round, as text. */
  readonly #tried = new Map<string, string>();
  #candidates: readonly Candidate[] = [];
  #timer: { readonly at: Millis; readonly timer: Timer } | null = null;
  #running = false;
  #stopped = false;

  constructor(parts: TrialsParts) {
    this.#parts = parts;
  }

  trust(name: string): Trust {
    const record = this.#records.get(name);
    if (record === undefined) return { works: false, reason: UNTRIED };
    return { works: record.trusted === true, reason: record.reason };
  }

  /** These, and only these, are tried from now on. */
  consider(candidates: readonly Candidate[]): void {
    this.#candidates = candidates;
    const names = new Set(candidates.map(({ name }) => name));
    for (const known of [this.#records, this.#tried]) {
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    }
    if (this.#isAnyNew()) this.#within(0);
  }

  /** Rules or routes changed. */
  look(): void {
    this.#within(AFTER_CHANGE_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.timer.cancel();
    this.#parts.trial.close();
  }

  #within(delayMs: Millis): void {
    if (this.#stopped || this.#running || this.#candidates.length === 0) return;
    const { clock } = this.#parts;
    const at = clock.now() + delayMs;
    if (this.#timer !== null) {
      if (this.#timer.at <= at) return;
      this.#timer.timer.cancel();
    }
    this.#timer = { at, timer: clock.after(delayMs, () => void this.#round()) };
  }

  async #round(): Promise<void> {
    this.#timer = null;
    this.#running = true;
    const results = new Map<string, Promise<Result>>();
    for (const candidate of this.#candidates) {
      this.#tried.set(candidate.name, textOf(candidate));
      const remote = candidate.backends.filter(({ address }) =>
        this.#parts.trial.isRemote(address),
      );
      const tried: Result[] = [];
      for (const target of remote) {
        const key = endpoint(target.address, target.port);
        const result = results.get(key) ?? this.#try(target);
        results.set(key, result);
        tried.push(await result);
      }
      this.#judge(candidate.name, tried, remote);
    }
    this.#running = false;
    this.#within(this.#isAnyNew() ? 0 : this.#pauseMs());
  }

  /** Nobody is trusted for what others showed: a backend that has just come is tried now. */
  #isAnyNew(): boolean {
    return this.#candidates.some(
      (candidate) =>
        candidate.backends.length > 0 && this.#tried.get(candidate.name) !== textOf(candidate),
    );
  }

  async #try(target: Target): Promise<Result> {
    const { trial, connects } = this.#parts;
    const fault = await trial.run(target);
    if (fault === null) return { fault };
    // What is wrong with the backend itself is not the kernel's fault.
    return (await connects(target)) ? { fault } : null;
  }

  #judge(name: string, tried: readonly Result[], targets: readonly Target[]): void {
    // It may have gone meanwhile.
    if (!this.#candidates.some((candidate) => candidate.name === name)) return;
    const conclusive = tried.filter((result) => result !== null);
    if (conclusive.length === 0) return;
    const failed = conclusive.find(({ fault }) => fault !== null);
    const record = this.#records.get(name) ?? newRecord();
    this.#records.set(name, record);
    const before = { ...record };
    if (failed === undefined) this.#succeeded(record, targets);
    else this.#failed(record, failed.fault ?? '');
    if (before.trusted !== record.trusted) this.#tell(name, record);
    if (before.trusted !== record.trusted || before.reason !== record.reason) {
      this.#parts.onChange();
    }
  }

  #succeeded(record: Record, targets: readonly Target[]): void {
    const names = targets.map(({ name }) => name).join(', ');
    const reason = `a connection through the kernel to ${names} succeeded`;
    if (record.trusted !== false) {
      Object.assign(record, { trusted: true, row: 0, reason });
      return;
    }
    record.row = Math.min(record.row + 1, SUCCESSES);
    if (record.row < SUCCESSES || this.#parts.clock.now() < record.heldUntil) return;
    Object.assign(record, { trusted: true, row: 0, reason });
  }

  #failed(record: Record, fault: string): void {
    if (record.trusted !== true) {
      Object.assign(record, { trusted: false, row: 0, reason: fault });
      return;
    }
    record.row++;
    if (record.row < FAILURES) return;
    const now = this.#parts.clock.now();
    const losses = [...record.losses.filter((at) => at > now - MEMORY_MS), now];
    const holdMs = Math.min(MAX_HOLD_MS, FIRST_HOLD_MS * 2 ** (losses.length - 1));
    const heldUntil = now + holdMs;
    Object.assign(record, { trusted: false, row: 0, reason: fault, losses, heldUntil });
  }

  #tell(frontend: string, { trusted, reason }: Record): void {
    const { log } = this.#parts;
    if (trusted === true) log.info('lb.kernel-trusted', { frontend, reason });
    else log.warn('lb.kernel-not-trusted', { frontend, reason });
  }

  #pauseMs(): Millis {
    const now = this.#parts.clock.now();
    const pauses = [...this.#records.values()].map(({ trusted, row, heldUntil }) => {
      if (row > 0 && (trusted === true || row < SUCCESSES)) return NEXT_IN_ROW_MS;
      if (trusted === true) return EVERY_MS;
      return row > 0 ? Math.max(NEXT_IN_ROW_MS, heldUntil - now) : EVERY_WITHOUT_TRUST_MS;
    });
    return Math.min(EVERY_MS, ...pauses);
  }
}

function textOf({ backends }: Candidate): string {
  return backends.map(({ address, port }) => endpoint(address, port)).join(' ');
}

const UNTRIED = 'no connection through the kernel to a remote backend has been tried yet';

function newRecord(): Record {
  return { trusted: null, reason: UNTRIED, row: 0, losses: [], heldUntil: 0 };
}
