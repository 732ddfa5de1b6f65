/**
 * Hears who else claims a VIP (rule R12): packet sockets on the VIPs' links, each with a filter of
 * the very addresses, so that ordinary traffic never reaches this process. What is heard waits in
 * the sockets and is looked at in a modest rhythm: a conflict lasts longer than that.
 */

import { defined } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { ipFamily, parseIp } from '../base/ip.ts';
import type { Claim, ClaimSource, VipPlacement } from '../vip/ports.ts';
import { Errno, interfaceIndex, unless } from './libc.ts';
import {
  closePacketSocket,
  Ethertype,
  type FilterStep,
  FRAME_BYTES,
  listenOn,
  openPacketSocket,
  received,
} from './packet-socket.ts';

/** At 20 ms the looking would cost 0.2 % of a core. */
const LOOK_EVERY_MS: Millis = 50;

/** The MAC that claims `address` with this frame, or null. */
export type RivalCodec = (address: string, frame: Uint8Array) => string | null;

interface Ear {
  readonly fd: number;
  readonly addresses: readonly string[];
}

/** One for the interface with this index, one family and these addresses. */
interface Wanted {
  readonly index: number;
  readonly family: 4 | 6;
  readonly addresses: readonly string[];
}

export function createClaimSource(clock: Clock, rivalOf: RivalCodec): ClaimSource {
  return new Ears(clock, rivalOf);
}

class Ears implements ClaimSource {
  readonly #clock: Clock;
  readonly #rivalOf: RivalCodec;
  readonly #ears = new Map<string, Ear>();
  #onClaim: (claim: Claim) => void = () => undefined;
  #timer: Timer | null = null;

  constructor(clock: Clock, rivalOf: RivalCodec) {
    this.#clock = clock;
    this.#rivalOf = rivalOf;
  }

  listen(vips: readonly VipPlacement[], onClaim: (claim: Claim) => void): void {
    this.#onClaim = onClaim;
    const wanted = new Map(wantedEars(vips).map((each) => [JSON.stringify(each), each]));
    for (const [key, { fd }] of this.#ears) {
      if (wanted.has(key)) continue;
      closePacketSocket(fd);
      this.#ears.delete(key);
    }
    for (const [key, each] of wanted) if (!this.#ears.has(key)) this.#open(key, each);
    if (this.#ears.size === 0) this.#rest();
    else this.#timer ??= this.#clock.after(LOOK_EVERY_MS, () => this.#look());
  }

  forget(): void {
    for (const ear of this.#ears.values()) this.#heardBy(ear);
  }

  close(): void {
    for (const { fd } of this.#ears.values()) closePacketSocket(fd);
    this.#ears.clear();
    this.#rest();
  }

  #rest(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #open(key: string, { index, family, addresses }: Wanted): void {
    const fd = openPacketSocket();
    const [ethertype, filter] =
      family === 4
        ? [Ethertype.arp, arpFilter(addresses)]
        : [Ethertype.ipv6, advertisementFilter(addresses)];
    // The link may have gone since it was looked up; the event that says so calls again.
    const heard = unless([Errno.ENODEV], () => listenOn(fd, index, ethertype, filter));
    if (heard) this.#ears.set(key, { fd, addresses });
    else closePacketSocket(fd);
  }

  #look(): void {
    this.#timer = this.#clock.after(LOOK_EVERY_MS, () => this.#look());
    const claims = [...this.#ears.values()].flatMap((ear) => this.#heardBy(ear));
    // After all sockets are read: whoever is told may change what is listened for.
    for (const claim of claims) this.#onClaim(claim);
  }

  #heardBy({ fd, addresses }: Ear): Claim[] {
    const claims: Claim[] = [];
    for (const frame of received(fd)) {
      for (const address of addresses) {
        const mac = this.#rivalOf(address, frame);
        if (mac !== null) claims.push({ address, mac });
      }
    }
    return claims;
  }
}

function wantedEars(vips: readonly VipPlacement[]): Wanted[] {
  const wanted: Wanted[] = [];
  for (const name of new Set(vips.map((vip) => vip.interface))) {
    const index = interfaceIndex(name);
    if (index === 0) continue;
    for (const family of [4, 6] as const) {
      const addresses = vips
        .filter((vip) => vip.interface === name && ipFamily(vip.address) === family)
        .map((vip) => vip.address)
        .sort();
      if (addresses.length > 0) wanted.push({ index, family, addresses });
    }
  }
  return wanted;
}

/** Frames of ARP whose sender is one of the addresses. */
export function arpFilter(addresses: readonly string[]): readonly FilterStep[] {
  return [[0x20, 0, 0, 28], ...takeOneOf(addresses.map((address) => word(address, 0)))];
}

/** Neighbour advertisements whose target ends as one of the addresses does. */
export function advertisementFilter(addresses: readonly string[]): readonly FilterStep[] {
  const rest = takeOneOf(addresses.map((address) => word(address, 12)));
  return [
    [0x30, 0, 0, 20], // load the byte "next header"
    [0x15, 0, rest.length + 1, 58], // ICMPv6?
    [0x30, 0, 0, 54], // load the byte "type"
    [0x15, 0, rest.length - 1, 136], // advertisement?
    [0x20, 0, 0, 74], // load the last word of the target
    ...rest,
  ];
}

/** Takes the frame if the word just loaded is one of `values`; the last step leaves it. */
function takeOneOf(values: readonly number[]): FilterStep[] {
  const steps = values.map(
    (value, at): FilterStep => [0x15, values.length - at, 0, value], // to "take it"
  );
  return [...steps, [0x06, 0, 0, 0], [0x06, 0, 0, FRAME_BYTES]];
}

/** Four bytes of an address as a number in host order, as a filter compares them. */
function word(address: string, at: number): number {
  const bytes = Buffer.from(defined(parseIp(address), `address ${address}`));
  return bytes.readUInt32BE(at);
}
