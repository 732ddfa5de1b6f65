/** The frames of a VIP whatever its family: the announcement, the question, and who answers it. */
import { ipFamily } from '../base/ip.ts';
import { arpClaimant, arpProbe, arpQuestion, arpRival, gratuitousArp } from './arp.ts';
import {
  ndpClaimant,
  ndpRival,
  neighbourProbe,
  neighbourQuestion,
  unsolicitedAdvertisement,
} from './ndp.ts';
import type { ProbeCodec } from './ports.ts';

/** The frames that tell the link that `address` is at `mac`, to be sent in this order. */
export function announcement(address: string, mac: string): readonly Uint8Array[] {
  if (ipFamily(address) === 4) return gratuitousArp(address, mac);
  return [unsolicitedAdvertisement(address, mac)];
}

/**
 * Asks for the gateway in the name of the VIP: a router that ignores announcements learns from it,
 * as from any host that wants to speak through it.
 */
export function gatewayQuestion(address: string, mac: string, gateway: string): Uint8Array {
  if (ipFamily(address) === 4) return arpQuestion(gateway, mac, address);
  return neighbourQuestion(gateway, mac, address);
}

/** For packet links: how to ask for a VIP, and who claims it. */
export const probeCodec: ProbeCodec = {
  question(address, mac, source) {
    if (ipFamily(address) === 4) {
      return source === undefined ? arpProbe(address, mac) : arpQuestion(address, mac, source);
    }
    return source === undefined
      ? neighbourProbe(address, mac)
      : neighbourQuestion(address, mac, source);
  },
  claimant(address, frame, source) {
    if (ipFamily(address) !== 4) return ndpClaimant(address, frame, source !== undefined);
    return arpClaimant(address, frame, source);
  },
};

/** The MAC that claims `address` with a frame that answers no question of ours, or null. */
export function rivalOf(address: string, frame: Uint8Array): string | null {
  return ipFamily(address) === 4 ? arpRival(address, frame) : ndpRival(address, frame);
}
