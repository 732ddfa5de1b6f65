/**
 * What the VIP room needs of the world, and what it is told. Its owner (whoever decides about
 * leadership) says what is desired; the room makes the kernel agree, and never knows why.
 *
 * All calls are synchronous: when a call that lets go returns, the kernel has acknowledged it.
 */
import type { Millis } from '../base/clock.ts';
import type { IpFamily } from '../base/ip.ts';

/** A VIP on the interface that carries it on this host. */
export interface VipPlacement {
  /** IPv4 dotted, or IPv6 in its canonical (RFC 5952) form, without a prefix length. */
  readonly address: string;
  readonly interface: string;
}

/** The right to hold, until `deadline` on the agent's clock unless renewed. */
export interface Hold {
  /** Grows with each tenure; a later owner's is larger. */
  readonly epoch: number;
  readonly deadline: Millis;
}

export interface VipDesired {
  readonly vips: readonly VipPlacement[];
  /** Null: hold nothing. */
  readonly hold: Hold | null;
  /** Why, in words that a person reads in the log and in status. */
  readonly reason: string;
}

export interface VipView {
  readonly address: string;
  readonly interface: string;
  readonly heldHere: boolean;
  /** Wall-clock ms since 1970 of the last change. */
  readonly sinceWallMs: number;
  readonly reason: string;
}

export interface LinkAddress {
  readonly address: string;
  readonly prefixLength: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `aa:bb:cc:dd:ee:ff`; null for links without an Ethernet address. */
  readonly mac: string | null;
  /** Administratively up and with carrier. */
  readonly up: boolean;
  readonly loopback: boolean;
  readonly addresses: readonly LinkAddress[];
  /** How often its carrier came or went: a short loss may be over before anybody looks. */
  readonly carrierChanges: number;
  /**
   * Which links below this one carry its frames now: the active slave of a bond, the ports of a
   * bridge, the parent of a VLAN. A new one among them is a new way to the rest of the world.
   */
  readonly carriers: readonly string[];
  /** The families whose default route leaves by it. */
  readonly defaultRouteOf: readonly IpFamily[];
}

export interface DefaultRoute {
  readonly interface: string;
  /** Null where the route has none of the same family. */
  readonly gateway: string | null;
}

/** The kernel's address table. */
export interface AddressTable {
  links(): Link[];
  /**
   * Adds the VIP as /32 or /128 (no DAD, no prefix route), marked as ours, gone by itself after
   * `lifetimeSeconds`; refreshes the lifetime where it is there already.
   */
  put(vip: VipPlacement, lifetimeSeconds: number): void;
  /** Removes the VIP from wherever it is on this host; done already is fine. */
  remove(address: string): void;
  /** Every address on this host that bears our mark, and where it is. */
  ours(): VipPlacement[];
  /** The default route, or that of one interface; null where there is none. */
  defaultRoute(family: IpFamily, interfaceName?: string): DefaultRoute | null;
  /** Calls back after any change of addresses or links, coalesced; for self-healing. */
  watch(onChange: () => void): { close(): void };
}

/** The kernel's own guard: past the deadline no frame for or from a VIP passes, whoever sleeps. */
export interface Fence {
  /** `ebpf`, `nft`: named in status. */
  readonly kind: string;
  /** Guards exactly these VIPs, closed until the first {@link open}; idempotent. */
  arm(vips: readonly VipPlacement[]): void;
  /** Lets frames pass until `deadline` on the agent's clock. About 2 microseconds. */
  open(deadline: Millis): void;
  /** Nothing passes any more. */
  shut(): void;
  /** Whether each guarded interface still has the fence; false means: drop at once. */
  intact(): boolean;
  /** Stops guarding and removes every trace (only after the addresses are gone). */
  disarm(): void;
}

/** Raw frames on the VIP's links. */
export interface AnnounceLink {
  /** Sends one frame; errors of a link that is going away are reported, not thrown. */
  send(interfaceName: string, frame: Uint8Array): { readonly ok: boolean; readonly error?: string };
  /**
   * Asks the link for `address` (ARP probe with sender 0.0.0.0, RFC 5227; NS from :: for IPv6) and
   * collects the MACs that answer within `waitMs`, own ones excluded.
   *
   * @param source asks from this address of the interface, as any neighbour does, and waits no
   * longer than it needs for a first answer and one that contradicts it
   */
  probe(vip: VipPlacement, waitMs: Millis, source?: string): Promise<readonly string[]>;
}

/** Somebody said by a frame that `address` is at `mac`. */
export interface Claim {
  readonly address: string;
  readonly mac: string;
}

/** Hears what is said about VIPs on their links, and nothing else of what passes there. */
export interface ClaimSource {
  /** Listens for these from now on, and for no others; idempotent. */
  listen(vips: readonly VipPlacement[], onClaim: (claim: Claim) => void): void;
  /** Leaves out what was said until now and not told yet. */
  forget(): void;
  close(): void;
}

/**
 * How a question for an address looks on the wire, and an answer: packet links are given this, so
 * that they need no codec of their own.
 */
export interface ProbeCodec {
  /**
   * The frame that asks for `address` from `mac`. Without `source`, an address of the asker, it
   * claims nothing and changes no cache; with it, it asks as any neighbour does.
   */
  question(address: string, mac: string, source?: string): Uint8Array;
  /**
   * The MAC that claims `address` with this frame, or null where it claims nothing of it. With
   * `source`, only an answer to the question of that asker counts, and no announcement.
   */
  claimant(address: string, frame: Uint8Array, source?: string): string | null;
}
