/** The frames of a VIP whatever its family: the announcement, the question, and who answers it. */
import { ipFamily } from '../base/ip.ts';
import { arpClaimant, arpProbe, gratuitousArp } from './arp.ts';
import { ndpClaimant, neighbourProbe, unsolicitedAdvertisement } from './ndp.ts';
import type { ProbeCodec } from './ports.ts';

/** The frames that tell the link that `address` is at `mac`, to be sent in this order. */
export function announcement(address: string, mac: string): readonly Uint8Array[] {
  if (ipFamily(address) === 4) return gratuitousArp(address, mac);
  return [unsolicitedAdvertisement(address, mac)];
}

/** For packet links: how to ask for a VIP, and who claims it. */
export const probeCodec: ProbeCodec = {
  question: (address, mac) =>
    ipFamily(address) === 4 ? arpProbe(address, mac) : neighbourProbe(address, mac),
  claimant: (address, frame) =>
    ipFamily(address) === 4 ? arpClaimant(address, frame) : ndpClaimant(address, frame),
};
