/**
 * Two guards of different kinds around the same VIPs, because either can be taken away by others:
 * `nft flush ruleset` removes the one, a foreign program at the head of TCX bypasses the other. A
 * frame passes only where both let it pass, so either alone still falls shut in time.
 *
 * Three lines are counted: TCX, clsact, nftables. With fewer than two of them left the VIPs have to
 * go; with two, the missing one is put back and nothing else happens.
 */
import type { Millis } from '../base/clock.ts';
import { describeError, OperatingError } from '../base/errors.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { rawNow } from './clock.ts';
import type { EbpfFence } from './ebpf-fence.ts';
import type { HostFence } from './host-fence.ts';
import type { NftFence } from './nft-fence.ts';

/** No single line is trusted alone, where the host can have more. */
const LINES_WANTED = 2;
/** nftables is tried again so soon, and then ever more seldom: a firewall may be reloading. */
const RETRY_FIRST_MS: Millis = 1_000;
const RETRY_MAX_MS: Millis = 300_000;
/** One renewal may have run out before it was looked for; so many in a row never arrive. */
const RENEWALS_MISSED_MAX = 3;

export class DoubleFence implements HostFence {
  readonly kind = 'ebpf+nft';
  readonly #ebpf: EbpfFence;
  readonly #nft: NftFence;
  /** Why nftables does not take part; null while it does. */
  #nftTrouble: string | null = null;
  #retryAt: Millis = 0;
  #retryMs: Millis = RETRY_FIRST_MS;
  #vips: readonly VipPlacement[] = [];
  /** Renewals that did not arrive since the rules were set; null once one was seen to. */
  #renewalsMissed: number | null = 0;
  /** The deadline in force; null while shut. */
  #deadline: Millis | null = null;
  /** Lines that stood when the fence was last armed. */
  #lines = 0;

  constructor(ebpf: EbpfFence, nft: NftFence) {
    this.#ebpf = ebpf;
    this.#nft = nft;
  }

  arm(vips: readonly VipPlacement[]): void {
    this.#vips = vips;
    this.#ebpf.arm(vips);
    if (this.#mayUseNft()) this.#withNft(() => this.#armNft(vips));
    this.#lines = this.#count();
  }

  open(deadline: Millis): void {
    this.#deadline = deadline;
    this.#ebpf.open(deadline);
    if (this.#nftTrouble !== null) {
      if (!this.#mayUseNft()) return;
      this.#withNft(() => this.#armNft(this.#vips));
      this.#lines = Math.max(this.#lines, this.#count());
      return;
    }
    this.#withNft(() => {
      const opened = this.#nft.open(deadline);
      if (opened && this.#renewalsMissed !== null) this.#expectRenewal(this.#renewalsMissed);
    });
  }

  shut(): void {
    this.#deadline = null;
    this.#ebpf.shut();
    // A table without an agent that renews it is shut as well; then there is nothing to say.
    if (this.#nftTrouble === null) this.#withNft(() => this.#nft.shut());
  }

  intact(): boolean {
    return this.#count() >= Math.min(LINES_WANTED, this.#lines);
  }

  disarm(): void {
    this.#deadline = null;
    this.#ebpf.disarm();
    this.#nft.disarm();
    this.#lines = 0;
  }

  standing(): readonly string[] {
    const nft = this.#nftTrouble === null ? this.#nft.standing() : [];
    return [...this.#ebpf.standing(), ...nft];
  }

  drops(): number {
    return this.#ebpf.drops();
  }

  trouble(): string | null {
    return this.#nftTrouble;
  }

  /** Asks for the cheap lines first: two are enough. */
  #count(): number {
    const nft = this.#nftTrouble === null && this.#nft.intact() ? 1 : 0;
    return nft + this.#ebpf.lines(LINES_WANTED - nft);
  }

  #armNft(vips: readonly VipPlacement[]): void {
    if (!this.#nft.arm(vips)) return;
    this.#renewalsMissed = 0;
    // Rules that were put back are shut, and the next renewal may be a heartbeat away.
    if (this.#deadline !== null) this.#nft.open(this.#deadline);
  }

  /**
   * A host firewall may drop what the agent sends to itself; then this fence would keep the VIP
   * mute for ever.
   */
  #expectRenewal(missed: number): void {
    this.#renewalsMissed = this.#nft.isOpen() ? null : missed + 1;
    if (this.#renewalsMissed === null) this.#retryMs = RETRY_FIRST_MS;
    if ((this.#renewalsMissed ?? 0) < RENEWALS_MISSED_MAX) return;
    throw new OperatingError({
      code: 'fence-unreachable',
      message: 'its renewals do not arrive on the loopback interface',
      hint: 'let a firewall accept all output to lo',
    });
  }

  /** Whether it takes part, or is to be tried again now. */
  #mayUseNft(): boolean {
    if (this.#nftTrouble === null) return true;
    const now = rawNow();
    if (now < this.#retryAt) return false;
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
    this.#retryAt = now + this.#retryMs;
    // Armed where its renewals do not leave, it would only make the VIPs mute.
    if (!this.#nft.maySend()) return false;
    this.#nftTrouble = null;
    return true;
  }

  /** The eBPF fence guards alone where nftables cannot. */
  #withNft(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code === 'interface-missing') throw error;
      this.#nftTrouble = `no nftables fence: ${describeError(error)}`;
      this.#retryAt = rawNow() + this.#retryMs;
      this.#nft.disarm();
      this.#lines = Math.min(this.#lines, this.#count());
    }
  }
}
