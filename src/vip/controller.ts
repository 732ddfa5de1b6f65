/**
 * Holds the VIPs while its owner's lease lasts, and lets go before it ends. The owner says what is
 * desired; this makes the kernel agree, and heals what others undo.
 *
 * Invariants:
 * - An address is put only behind an armed fence, and announced only while the lease lasts by a
 *   clock read after the address was put.
 * - Nothing is held past `deadline - marginMs` by this process; the kernel's fence guards the rest.
 * - Every entry looks at the clock first: the process may have slept before any of them.
 * - Failing to let go throws. Whoever catches it must end the process.
 */
import { InvariantViolation } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError, OperatingError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { Announcing } from './announcing.ts';
import { type Eligibility, linkTrouble, vipEligibility } from './placement.ts';
import { plan, samePlacement } from './plan.ts';
import type {
  AddressTable,
  AnnounceLink,
  Fence,
  Link,
  VipDesired,
  VipPlacement,
  VipView,
} from './ports.ts';

/** The lifetime of an address is refreshed so often, and everything is looked at again. */
const PASS_EVERY_MS: Millis = 1000;
/** While something desired is not held, a renewal looks again after this time. */
const RETRY_EVERY_MS: Millis = 100;
/** A fence that is taken away again within this time stays away as long: no fight at full speed. */
const FENCE_RETRY_MS: Millis = 1000;
/** Two refreshes may be missed before the kernel drops an address that is still leased. */
const SPARE_LIFETIME_SECONDS = 2;

/** Reasons that come from here alone, in words for log and status. */
const LEASE_OVER = 'the lease has run out';
const FENCE_GONE = 'others took the fence away, and nothing is held without one';

export interface VipControllerParts {
  readonly clock: Clock;
  readonly table: AddressTable;
  readonly fence: Fence;
  readonly link: AnnounceLink;
  readonly log: Logger;
  /** Holding ends so long before the lease does. */
  readonly marginMs: Millis;
}

/** One VIP began or ended to be held here. */
export interface VipTransition {
  readonly address: string;
  readonly held: boolean;
  readonly reason: string;
  /** The tenure's, as its owner counts it; null where the address was a former process's. */
  readonly epoch: number | null;
}

interface OwnCounters {
  claims: number;
  withdrawals: number;
  fenceRenewals: number;
  /** The fence was found missing or bypassed while holding. */
  fenceLosses: number;
  /** Let go only after the lease had ended: the kernel's fence stood in. */
  lateDrops: number;
  /** Addresses put back after somebody else removed them. */
  repairs: number;
}

export interface VipCounters extends OwnCounters {
  announcementsSent: number;
  announcementsFailed: number;
}

interface HeldVip {
  readonly vip: VipPlacement;
  readonly epoch: number;
  readonly claimedAt: Millis;
}

interface Report {
  heldHere: boolean;
  sinceWallMs: Millis;
  reason: string;
}

const NOTHING: VipDesired = { vips: [], hold: null, reason: 'starting' };

export class VipController {
  readonly #parts: VipControllerParts;
  readonly #held = new Map<string, HeldVip>();
  readonly #reports = new Map<string, Report>();
  readonly #listeners: ((transition: VipTransition) => void)[] = [];
  readonly #announcing: Announcing;
  readonly #counters: OwnCounters = {
    claims: 0,
    withdrawals: 0,
    fenceRenewals: 0,
    fenceLosses: 0,
    lateDrops: 0,
    repairs: 0,
  };
  #desired: VipDesired = NOTHING;
  /** The end of the lease as far as it is known; only meaningful while a hold is desired. */
  #deadline: Millis = 0;
  #nextPassAt: Millis = Number.NEGATIVE_INFINITY;
  #refreshAt: Millis = Number.NEGATIVE_INFINITY;
  #fenceLostAt: Millis = Number.NEGATIVE_INFINITY;
  #fenceRetryAt: Millis = Number.NEGATIVE_INFINITY;
  /** The last trouble with the fence, to log it once. */
  #fenceTrouble: string | null = null;
  #watch: { close(): void } | null = null;
  #dropTimer: Timer | null = null;

  constructor(parts: VipControllerParts) {
    this.#parts = parts;
    const mayAnnounce = (now: Millis): boolean => {
      if (this.#forbidden(now) === null) return true;
      this.#pass();
      return false;
    };
    const { clock, link, table, log } = parts;
    this.#announcing = new Announcing({ clock, link, table, log, mayAnnounce });
  }

  /** Removes what a former process left, and begins to watch. Nothing is held before. */
  start(): void {
    this.#letGo('a former process left it');
    this.#watch = this.#parts.table.watch(() => this.#wake());
  }

  /**
   * Says what is desired; the same twice is once. When a withdrawal returns, the kernel has closed
   * the fence and deleted the address.
   */
  set(desired: VipDesired): void {
    const { hold: before } = this.#desired;
    const { hold } = desired;
    const mayStay = hold === null && before === null && sameVips(desired.vips, this.#desired.vips);
    this.#desired = desired;
    if (mayStay) {
      // Only who leads has changed: an election has no time for the kernel to be asked again.
      for (const vip of desired.vips) this.#explain(vip.address, desired.reason);
      return;
    }
    for (const address of [...this.#reports.keys()]) {
      if (!desired.vips.some((vip) => vip.address === address)) this.#reports.delete(address);
    }
    if (hold !== null && hold.epoch === before?.epoch) {
      this.#deadline = Math.max(this.#deadline, hold.deadline);
    } else {
      // Another tenure inherits nothing, not even for an instant.
      if (hold !== null) this.#letGo('another tenure begins');
      this.#deadline = hold?.deadline ?? this.#deadline;
    }
    this.#pass();
  }

  /** A round was acknowledged: the lease lasts until `deadline`. Cheap; nothing if not holding. */
  renew(deadline: Millis): void {
    if (this.#desired.hold === null) return;
    if (deadline > this.#deadline) this.#deadline = deadline;
    const { clock, fence } = this.#parts;
    const now = clock.now();
    const allowed = this.#forbidden(now) === null;
    if (this.#held.size === 0) {
      if (allowed && now >= this.#nextPassAt) this.#pass();
      return;
    }
    if (allowed && fence.intact()) {
      fence.open(this.#deadline);
      this.#counters.fenceRenewals++;
      if (now < this.#nextPassAt) return;
    }
    this.#pass();
  }

  /** Whether any VIP is held here. */
  holding(): boolean {
    return this.#held.size > 0;
  }

  /** Whether this VIP is held here. */
  holds(address: string): boolean {
    return this.#held.has(address);
  }

  /** Tells the link once more where the VIP is, if it is held here. */
  defend(address: string): void {
    this.#announcing.defend(address);
  }

  /** Whether this host could hold the desired VIPs, for whoever decides who shall. */
  eligibility(): Eligibility {
    return vipEligibility(this.#desired.vips, this.#parts.table.links());
  }

  view(): readonly VipView[] {
    return this.#desired.vips.map((vip) => ({
      ...vip,
      ...this.#report(vip.address),
    }));
  }

  counters(): Readonly<VipCounters> {
    const { sent, failed } = this.#announcing.counters;
    return { ...this.#counters, announcementsSent: sent, announcementsFailed: failed };
  }

  /** Calls back after each VIP that began or ended to be held. */
  onChange(listener: (transition: VipTransition) => void): void {
    this.#listeners.push(listener);
  }

  /** Lets go of everything and removes the fence. */
  stop(): void {
    this.#watch?.close();
    this.#watch = null;
    this.#desired = { ...this.#desired, hold: null, reason: 'stopped' };
    this.#letGo('stopped');
    this.#parts.fence.disarm();
  }

  /** Observes, plans and acts without a reason of the kernel's. Nothing before {@link start}. */
  look(): void {
    this.#wake();
  }

  #wake(): void {
    if (this.#watch !== null) this.#pass();
  }

  /** Why nothing may be held at this moment, or null. */
  #forbidden(now: Millis): string | null {
    if (this.#desired.hold === null) return this.#desired.reason;
    return now < this.#deadline - this.#parts.marginMs ? null : LEASE_OVER;
  }

  /** Observe, plan, act. */
  #pass(): void {
    const { clock, table, fence } = this.#parts;
    const forbidden = this.#forbidden(clock.now());
    if (forbidden !== null) {
      this.#letGo(forbidden);
      this.#arm(table.links());
      return;
    }
    if (this.#held.size > 0 && !fence.intact()) this.#dropUnguarded();
    const links = table.links();
    const trouble = clock.now() < this.#fenceRetryAt ? FENCE_GONE : this.#arm(links);
    if (trouble === null) this.#reconcile(links);
    else {
      this.#letGo(trouble);
      this.#nextPassAt = clock.now() + RETRY_EVERY_MS;
    }
  }

  /** Others took the fence away: everything goes at once, and may come back behind a new one. */
  #dropUnguarded(): void {
    const { clock, fence, log } = this.#parts;
    const now = clock.now();
    this.#counters.fenceLosses++;
    if (now - this.#fenceLostAt < FENCE_RETRY_MS) this.#fenceRetryAt = now + FENCE_RETRY_MS;
    this.#fenceLostAt = now;
    const [held] = this.#held.values();
    const leaseLeftMs = Math.round(this.#deadline - now);
    const term = held?.epoch ?? null;
    log.error('vip.fence-missing', { fence: fence.kind, term, leaseLeftMs, reason: FENCE_GONE });
    this.#letGo(FENCE_GONE);
  }

  #reconcile(links: readonly Link[]): void {
    const { clock, table } = this.#parts;
    const now = clock.now();
    const steps = plan({
      vips: this.#desired.vips,
      links,
      ours: table.ours(),
      held: [...this.#held.values()].map((held) => held.vip),
    });
    for (const step of steps) {
      switch (step.kind) {
        case 'withdraw':
          this.#withdraw(step.address, step.reason);
          break;
        case 'claim':
        case 'restore':
          this.#claim(step.vip, links);
          break;
        case 'keep':
          this.#keep(step.vip, links);
          break;
        case 'wait':
          this.#explain(step.vip.address, step.reason);
      }
    }
    if (steps.some(({ kind }) => kind === 'withdraw')) this.#arm(links);
    if (now >= this.#refreshAt) this.#refreshAt = now + PASS_EVERY_MS;
    const complete = this.#held.size === this.#desired.vips.length;
    this.#nextPassAt = now + (complete ? PASS_EVERY_MS : RETRY_EVERY_MS);
    this.#scheduleDrop();
  }

  /**
   * Closes the fence around every VIP whose link is there; the reason why it could not, or null.
   */
  #arm(links: readonly Link[]): string | null {
    // What is held and not desired any more, or elsewhere, is guarded until it has gone.
    const leaving = [...this.#held.values()]
      .map(({ vip }) => vip)
      .filter((held) => !this.#desired.vips.some((vip) => samePlacement(vip, held)));
    const vips = [...this.#desired.vips, ...leaving].filter((vip) =>
      links.some((link) => link.name === vip.interface),
    );
    try {
      this.#parts.fence.arm(vips);
      this.#fenceTrouble = null;
    } catch (error) {
      if (error instanceof InvariantViolation) throw error;
      const reason = `fence: ${describeError(error)}`;
      if (this.#fenceTrouble !== reason) this.#parts.log.error('vip.fence-failed', { reason });
      this.#fenceTrouble = reason;
    }
    return this.#fenceTrouble;
  }

  #claim(vip: VipPlacement, links: readonly Link[]): void {
    const { clock, table, fence, log } = this.#parts;
    const { hold } = this.#desired;
    const link = links.find(({ name }) => name === vip.interface);
    const mac = link?.mac ?? null;
    if (hold === null || link === undefined || mac === null) return;
    try {
      table.put(vip, this.#lifetimeSeconds());
    } catch (error) {
      if (error instanceof InvariantViolation) throw error;
      const reason = describeError(error);
      if (this.#explain(vip.address, reason)) log.warn('vip.claim-failed', { ...vip, reason });
      this.#withdraw(vip.address, reason);
      return;
    }
    const now = clock.now();
    const late = this.#forbidden(now);
    if (late !== null) {
      this.#withdraw(vip.address, late);
      return;
    }
    fence.open(this.#deadline);
    const former = this.#held.get(vip.address);
    this.#held.set(vip.address, { vip, epoch: hold.epoch, claimedAt: former?.claimedAt ?? now });
    this.#announcing.begin(vip, { ...link, mac });
    if (former !== undefined) {
      this.#counters.repairs++;
      log.warn('vip.repaired', { ...vip, reason: 'somebody removed the address' });
      return;
    }
    this.#counters.claims++;
    const leaseLeftMs = Math.round(this.#deadline - now);
    const { reason } = this.#desired;
    log.info('vip.claimed', { ...vip, term: hold.epoch, leaseLeftMs, reason });
    this.#tell({
      address: vip.address,
      held: true,
      reason: this.#desired.reason,
      epoch: hold.epoch,
    });
  }

  #keep(vip: VipPlacement, links: readonly Link[]): void {
    const { clock, table } = this.#parts;
    const link = links.find(({ name }) => name === vip.interface);
    if (link === undefined) return;
    if (clock.now() >= this.#refreshAt) table.put(vip, this.#lifetimeSeconds());
    this.#explain(vip.address, linkTrouble(vip.interface, links) ?? this.#desired.reason);
    this.#announcing.see(vip, link);
  }

  /** Lets go of everything. Whatever fails, the rest is tried; then the first failure is thrown. */
  #letGo(reason: string): void {
    const { fence, table } = this.#parts;
    this.#dropTimer?.cancel();
    this.#dropTimer = null;
    this.#nextPassAt = Number.NEGATIVE_INFINITY;
    const failures: unknown[] = [];
    const attempt = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        failures.push(error);
      }
    };
    attempt(() => fence.shut());
    this.#noteLateDrop();
    // What is known to be held goes first: it needs no list from the kernel.
    for (const address of [...this.#held.keys()]) attempt(() => this.#withdraw(address, reason));
    attempt(() => {
      for (const vip of table.ours()) attempt(() => this.#withdraw(vip.address, reason));
    });
    for (const vip of this.#desired.vips) this.#explain(vip.address, reason);
    if (failures.length === 0) return;
    // What stays must at least be mute, also where somebody took the fence away.
    attempt(() => fence.arm(table.ours()));
    throw cannotLetGo(failures[0]);
  }

  /** The lease ended while something was held: the kernel's fence stood in for this process. */
  #noteLateDrop(): void {
    const lateMs = Math.round(this.#parts.clock.now() - this.#deadline);
    const [held] = this.#held.values();
    if (held === undefined || lateMs < 0) return;
    this.#counters.lateDrops++;
    const heldMs = Math.round(this.#parts.clock.now() - held.claimedAt);
    const reason = 'the agent was late: its fence had let go before it';
    this.#parts.log.warn('vip.fence-expired', { term: held.epoch, heldMs, lateMs, reason });
  }

  #withdraw(address: string, reason: string): void {
    const { table, log } = this.#parts;
    this.#announcing.end(address);
    table.remove(address);
    const held = this.#held.get(address);
    this.#held.delete(address);
    if (held === undefined) {
      this.#explain(address, reason);
      return;
    }
    this.#counters.withdrawals++;
    const now = this.#parts.clock.now();
    const heldMs = Math.round(now - held.claimedAt);
    const leaseLeftMs = Math.round(this.#deadline - now);
    log.info('vip.withdrawn', { address, term: held.epoch, heldMs, leaseLeftMs, reason });
    this.#tell({ address, held: false, reason, epoch: held.epoch });
  }

  #lifetimeSeconds(): number {
    const leftMs = Math.max(0, this.#deadline - this.#parts.clock.now());
    return Math.ceil(leftMs / 1000) + SPARE_LIFETIME_SECONDS;
  }

  /** One timer for the whole tenure: when it rings, it asks how far the lease reaches by now. */
  #scheduleDrop(): void {
    if (this.#dropTimer !== null) return;
    const { clock, marginMs } = this.#parts;
    this.#dropTimer = clock.after(this.#deadline - marginMs - clock.now(), () => {
      this.#dropTimer = null;
      if (this.#forbidden(clock.now()) !== null) this.#pass();
      else this.#scheduleDrop();
    });
  }

  #report(address: string): Report {
    const known = this.#reports.get(address);
    if (known !== undefined) return known;
    const wallNow = this.#parts.clock.wallNow();
    const report = { heldHere: false, sinceWallMs: wallNow, reason: this.#desired.reason };
    this.#reports.set(address, report);
    return report;
  }

  /** Notes the reason for a VIP's state; whether it is news. */
  #explain(address: string, reason: string): boolean {
    const report = this.#report(address);
    const news = report.reason !== reason;
    report.reason = reason;
    return news;
  }

  #tell(transition: VipTransition): void {
    this.#reports.set(transition.address, {
      heldHere: transition.held,
      sinceWallMs: this.#parts.clock.wallNow(),
      reason: transition.reason,
    });
    for (const listener of this.#listeners) listener(transition);
  }
}

function sameVips(left: readonly VipPlacement[], right: readonly VipPlacement[]): boolean {
  return (
    left.length === right.length &&
    left.every((vip, at) => {
      const other = right[at];
      return vip.address === other?.address && vip.interface === other.interface;
    })
  );
}

function cannotLetGo(cause: unknown): OperatingError {
  return new OperatingError({
    code: 'vip-stuck',
    message: `the VIP could not be withdrawn: ${describeError(cause)}`,
    hint: 'the agent ends now, and `holdfast cleanup` removes what is left',
    cause,
  });
}
