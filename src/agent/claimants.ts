/**
 * Who else claims the VIPs: the question before this host claims one (rule R7), and the ear while
 * anybody holds it (rule R12), joined to what the cluster knows of MACs and policies.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterView } from '../cluster/view.ts';
import { Conflicts } from '../vip/conflicts.ts';
import type { AnnounceLink, ClaimSource, Link, VipPlacement } from '../vip/ports.ts';
import { Rivals } from '../vip/rivals.ts';

export interface ClaimantParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly link: AnnounceLink;
  readonly source: ClaimSource;
  readonly view: () => ClusterView;
  readonly holds: (address: string) => boolean;
  readonly defend: (address: string) => void;
  /** Called when what this host may hold may have changed. */
  readonly onChange: () => void;
}

export class Claimants {
  readonly #parts: ClaimantParts;
  readonly #rivals: Rivals;
  readonly #conflicts: Conflicts;
  #vips: readonly VipPlacement[] = [];
  #ownMacs: ReadonlySet<string> = new Set();

  constructor(parts: ClaimantParts) {
    const { clock, log, link, holds, defend, onChange } = parts;
    this.#parts = parts;
    const term = (): number => parts.view().term;
    this.#rivals = new Rivals({
      ...{ clock, link, log, holds, term, onChange },
      known: () => this.#known(),
    });
    this.#conflicts = new Conflicts({
      ...{ clock, log, holds, term, defend, onChange },
      isOwn: (mac) => this.#ownMacs.has(mac),
      memberOf: (mac) => this.#memberOf(mac),
      policyOf: (address) =>
        parts.view().state.spec.vips.find((vip) => vip.address === address)?.onConflict ?? 'defend',
      asking: () => this.#rivals.asking,
      probe: () => this.#rivals.look(this.#vips),
    });
  }

  /** Foreign claims of VIPs held here, and strangers found to answer for one before its claim. */
  get conflicts(): number {
    return this.#conflicts.total + this.#rivals.conflicts();
  }

  /** Listens for these VIPs from now on, on a host with these links. */
  listen(vips: readonly VipPlacement[], links: readonly Link[]): void {
    this.#vips = vips;
    this.#ownMacs = new Set(links.flatMap(({ mac }) => (mac === null ? [] : [mac])));
    this.#parts.source.listen(vips, (claim) => this.#conflicts.heard(claim));
  }

  /** A VIP was claimed here: what its former holder said before that is no claim against it. */
  claimed(): void {
    this.#parts.source.forget();
  }

  /** A campaign begins. */
  look(): void {
    void this.#rivals.look(this.#vips);
  }

  /** Why this host must hold nothing, or null. */
  problem(): string | null {
    return this.#rivals.problem() ?? this.#conflicts.problem();
  }

  /** Why this one VIP is nobody's for now, or null. */
  yielded(address: string): string | null {
    return this.#conflicts.yielded(address);
  }

  alarms(): readonly string[] {
    return [...this.#rivals.alarms(), ...this.#conflicts.alarms()];
  }

  stop(): void {
    this.#rivals.stop();
    this.#conflicts.stop();
    this.#parts.source.close();
  }

  #known(): ReadonlySet<string> {
    const { members, removedMacs } = this.#parts.view().state;
    return new Set([...members.flatMap(({ macs }) => macs), ...removedMacs]);
  }

  #memberOf(mac: string): string | null {
    const { state, selfId } = this.#parts.view();
    const member = state.members.find(({ id, macs }) => id !== selfId && macs.includes(mac));
    return member?.name ?? null;
  }
}
