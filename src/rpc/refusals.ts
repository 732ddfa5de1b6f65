/**
 * Refused connections and messages: each is counted by its reason, and each reason is logged at
 * most once in ten seconds with the number since, so that a flood fills no disk.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { Fields, Logger } from '../base/log.ts';

const quietMs: Millis = 10_000;

export class Refusals {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #event: string;
  readonly #reasons = new Map<string, { total: number; unsaid: number; saidAt: Millis }>();

  /** @param event name of the log line, such as `rpc.refused`. */
  constructor(clock: Clock, log: Logger, event: string) {
    this.#clock = clock;
    this.#log = log;
    this.#event = event;
  }

  /** @param reason one of few words. @param fields facts of this one, for the log. */
  note(reason: string, fields: Fields = {}): void {
    const now = this.#clock.now();
    const seen = this.#reasons.get(reason);
    const entry = seen ?? { total: 0, unsaid: 0, saidAt: now - quietMs };
    if (seen === undefined) this.#reasons.set(reason, entry);
    entry.total += 1;
    entry.unsaid += 1;
    if (now - entry.saidAt < quietMs) return;
    this.#log.warn(this.#event, { reason, ...fields, count: entry.unsaid });
    entry.unsaid = 0;
    entry.saidAt = now;
  }

  /** Counts what is no news to anybody. */
  count(reason: string): void {
    const entry = this.#reasons.get(reason) ?? { total: 0, unsaid: 0, saidAt: -quietMs };
    this.#reasons.set(reason, entry);
    entry.total += 1;
  }

  /** How many were refused since the start, by reason. */
  totals(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#reasons].map(([reason, { total }]) => [reason, total]));
  }
}
