/**
 * The VIPs' place on this host: which interface carries each, who else claims one, and the
 * controller that holds them; joined to what the cluster says is this host's duty.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { VipDuty } from '../cluster/assign.ts';
import type { VipSeat } from '../cluster/duties.ts';
import type { ClusterState } from '../cluster/state.ts';
import { agentMarginMs } from '../cluster/timing.ts';
import type { ClusterView } from '../cluster/view.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { HostFence } from '../linux/host-fence.ts';
import { VipController } from '../vip/controller.ts';
import type { AddressTable, AnnounceLink, ClaimSource, VipPlacement } from '../vip/ports.ts';
import { Claimants } from './claimants.ts';
import { type PlacedVip, Places } from './placement.ts';

export interface SeatParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly config: AgentConfig;
  readonly table: AddressTable;
  readonly fence: HostFence;
  readonly link: AnnounceLink;
  readonly source: ClaimSource;
  readonly view: () => ClusterView;
  /** Called when what this host may hold may have changed. */
  readonly onChange: () => void;
}

/** How often a host that lacks a fence looks whether it may have it again. */
const TEND_FENCE_MS: Millis = 1_000;

export class Seat implements VipSeat {
  readonly #parts: SeatParts;
  readonly #vip: VipController;
  readonly #claimants: Claimants;
  readonly #places: Places;
  #placed: readonly PlacedVip[] = [];
  #retired = false;
  #tending: Timer | null = null;

  constructor(parts: SeatParts) {
    const { clock, log, table, fence, link, source, view, onChange } = parts;
    this.#parts = parts;
    this.#places = new Places(clock);
    this.#vip = new VipController({ clock, table, fence, link, log, marginMs: agentMarginMs });
    this.#claimants = new Claimants({
      ...{ clock, log, link, source, view, onChange },
      holds: (address) => this.#vip.holds(address),
      defend: (address) => this.#vip.defend(address),
    });
  }

  get vip(): VipController {
    return this.#vip;
  }

  /** Removes what a former process left (rule R11). */
  start(): void {
    this.#vip.onChange(({ held }) => {
      if (held) this.#claimants.claimed();
    });
    this.#vip.start();
    this.#tendFence();
  }

  /** What stopped a fence may end in silence, where nothing else happens: a firewall reloads. */
  #tendFence(): void {
    const { clock, fence } = this.#parts;
    this.#tending = clock.after(TEND_FENCE_MS, () => {
      if (fence.trouble() !== null) this.#vip.look();
      this.#tendFence();
    });
  }

  take(duty: VipDuty): void {
    if (this.#retired) return;
    const vips = this.carried().filter(({ address }) => !this.#claimants.yielded(address));
    this.#vip.set({ vips, hold: duty.hold, reason: duty.reason });
  }

  renew(deadline: Millis): void {
    this.#vip.renew(deadline);
  }

  /** The VIP goes, and no duty counts any more: a node that failed may still think it leads. */
  retire(): void {
    this.take({ vips: [], hold: null, reason: 'stopped' });
    this.#retired = true;
  }

  /** Finds the interfaces anew; why this host could not carry every VIP, or null. */
  place(state: ClusterState): string | null {
    const { table, config, onChange } = this.#parts;
    const links = table.links();
    this.#placed = this.#places.find(state.spec.vips, links, config, onChange);
    this.#claimants.listen(this.carried(), links);
    const misplaced = this.#placed.find(({ problem }) => problem !== null);
    return misplaced?.problem ?? this.#claimants.problem();
  }

  /** Asks the links for the VIPs, because this host may soon claim them. */
  lookForRivals(): void {
    this.#claimants.look();
  }

  /** The VIPs that have an interface here. */
  carried(): readonly VipPlacement[] {
    return this.#placed.flatMap(({ address, interface: link }) =>
      link === null ? [] : [{ address, interface: link }],
    );
  }

  /** Where each VIP is, and what keeps it from being held here. */
  placed(): readonly PlacedVip[] {
    return this.#placed.map((vip) => {
      const yielded = this.#claimants.yielded(vip.address);
      return yielded === null ? vip : { ...vip, problem: yielded };
    });
  }

  /** Of the interfaces that carry VIPs. */
  macs(): readonly string[] {
    const carriers = new Set(this.#placed.map((vip) => vip.interface));
    const links = this.#parts.table.links().filter((link) => carriers.has(link.name));
    return links.flatMap(({ mac }) => (mac === null ? [] : [mac])).sort();
  }

  /** Foreign claims of VIPs held here, and strangers found to answer for one. */
  conflicts(): number {
    return this.#claimants.conflicts;
  }

  alarms(): readonly string[] {
    return this.#claimants.alarms();
  }

  /** Looks and listens no more; what is held goes with {@link retire}. */
  stopLooking(): void {
    this.#tending?.cancel();
    this.#claimants.stop();
    this.#places.stop();
  }
}
