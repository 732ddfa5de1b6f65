/**
 * Somebody on the lab's wire who says what is not so: forged claims of a VIP, and a switch that
 * goes on answering for a host that is dead. Sent from the client's port, so that the observer,
 * which watches the hosts' ports, does not take them for a holder's.
 */
import { isIPv6 } from 'node:net';
import { decodeArp, encodeArp, formatMac, parseMac } from '../../src/vip/arp.ts';
import { announcement } from '../../src/vip/frames.ts';
import { decodeNdp, unsolicitedAdvertisement } from '../../src/vip/ndp.ts';
import { inNamespace } from '../conformance/netns.ts';
import { Wire } from '../conformance/wire.ts';
import type { Host } from './host.ts';
import { advertisement } from './wire.ts';

/** The group of ff02::1 on Ethernet. */
const allNodes = '33:33:00:00:00:01';
/** A neighbour's answer comes as fast as a real one's, give or take a turn of the event loop. */
const answerEveryMs = 1;

export class Forger {
  readonly #wire: Wire;
  readonly #mac: string;
  #answering: NodeJS.Timeout | null = null;

  constructor(at: Host) {
    this.#wire = inNamespace(at.namespace, () => new Wire('eth0'));
    this.#mac = at.mac;
  }

  /**
   * One gratuitous ARP reply or neighbour advertisement: "`vip` is at `mac`". The switch learns
   * nothing wrong from it.
   */
  claim(vip: string, mac: string): void {
    const claim = announcement(vip, mac).at(-1) ?? new Uint8Array(0);
    this.#send(claim, isIPv6(vip) ? allNodes : 'ff:ff:ff:ff:ff:ff');
  }

  /** Answers every question for `vip` with `mac`, as a switch with a stale cache does. */
  answer(vip: string, mac: string): void {
    this.#wire.take();
    this.#answering = setInterval(() => {
      for (const frame of this.#wire.take()) {
        if (isIPv6(vip)) this.#advertise(vip, mac, frame);
        else this.#reply(vip, mac, frame);
      }
    }, answerEveryMs);
  }

  stop(): void {
    if (this.#answering !== null) clearInterval(this.#answering);
    this.#wire.close();
  }

  #reply(vip: string, mac: string, frame: Uint8Array): void {
    const asked = decodeArp(frame);
    if ('invalid' in asked || asked.operation !== 'request') return;
    if (asked.targetAddress !== vip || asked.senderAddress === vip) return;
    const answer = encodeArp({
      operation: 'reply',
      senderMac: mac,
      senderAddress: vip,
      targetMac: asked.senderMac,
      targetAddress: asked.senderAddress,
    });
    this.#send(answer, asked.senderMac);
  }

  /** RFC 4861 section 7.2.4: who asks without an address is answered to all nodes. */
  #advertise(vip: string, mac: string, frame: Uint8Array): void {
    const asked = decodeNdp(frame);
    if ('invalid' in asked || asked.kind !== 'solicitation' || asked.target !== vip) return;
    if (asked.source === '::') {
      this.#send(unsolicitedAdvertisement(vip, mac), allNodes);
      return;
    }
    const asker = { mac: formatMac(frame.subarray(6, 12)), ipv6: asked.source };
    this.#send(advertisement(vip, mac, asker), asker.mac);
  }

  #send(frame: Uint8Array, to: string): void {
    frame.set(parseMac(to), 0);
    frame.set(parseMac(this.#mac), 6);
    if (!this.#wire.send(frame)) throw new Error('the forged frame did not leave');
  }
}
