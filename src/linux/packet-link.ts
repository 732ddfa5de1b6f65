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
  closePacketSocket,
  Ethertype,
  type FilterStep,
  FRAME_BYTES,
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
/** Answers that are reported; more strangers than this need no list. */
const ANSWERS_MAX = 16;

/** @param codec how a question and an answer look; the packet link itself knows no protocol. */
export function createPacketLink(clock: Clock, codec: ProbeCodec): AnnounceLink {
  const sender = openPacketSocket();
  return {
    send: (interfaceName, frame) => send(sender, interfaceName, frame),
    probe: (vip, waitMs, source) => probe(clock, codec, { vip, waitMs, source }),
  };
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

async function probe(
  clock: Clock,
  codec: ProbeCodec,
  { vip, waitMs, source }: Asked,
): Promise<readonly string[]> {
  const { index, mac } = ethernetLink(vip.interface);
  const listener = openPacketSocket();
  try {
    const ipv6 = vip.address.includes(':');
    if (ipv6) listenOn(listener, index, Ethertype.ipv6, ADVERTISEMENTS_ONLY);
    else listenOn(listener, index, Ethertype.arp, []);
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
    closePacketSocket(listener);
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
