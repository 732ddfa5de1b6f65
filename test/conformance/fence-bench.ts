/**
 * A host with two VIPs on `eth0`, a neighbour at the other end of that cable who asks for them, and
 * another neighbour on `eth1`. The VIPs' addresses are there all the time: only a fence is between.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { createPacketLink } from '../../src/linux/packet-link.ts';
import { announcement, probeCodec } from '../../src/vip/frames.ts';
import type { VipPlacement } from '../../src/vip/ports.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, macOf, run } from './netns.ts';
import { answerKind, questions, Wire } from './wire.ts';

export const V4: VipPlacement = { address: '10.77.0.100', interface: 'eth0' };
export const V6: VipPlacement = { address: 'fd77::100', interface: 'eth0' };
export const VIPS = [V4, V6];
export const EVERY_ANSWER = [
  '10.77.0.100 arp',
  '10.77.0.100 ping',
  'fd77::100 neighbour',
  'fd77::100 ping',
];
/** Long enough for a kernel to answer over a cable that is no cable. */
const ANSWER_MS = 30;

export interface FenceBench {
  /** Asks everything about the addresses once, from the neighbour; which of it was answered. */
  answers(addresses?: readonly string[]): Promise<string[]>;
  /** What of or about the VIPs has reached the neighbour since the last question. */
  heard(): string[];
  /** Announces the VIPs by a packet socket; whether each frame was taken, and which arrived. */
  announce(): Promise<{ readonly taken: boolean[]; readonly arrived: string[] }>;
  /** Asks by ARP for the IPv4 VIP from the neighbour on `eth1`. */
  answersElsewhere(): Promise<string[]>;
  /** Puts the VIPs' addresses where they belong. */
  putAddresses(): void;
  /** Whether this host, holding nothing, learns that the neighbour announces the IPv4 VIP. */
  learnsHolder(): Promise<boolean>;
  close(): void;
}

export function fenceBench(): FenceBench {
  enterFreshNamespace();
  const peer = addNamespace('peer');
  const other = addNamespace('other');
  cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
  cable('eth1', other, { v4: '10.78.0', v6: 'fd78' });
  const clock = systemClock(rawNow);
  const table = createAddressTable(clock);
  const link = createPacketLink(clock, probeCodec);
  const wire = inNamespace(peer, () => new Wire('eth0'));
  const elsewhere = inNamespace(other, () => new Wire('eth0'));
  const mac = inNamespace(peer, () => macOf('eth0'));
  const hostMac = macOf('eth0');
  const addressesOfVips = VIPS.map((vip) => vip.address);
  const stranger = {
    mac: inNamespace(other, () => macOf('eth0')),
    address: '10.78.0.2',
    peerMac: macOf('eth1'),
    vip: V4.address,
  };
  const putAddresses = (): void => {
    for (const vip of VIPS) table.put(vip, 600);
  };
  putAddresses();
  return {
    async answers(addresses = addressesOfVips) {
      wire.take();
      for (const vip of addresses) {
        const address = vip.includes(':') ? 'fd77::2' : '10.77.0.2';
        const asked = questions({ mac, address, peerMac: hostMac, vip });
        for (const frame of asked.values()) wire.send(frame);
      }
      await pause(ANSWER_MS);
      return answered(wire, addresses);
    },
    heard: () => answered(wire, addressesOfVips),
    async announce() {
      wire.take();
      const frames = VIPS.flatMap((vip) => announcement(vip.address, hostMac));
      const taken = frames.map((frame) => link.send('eth0', frame).ok);
      await pause(ANSWER_MS);
      return { taken, arrived: answered(wire, addressesOfVips) };
    },
    async answersElsewhere() {
      elsewhere.send(questions(stranger).get('arp') ?? new Uint8Array(0));
      await pause(ANSWER_MS);
      return answered(elsewhere, [V4.address]);
    },
    putAddresses,
    async learnsHolder() {
      table.remove(V4.address);
      // The cache of one who has just spoken with a former holder.
      run(`ip neigh replace ${V4.address} lladdr 02:00:00:00:99:99 nud stale dev eth0`);
      for (const frame of announcement(V4.address, mac)) wire.send(frame);
      await pause(ANSWER_MS);
      const known = run(`ip neigh show ${V4.address} dev eth0`);
      run(`ip neigh del ${V4.address} dev eth0`);
      putAddresses();
      return known.includes(mac);
    },
    close() {
      wire.close();
      elsewhere.close();
      table.close();
    },
  };
}

function answered(on: Wire, addresses: readonly string[]): string[] {
  const found = new Set<string>();
  for (const frame of on.take()) {
    for (const vip of addresses) {
      const kind = answerKind(vip, frame);
      if (kind !== null) found.add(`${vip} ${kind}`);
    }
  }
  return [...found].sort();
}
