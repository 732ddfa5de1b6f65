/**
 * What follows when somebody else claims a VIP (rule R12). The lease says that nobody else holds
 * it, so a claim by a *member* means that something is badly wrong here or there: let go at once
 * and do not lead for a while. A *stranger* is answered as the VIP's policy says: `defend` tells
 * the link again, seldom, and serves on, because one forged frame must not take the VIP down;
 * `yield` leaves the VIP to nobody for a while, here and, since every member hears the same claim
 * and acts alike, anywhere.
 *
 * Invariant: claims are only ever heard, never asked for; what answers a probe is Rivals' matter.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Claim } from './ports.ts';

export type ConflictPolicy = 'defend' | 'yield';

/** How long a VIP that was yielded, or a host that a member contradicts, holds back. */
export const HOLD_BACK_MS: Millis = 10_000;
/** A VIP is defended, and its conflict written to the log, at most once in this time. */
const DEFEND_EVERY_MS: Millis = 10_000;
/** A claim this long ago is no alarm any more. */
const FORGET_AFTER_MS: Millis = 60_000;

export interface ConflictParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether a link of this host has the MAC: a bridge or a bond may bring back what we sent. */
  readonly isOwn: (mac: string) => boolean;
  /** The name of the other member that has the MAC; null where none has. */
  readonly memberOf: (mac: string) => string | null;
  readonly policyOf: (address: string) => ConflictPolicy;
  readonly holds: (address: string) => boolean;
  /** For the log. */
  readonly term: () => number;
  /** Whether our own question may still be answered: a stale answer is not a claim. */
  readonly asking: () => boolean;
  /** Tells the link again where the VIP is. */
  readonly defend: (address: string) => void;
  /** Asks the link for the VIPs before one of them is claimed again; resolves when it is known. */
  readonly probe: () => Promise<void>;
  /** Called when {@link Conflicts.problem} or {@link Conflicts.yielded} changed. */
  readonly onChange: () => void;
}

interface Conflict {
  mac: string;
  member: string | null;
  claims: number;
  /** The first of its claims that are counted. */
  readonly firstAt: Millis;
  lastAt: Millis;
  toldAt: Millis;
}

export class Conflicts {
  readonly #parts: ConflictParts;
  /** By address; one for each VIP, the newest claimant. */
  readonly #conflicts = new Map<string, Conflict>();
  /** VIPs that are left alone until then. */
  readonly #yielded = new Map<string, Millis>();
  #heldBack: { readonly reason: string; readonly until: Millis } | null = null;
  #timer: Timer | null = null;
  #stopped = false;
  #total = 0;

  constructor(parts: ConflictParts) {
    this.#parts = parts;
  }

  /** Foreign claims of VIPs that were held here, since the start. */
  get total(): number {
    return this.#total;
  }

  /** Somebody says that a VIP is theirs. */
  heard({ address, mac }: Claim): void {
    if (this.#stopped || this.#parts.isOwn(mac)) return;
    const member = this.#parts.memberOf(mac);
    if (member === null) this.#stranger(address, mac);
    else if (this.#parts.holds(address) && !this.#parts.asking()) {
      this.#note(address, mac, member);
      const reason = `${member} (${mac}) claims ${address} as well`;
      this.#heldBack = { reason, until: this.#parts.clock.now() + HOLD_BACK_MS };
      this.#schedule();
      this.#parts.onChange();
    }
  }

  /** Why this host must hold nothing at all for now, or null. */
  problem(): string | null {
    return this.#heldBack?.reason ?? null;
  }

  /** Why nobody is to hold this VIP for now, or null. */
  yielded(address: string): string | null {
    if (!this.#yielded.has(address)) return null;
    const mac = this.#conflicts.get(address)?.mac ?? 'a stranger';
    return `it was yielded to ${mac}, which is no member`;
  }

  /** Sentences for status: what somebody has done to find and to end. */
  alarms(): readonly string[] {
    const since = this.#parts.clock.now() - FORGET_AFTER_MS;
    return [...this.#conflicts].flatMap(([address, { mac, member, lastAt }]) => {
      if (lastAt < since) return [];
      if (member !== null) {
        return [`${member} (${mac}) has claimed ${address} while this node held it: see its log`];
      }
      const done = this.#parts.policyOf(address) === 'yield' ? 'yielded' : 'defended';
      return [
        `${address} was claimed by ${mac}, which is no member, and ${done}: find that host and ` +
          'take the address from it',
      ];
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #stranger(address: string, mac: string): void {
    const { clock, policyOf, holds, defend, onChange } = this.#parts;
    const holder = holds(address);
    const yields = policyOf(address) === 'yield';
    if (!holder && !yields) return;
    const isNews = this.#note(address, mac, null);
    if (!yields) {
      if (isNews) defend(address);
      return;
    }
    const wasYielded = this.#yielded.has(address);
    this.#yielded.set(address, clock.now() + HOLD_BACK_MS);
    this.#schedule();
    if (!wasYielded) onChange();
  }

  /** Keeps the conflict; whether it is time to say and to do something about it again. */
  #note(address: string, mac: string, member: string | null): boolean {
    const { clock, log, holds, term } = this.#parts;
    const now = clock.now();
    const holder = holds(address);
    if (holder) this.#total++;
    const before = this.#conflicts.get(address);
    const isOther = before?.member !== member;
    const isNews = before === undefined || isOther || now - before.toldAt >= DEFEND_EVERY_MS;
    const same = before?.mac === mac ? before : null;
    const claims = (same?.claims ?? 0) + 1;
    const toldAt = isNews ? now : before.toldAt;
    const firstAt = same?.firstAt ?? now;
    this.#conflicts.set(address, { mac, member, claims, firstAt, lastAt: now, toldAt });
    if (isNews) {
      const forMs = Math.round(now - firstAt);
      const reason = this.#outcome(address, member);
      log.error('vip.conflict', {
        ...{ address, mac, member, claims, holder, term: term(), forMs, reason },
      });
    }
    return isNews;
  }

  /** What a claim leads to, in words for the log. */
  #outcome(address: string, member: string | null): string {
    if (member !== null) return 'a member claims it as well: everything is let go';
    const yields = this.#parts.policyOf(address) === 'yield';
    return `claimed by a stranger: ${yields ? 'yielded' : 'defended'}`;
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const ends = [...this.#yielded.values(), ...(this.#heldBack ? [this.#heldBack.until] : [])];
    if (ends.length === 0 || this.#stopped) return;
    const { clock } = this.#parts;
    this.#timer = clock.after(Math.min(...ends) - clock.now(), () => void this.#lift());
  }

  /** Some time of holding back may be over: looks who is there, and goes on. */
  async #lift(): Promise<void> {
    this.#timer = null;
    await this.#parts.probe();
    if (this.#stopped) return;
    const now = this.#parts.clock.now();
    if (this.#heldBack !== null && this.#heldBack.until <= now) this.#heldBack = null;
    for (const [address, until] of this.#yielded) if (until <= now) this.#yielded.delete(address);
    this.#schedule();
    this.#parts.onChange();
  }
}
