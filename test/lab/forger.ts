/**
 * Somebody on the lab's wire who says what is not so: forged claims of a VIP, and a switch that
 * goes on answering for a host that is dead. Sent from the client's port, so that the observer,
 * which watches the hosts' ports, does not take them for a holder's.
 */
import { decodeArp, encodeArp, gratuitousArp, parseMac } from '../../src/vip/arp.ts';
import { inNamespace } from '../conformance/netns.ts';
import { Wire } from '../conformance/wire.ts';
import type { Host } from './host.ts';

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

  /** One gratuitous ARP reply: "`vip` is at `mac`". The switch learns nothing wrong from it. */
  claim(vip: string, mac: string): void {
    const [, reply = new Uint8Array(0)] = gratuitousArp(vip, mac);
    this.#send(reply, 'ff:ff:ff:ff:ff:ff');
  }

  /** Answers every question for `vip` with `mac`, as a switch with a stale cache does. */
  answer(vip: string, mac: string): void {
    this.#wire.take();
    this.#answering = setInterval(() => {
      for (const frame of this.#wire.take()) {
        const asked = decodeArp(frame);
        if ('invalid' in asked || asked.operation !== 'request') continue;
        if (asked.targetAddress !== vip || asked.senderAddress === vip) continue;
        const answer = encodeArp({
          operation: 'reply',
          senderMac: mac,
          senderAddress: vip,
          targetMac: asked.senderMac,
          targetAddress: asked.senderAddress,
        });
        this.#send(answer, asked.senderMac);
      }
    }, answerEveryMs);
  }

  stop(): void {
    if (this.#answering !== null) clearInterval(this.#answering);
    this.#wire.close();
  }

  #send(frame: Uint8Array, to: string): void {
    frame.set(parseMac(to), 0);
    frame.set(parseMac(this.#mac), 6);
    if (!this.#wire.send(frame)) throw new Error('the forged frame did not leave');
  }
}
