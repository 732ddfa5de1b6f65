/**
 * Sends the announcements of the VIPs that are held, when their schedules say so. Before anything
 * leaves it asks whether the VIPs may still be held; what follows from a "no" is the asker's
 * matter.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { ipFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { Announcer } from './announcer.ts';
import { announcement, gatewayQuestion } from './frames.ts';
import type { AddressTable, AnnounceLink, Link, VipPlacement } from './ports.ts';

export interface AnnouncingParts {
  readonly clock: Clock;
  readonly link: AnnounceLink;
  readonly table: Pick<AddressTable, 'defaultRoute'>;
  readonly log: Logger;
  /** Looks at the lease, and acts where it is over; whether announcing is right at `now`. */
  readonly mayAnnounce: (now: Millis) => boolean;
}

interface Announced {
  readonly vip: VipPlacement;
  readonly schedule: Announcer;
  /** Where the link is told the VIP is. */
  mac: string;
  up: boolean;
  carrierChanges: number;
  carriers: readonly string[];
}

export class Announcing {
  readonly #parts: AnnouncingParts;
  readonly #announced = new Map<string, Announced>();
  #timer: Timer | null = null;
  #sent = 0;
  #failed = 0;

  constructor(parts: AnnouncingParts) {
    this.#parts = parts;
  }

  /** Frames that left, and frames that the kernel did not take. */
  get counters(): { readonly sent: number; readonly failed: number } {
    return { sent: this.#sent, failed: this.#failed };
  }

  /** The VIP has come to `link`: announces it at once, and from now on. */
  begin(vip: VipPlacement, link: Link & { readonly mac: string }): void {
    const now = this.#parts.clock.now();
    const { mac, up, carrierChanges, carriers } = link;
    const schedule = new Announcer(now);
    this.#announced.set(vip.address, { vip, schedule, mac, up, carrierChanges, carriers });
    this.#sendDue(now);
    this.#schedule();
  }

  /**
   * What is known of the VIP's link by now. Its return, a new MAC, or another link below it that
   * carries the frames (a bond fails over without losing its carrier) must be told at once.
   */
  see(vip: VipPlacement, link: Link): void {
    const entry = this.#announced.get(vip.address);
    if (entry === undefined) return;
    const moved = link.mac !== null && link.mac !== entry.mac;
    const bounced = link.carrierChanges !== entry.carrierChanges;
    const returned = link.up && (!entry.up || bounced);
    const rerouted = link.carriers.some((name) => !entry.carriers.includes(name));
    entry.mac = link.mac ?? entry.mac;
    entry.up = link.up;
    entry.carrierChanges = link.carrierChanges;
    entry.carriers = link.carriers;
    if (!moved && !returned && !rerouted) return;
    entry.schedule.restart(this.#parts.clock.now());
    this.#schedule();
  }

  /** Says once more, out of turn, where the VIP is: somebody else has claimed it. */
  defend(address: string): void {
    const { clock, mayAnnounce } = this.#parts;
    if (!mayAnnounce(clock.now())) return;
    const entry = this.#announced.get(address);
    if (entry !== undefined) this.#send(entry);
  }

  end(address: string): void {
    this.#announced.delete(address);
    if (this.#announced.size === 0) this.#cancel();
  }

  #schedule(): void {
    this.#cancel();
    if (this.#announced.size === 0) return;
    const { clock, mayAnnounce } = this.#parts;
    const deadlines = [...this.#announced.values()].map(({ schedule }) => schedule.nextDeadline());
    this.#timer = clock.after(Math.min(...deadlines) - clock.now(), () => {
      const now = clock.now();
      if (mayAnnounce(now)) this.#sendDue(now);
      this.#schedule();
    });
  }

  #sendDue(now: Millis): void {
    for (const entry of this.#announced.values()) if (entry.schedule.due(now)) this.#send(entry);
  }

  #send({ vip, mac }: Announced): void {
    const frames = [...announcement(vip.address, mac)];
    const family = ipFamily(vip.address) ?? 4;
    const route = this.#parts.table.defaultRoute(family, vip.interface);
    if (route !== null && route.gateway !== null) {
      frames.push(gatewayQuestion(vip.address, mac, route.gateway));
    }
    for (const frame of frames) {
      const { ok, error } = this.#parts.link.send(vip.interface, frame);
      if (ok) this.#sent++;
      else {
        this.#failed++;
        this.#parts.log.debug('vip.announcement-failed', { ...vip, reason: error });
      }
    }
  }

  #cancel(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
