/**
 * The kernel's table of connections (ctnetlink, linux/netfilter/nfnetlink_conntrack.h): what was
 * translated from where to where, and its end. Lists are read in pages with turns of the event loop
 * between them, because the table may be long and the agent holds a lease.
 */
import { formatIp, parseIp } from '../base/ip.ts';
import type { Protocol } from '../lb/ports.ts';
import { Errno, unless } from './libc.ts';
import { attribute, decodeAttributes } from './netlink-message.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { NETLINK_NETFILTER } from './nft.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const IPCTNL_MSG_CT_GET = (1 << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_PROTOINFO = 4;
const CTA_ID = 12;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;
/** Which fields of the tuple count (net/netfilter/nf_internals.h): destination, protocol. */
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const FILTER_IP_DST = 1 << 1;
const FILTER_PROTO_NUM = 1 << 3;
const NLA_F_NESTED = 0x8000;
/** TCP_CONNTRACK_TIME_WAIT and after: only a memory. */
const TIME_WAIT = 7;
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 };
/** Entries that end between two turns of the event loop. */
const DELETIONS_PER_TURN = 64;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Connection {
  readonly client: Endpoint;
  /** Where the client wanted to go. */
  readonly to: Endpoint;
  /** Who answers it: not the same where it was translated. */
  readonly answers: Endpoint;
  /** It carries something, or may do so yet. */
  readonly open: boolean;
  /** What names it to the kernel. */
  readonly key: Uint8Array;
}

export class Conntrack {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  /** One list after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  /** Calls `onConnection` for each connection whose client wanted to go to `address`. */
  to(
    address: string,
    protocol: Protocol,
    onConnection: (connection: Connection) => void,
  ): Promise<void> {
    return this.#inTurn(() => this.#list(address, protocol, onConnection));
  }

  /**
   * Ends the open connections to `address` that fit, and tells which those were. What is closed
   * already is left to be forgotten: after a busy minute there are thousands of those.
   */
  end(
    address: string,
    protocol: Protocol,
    fits: (connection: Connection) => boolean,
  ): Promise<readonly Connection[]> {
    return this.#inTurn(async () => {
      const found: Connection[] = [];
      await this.#list(address, protocol, (connection) => {
        if (connection.open && fits(connection)) found.push(connection);
      });
      for (const [index, { key }] of found.entries()) {
        if (index % DELETIONS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
        unless([Errno.ENOENT], () =>
          this.#socket.acknowledge({
            type: IPCTNL_MSG_CT_DELETE,
            payload: key,
            what: 'end a connection',
          }),
        );
      }
      return found;
    });
  }

  close(): void {
    void this.#inTurn(() => Promise.resolve(this.#socket.close()));
  }

  async #list(
    address: string,
    protocol: Protocol,
    onConnection: (connection: Connection) => void,
  ): Promise<void> {
    const wanted = PROTOCOL_NUMBERS[protocol];
    const payload = listRequest(address, wanted);
    const request = { type: IPCTNL_MSG_CT_GET, payload, what: 'list the connections of a VIP' };
    await this.#socket.dumpInTurns(request, (message) => {
      const connection = decodeConnection(message.payload, wanted);
      // Kernels before 5.8 list everything.
      if (connection?.to.address === address) onConnection(connection);
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(action);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

function listRequest(address: string, protocol: number): Buffer {
  const bytes = parseIp(address) ?? new Uint8Array(4);
  const isV4 = bytes.length === 4;
  const flags = Buffer.alloc(4);
  // With an IPv6 address, kernels up to 6.18 at least list everything but what was asked for.
  flags.writeUInt32LE(isV4 ? FILTER_IP_DST | FILTER_PROTO_NUM : FILTER_PROTO_NUM);
  return Buffer.concat([
    header(isV4 ? AF_INET : AF_INET6),
    nested(
      CTA_TUPLE_ORIG,
      nested(CTA_TUPLE_IP, attribute(isV4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, bytes)),
      nested(CTA_TUPLE_PROTO, attribute(CTA_PROTO_NUM, Uint8Array.of(protocol))),
    ),
    nested(
      CTA_FILTER,
      attribute(CTA_FILTER_ORIG_FLAGS, flags),
      attribute(CTA_FILTER_REPLY_FLAGS, Buffer.alloc(4)),
    ),
  ]);
}

/** struct nfgenmsg */
function header(family: number): Uint8Array {
  return Uint8Array.of(family, 0, 0, 0);
}

function nested(type: number, ...attributes: readonly Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** Null for what is of another protocol, or not understood. */
function decodeConnection(bytes: Buffer, protocol: number): Connection | null {
  if (bytes.length < 4) return null;
  const attributes = decodeAttributes(bytes.subarray(4));
  const original = attributes.get(CTA_TUPLE_ORIG);
  const to = original && decodeTuple(original, protocol);
  const reply = attributes.get(CTA_TUPLE_REPLY);
  const answers = reply && decodeTuple(reply, protocol);
  if (!original || !to || !answers) return null;
  const id = attributes.get(CTA_ID);
  const key = Buffer.concat([
    header(bytes.readUInt8(0)),
    nested(CTA_TUPLE_ORIG, original),
    // Without it, a new connection of the same ends would go in the old one's stead.
    ...(id === undefined ? [] : [attribute(CTA_ID, id)]),
  ]);
  const open = tcpState(attributes.get(CTA_PROTOINFO)) < TIME_WAIT;
  return { client: to.source, to: to.destination, answers: answers.source, open, key };
}

function tcpState(info: Buffer | undefined): number {
  const tcp = info && decodeAttributes(info).get(CTA_PROTOINFO_TCP);
  return (tcp && decodeAttributes(tcp).get(CTA_PROTOINFO_TCP_STATE)?.[0]) ?? 0;
}

function decodeTuple(
  bytes: Buffer,
  protocol: number,
): { readonly source: Endpoint; readonly destination: Endpoint } | null {
  const tuple = decodeAttributes(bytes);
  const ip = tuple.get(CTA_TUPLE_IP);
  const ports = tuple.get(CTA_TUPLE_PROTO);
  if (ip === undefined || ports === undefined) return null;
  const addresses = decodeAttributes(ip);
  const numbers = decodeAttributes(ports);
  const from = addresses.get(CTA_IP_V4_SRC) ?? addresses.get(CTA_IP_V6_SRC);
  const to = addresses.get(CTA_IP_V4_DST) ?? addresses.get(CTA_IP_V6_DST);
  const fromPort = numbers.get(CTA_PROTO_SRC_PORT);
  const toPort = numbers.get(CTA_PROTO_DST_PORT);
  if (numbers.get(CTA_PROTO_NUM)?.[0] !== protocol) return null;
  if (!from || !to || !fromPort || !toPort) return null;
  return {
    source: { address: formatIp(from), port: fromPort.readUInt16BE(0) },
    destination: { address: formatIp(to), port: toPort.readUInt16BE(0) },
  };
}
