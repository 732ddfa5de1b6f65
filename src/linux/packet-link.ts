/**
 * Raw Ethernet frames by AF_PACKET (packet(7)). Sending does not go around the fence: a packet
 * socket's frames pass the interface's egress like any other, and past the deadline they are
 * dropped there, whatever this process believes.
 */
import type { Clock, Millis } from '../base/clock.ts';
import { sleep } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { AnnounceLink, ProbeCodec, VipPlacement } from '../vip/ports.ts';
import { interfaceIndex } from './libc.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import {
  attachFilter,
  closePacketSocket,
  Ethertype,
  type FilterStep,
  FRAME_BYTES,
  forget,
  listenOn,
  openPacketSocket,
  received,
  sendFrame,
} from './packet-socket.ts';
import { listLinks, NETLINK_ROUTE } from './rtnetlink.ts';

/** How often a probe looks for answers. */
const LOOK_EVERY_MS: Millis = 2;
/** An ordinary question waits so long for a second answer. */
const SECOND_ANSWER_MS: Millis = 20;
/** Kept for each link and family: as many VIPs are asked for at once without opening another. */
const IDLE_LISTENERS_MAX = 32;
/** Answers that are reported; more strangers than this need no list. */
const ANSWERS_MAX = 16;

/** @param codec how a question and an answer look; the packet link itself knows no protocol. */
export function createPacketLink(clock: Clock, codec: ProbeCodec): AnnounceLink {
  const sender = openPacketSocket();
  const listeners = new Listeners();
  return {
    send: (interfaceName, frame) => send(sender, interfaceName, frame),
    probe: (vip, waitMs, source) => probe({ clock, codec, listeners }, { vip, waitMs, source }),
  };
}

/**
 * Sockets that hear answers, kept deaf for the next question. To close one takes the kernel 5 to
 * 20 ms, because it waits until no processor can be using it (packet_release, synchronize_net), and
 * a campaign has no such time.
 */
class Listeners {
  readonly #idle = new Map<string, number[]>();

  /** One that has heard nothing yet; to be given back. */
  take(index: number, ipv6: boolean): number {
    const kept = this.#idle.get(`${index} ${ipv6}`)?.pop();
    if (kept === undefined) return openListener(index, ipv6);
    // What it heard before it became deaf is no answer to this question.
    forget(kept);
    attachFilter(kept, ipv6 ? ADVERTISEMENTS_ONLY : EVERYTHING);
    return kept;
  }

  giveBack(index: number, ipv6: boolean, listener: number): void {
    const key = `${index} ${ipv6}`;
    const idle = this.#idle.get(key) ?? [];
    this.#idle.set(key, idle);
    if (idle.length >= IDLE_LISTENERS_MAX) {
      closePacketSocket(listener);
      return;
    }
    attachFilter(listener, NOTHING);
    idle.push(listener);
  }
}

function openListener(index: number, ipv6: boolean): number {
  const listener = openPacketSocket();
  try {
    if (ipv6) listenOn(listener, index, Ethertype.ipv6, ADVERTISEMENTS_ONLY);
    else listenOn(listener, index, Ethertype.arp, EVERYTHING);
    return listener;
  } catch (error) {
    closePacketSocket(listener);
    throw error;
  }
}

function send(
  fd: number,
  interfaceName: string,
  frame: Uint8Array,
): { readonly ok: boolean; readonly error?: string } {
  const index = interfaceIndex(interfaceName);
  if (index === 0) return { ok: false, error: `interface ${interfaceName} is not there` };
  const error = sendFrame(fd, index, frame);
  return error === null ? { ok: true } : { ok: false, error };
}

interface Asked {
  readonly vip: VipPlacement;
  readonly waitMs: Millis;
  readonly source: string | undefined;
}

interface Probing {
  readonly clock: Clock;
  readonly codec: ProbeCodec;
  readonly listeners: Listeners;
}

async function probe(
  { clock, codec, listeners }: Probing,
  { vip, waitMs, source }: Asked,
): Promise<readonly string[]> {
  const { index, mac } = ethernetLink(vip.interface);
  const ipv6 = vip.address.includes(':');
  const listener = listeners.take(index, ipv6);
  try {
    const sent = send(listener, vip.interface, codec.question(vip.address, mac, source));
    if (!sent.ok) throw new OperatingError({ code: 'probe-failed', message: sent.error ?? '' });
    const answers = new Set<string>();
    let end = clock.now() + waitMs;
    while (clock.now() < end) {
      await sleep(clock, Math.min(LOOK_EVERY_MS, end - clock.now()));
      for (const frame of received(listener)) {
        const claimant = codec.claimant(vip.address, frame, source);
        if (claimant !== null && claimant !== mac && answers.size < ANSWERS_MAX) {
          answers.add(claimant);
          // A client goes by the first answer; a second one is known soon, too.
          if (source !== undefined) end = Math.min(end, clock.now() + SECOND_ANSWER_MS);
        }
      }
    }
    return [...answers];
  } finally {
    listeners.giveBack(index, ipv6, listener);
  }
}

function ethernetLink(name: string): { readonly index: number; readonly mac: string } {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const link = listLinks(socket).find((row) => row.name === name);
    if (link !== undefined && link.mac !== null) return { index: link.index, mac: link.mac };
    throw new OperatingError({
      code: link === undefined ? 'interface-missing' : 'interface-not-ethernet',
      message: `interface ${name} ${link === undefined ? 'is not there' : 'has no MAC address'}`,
      facts: { interface: name },
    });
  } finally {
    socket.close();
  }
}

/** On a busy host everything is IPv6: wake up for neighbour advertisements only. */
const ADVERTISEMENTS_ONLY: readonly FilterStep[] = [
  [0x30, 0, 0, 20], // load the byte "next header"
  [0x15, 0, 3, 58], // ICMPv6?
  [0x30, 0, 0, 54], // load the byte "type"
  [0x15, 0, 1, 136], // advertisement?
  [0x06, 0, 0, FRAME_BYTES], // take it
  [0x06, 0, 0, 0], // leave it
];

const EVERYTHING: readonly FilterStep[] = [[0x06, 0, 0, FRAME_BYTES]];
const NOTHING: readonly FilterStep[] = [[0x06, 0, 0, 0]];
