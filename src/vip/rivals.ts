/**
 * Asks the links whether somebody else answers for a VIP (RFC 5227), when this host is about to be
 * a holder. A *stranger*, whose MAC no member has or had, keeps the VIP from being claimed until it
 * is silent; a member's MAC that still answers is a switch's or a neighbour's stale cache, and the
 * lease has settled that matter already.
 *
 * The question goes out when a campaign begins, so it costs no waiting. An answer that comes after
 * the claim raises the alarm and changes nothing: a single spoofed frame must not take the VIP
 * down.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { AnnounceLink, VipPlacement } from './ports.ts';

/** A neighbour answers within a millisecond; a campaign takes three or more. */
const QUICK_WAIT_MS: Millis = 2;
/** For slow ones, whose answer then is an alarm if the VIP was claimed meanwhile. */
const WAIT_MS: Millis = 250;
/** While a stranger answers it is asked again this often. */
const AGAIN_MS: Millis = 1_000;

export interface RivalParts {
  readonly clock: Clock;
  readonly link: AnnounceLink;
  readonly log: Logger;
  /** MACs of present and former members. */
  readonly known: () => ReadonlySet<string>;
  readonly holds: (address: string) => boolean;
  /** For the log. */
  readonly term: () => number;
  /** Called when {@link Rivals.problem} changed. */
  readonly onChange: () => void;
}

interface Stranger {
  readonly mac: string;
  readonly blocks: boolean;
}

export class Rivals {
  readonly #parts: RivalParts;
  readonly #strangers = new Map<string, Stranger>();
  #again: Timer | null = null;
  #looking = false;
  #conflicts = 0;
  #stopped = false;

  constructor(parts: RivalParts) {
    this.#parts = parts;
  }

  /**
   * A campaign begins: asks for every VIP, at once. Resolves when everybody has had time to answer.
   */
  async look(vips: readonly VipPlacement[]): Promise<void> {
    if (this.#looking || this.#stopped) return;
    this.#again?.cancel();
    this.#looking = true;
    const asked = vips.map(async (vip) => {
      await this.#ask(vip, QUICK_WAIT_MS);
      await this.#ask(vip, WAIT_MS);
    });
    await Promise.all(asked);
    this.#looking = false;
    if (this.#strangers.size === 0 || this.#stopped) return;
    this.#again = this.#parts.clock.after(AGAIN_MS, () => void this.look(vips));
  }

  /** Whether answers may still come. */
  get asking(): boolean {
    return this.#looking;
  }

  /** Why this host must not claim, or null. */
  problem(): string | null {
    for (const [address, { mac, blocks }] of this.#strangers) {
      if (blocks) return `a stranger, ${mac}, answers for ${address}`;
    }
    return null;
  }

  /** Sentences for status, whether or not they keep this host from claiming. */
  alarms(): readonly string[] {
    return [...this.#strangers].map(
      ([address, { mac }]) =>
        `${address} is also answered for by ${mac}, which is no member: find that host and ` +
        'take the address from it',
    );
  }

  /** How often a stranger was found to answer for a VIP. */
  conflicts(): number {
    return this.#conflicts;
  }

  stop(): void {
    this.#stopped = true;
    this.#again?.cancel();
  }

  async #ask(vip: VipPlacement, waitMs: Millis): Promise<void> {
    const { link, log, known, holds, term, onChange } = this.#parts;
    const { address } = vip;
    let answers: readonly string[];
    try {
      answers = await link.probe(vip, waitMs);
    } catch (error) {
      // The link is not there: that is another reason not to claim, and said elsewhere.
      log.warn('vip.probe-failed', { address, why: describeError(error) });
      return;
    }
    if (this.#stopped) return;
    const mac = answers.find((each) => !known().has(each));
    const before = this.#strangers.get(address);
    if (mac === undefined) {
      // Silence counts only if the wait was long enough for anybody.
      if (before === undefined || waitMs < WAIT_MS) return;
      this.#strangers.delete(address);
      log.info('vip.stranger-gone', { address, mac: before.mac });
      onChange();
      return;
    }
    // Seen beside a VIP that was held, it is in the way once that has gone elsewhere.
    const blocks = !holds(address);
    if (before?.mac === mac && before.blocks === blocks) return;
    this.#strangers.set(address, { mac, blocks });
    if (before?.mac !== mac) this.#conflicts++;
    const reason = blocks ? 'it answers, so nobody claims' : 'it answers for a VIP that is held';
    log.error('vip.stranger', { address, mac, blocks, term: term(), reason });
    onChange();
  }
}
