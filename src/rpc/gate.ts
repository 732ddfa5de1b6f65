/**
 * Who may begin a TLS handshake now. A handshake costs some hundred times what refusing one does,
 * so floods and port scans are turned away at accept, before any cryptography.
 *
 * Three buckets: one for each address (a scan from one host uses up its own), one for all strangers
 * together, and a wider one for each address of a known member, which strangers cannot empty. What
 * shares a member's address shares its bucket; connections that stand are never touched.
 */
import type { Millis } from '../base/clock.ts';

export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

export interface GateLimits {
  readonly stranger: Rate;
  readonly strangers: Rate;
  readonly member: Rate;
  /** Handshakes that have begun and not ended. */
  readonly pendingStrangers: number;
  readonly pendingMembers: number;
  /** Addresses remembered; the one unseen for longest is forgotten. */
  readonly addresses: number;
}

export const defaultGateLimits: GateLimits = {
  stranger: { burst: 20, perSecond: 5 },
  strangers: { burst: 60, perSecond: 30 },
  // A member that lost all its streams dials at most three times every 50 ms, for a moment.
  member: { burst: 120, perSecond: 40 },
  pendingStrangers: 32,
  pendingMembers: 64,
  addresses: 1_024,
};

export type GateVerdict =
  | { readonly ok: true; readonly done: () => void }
  | { readonly ok: false; readonly reason: 'too-many-handshakes' | 'too-many-pending' };

export class HandshakeGate {
  readonly #limits: GateLimits;
  readonly #strangerBuckets: AddressBuckets;
  readonly #memberBuckets: AddressBuckets;
  readonly #strangers: Bucket;
  #members: ReadonlySet<string> = new Set();
  #pendingStrangers = 0;
  #pendingMembers = 0;

  constructor(limits: GateLimits, now: Millis) {
    this.#limits = limits;
    this.#strangerBuckets = new AddressBuckets(limits.stranger, limits.addresses);
    this.#memberBuckets = new AddressBuckets(limits.member, limits.addresses);
    this.#strangers = new Bucket(limits.strangers, now);
  }

  /** Addresses from which members come; replaces the former set. */
  setMembers(addresses: Iterable<string>): void {
    this.#members = new Set([...addresses].map(plainAddress));
  }

  /** Whether a connection from `address` may begin its handshake; if so, call `done` at its end. */
  enter(address: string, now: Millis): GateVerdict {
    const from = plainAddress(address);
    const member = this.#members.has(from);
    const full = member
      ? this.#pendingMembers >= this.#limits.pendingMembers
      : this.#pendingStrangers >= this.#limits.pendingStrangers;
    if (full) return { ok: false, reason: 'too-many-pending' };
    const own = member ? this.#memberBuckets : this.#strangerBuckets;
    if (!own.take(from, now) || (!member && !this.#strangers.take(now))) {
      return { ok: false, reason: 'too-many-handshakes' };
    }
    return { ok: true, done: this.#begin(member) };
  }

  #begin(member: boolean): () => void {
    const add = (change: 1 | -1) => {
      if (member) this.#pendingMembers += change;
      else this.#pendingStrangers += change;
    };
    add(1);
    let open = true;
    return () => {
      if (open) add(-1);
      open = false;
    };
  }
}

/** The address as peers write it: a dual-stack socket shows IPv4 as `::ffff:10.0.0.1`. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}

/** A token bucket for each address, for so many addresses. */
export class AddressBuckets {
  readonly #rate: Rate;
  readonly #maxAddresses: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, maxAddresses: number) {
    this.#rate = rate;
    this.#maxAddresses = maxAddresses;
  }

  take(address: string, now: Millis): boolean {
    const bucket = this.#buckets.get(address) ?? new Bucket(this.#rate, now);
    // Last used, last in order: the first key of the map is the one to forget.
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    if (this.#buckets.size > this.#maxAddresses) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket.take(now);
  }

  /** Whether {@link take} would succeed. */
  available(address: string, now: Millis): boolean {
    return this.#buckets.get(address)?.available(now) ?? true;
  }
}

/** A token bucket: `burst` at once, `perSecond` after that. */
export class Bucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: Millis;

  constructor(rate: Rate, now: Millis) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Takes one token, if there is one. */
  take(now: Millis): boolean {
    if (!this.available(now)) return false;
    this.#tokens -= 1;
    return true;
  }

  available(now: Millis): boolean {
    const gained = ((now - this.#at) / 1_000) * this.#rate.perSecond;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + Math.max(0, gained));
    this.#at = now;
    return this.#tokens >= 1;
  }
}
