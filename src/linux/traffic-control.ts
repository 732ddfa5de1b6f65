/**
 * The classic place of a classifier: a `clsact` queueing discipline with a BPF filter on each side
 * (tc-bpf(8)), over rtnetlink. Our filters are known by their name and handle; a filter holds its
 * program, and the program's id tells which TCX programs were ours too.
 */

import type { Direction } from './fence-program.ts';
import { Errno, unless } from './libc.ts';
import {
  attribute,
  cString,
  decodeAttributes,
  fromCString,
  type NetlinkMessage,
  u32,
} from './netlink-message.ts';
import { type NetlinkSocket, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './netlink-socket.ts';

/** linux/rtnetlink.h */
const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
/** linux/pkt_cls.h, linux/pkt_sched.h */
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_ID = 11;
const DIRECT_ACTION = 1;
const CLSACT_HANDLE = 0xffff0000;
const CLSACT_PARENT = 0xfffffff1;
const SIDES: Readonly<Record<Direction, number>> = { ingress: 0xfffffff2, egress: 0xfffffff3 };
/** struct tcmsg */
const TCMSG_BYTES = 20;

const FILTER_NAME = 'holdfast';
/** "HF": other owners of BPF filters (Cilium: 1) number theirs from the bottom. */
const FILTER_HANDLE = 0x4846;
/** Priority 1 in the upper half, ETH_P_ALL in network order in the lower one. */
const FILTER_INFO = (1 << 16) | 0x0300;

export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** Adds the queueing discipline where it is missing; for its price see {@link removeIdleClsact}. */
export function addClsact(socket: NetlinkSocket, index: number): void {
  unless([Errno.EEXIST], () =>
    socket.acknowledge({
      type: RTM_NEWQDISC,
      flags: NLM_F_CREATE | NLM_F_EXCL,
      payload: Buffer.concat([
        trafficHeader(index, CLSACT_HANDLE, CLSACT_PARENT, 0),
        attribute(TCA_KIND, cString('clsact')),
      ]),
      what: 'add the clsact queueing discipline',
    }),
  );
}

/** Puts the program in our filter's place, creating or atomically replacing it. */
export function putFilter(
  socket: NetlinkSocket,
  place: { readonly index: number; readonly direction: Direction },
  program: number,
): void {
  const { index, direction } = place;
  addClsact(socket, index);
  const options = Buffer.concat([
    attribute(TCA_BPF_FD, u32(program)),
    attribute(TCA_BPF_NAME, cString(FILTER_NAME)),
    attribute(TCA_BPF_FLAGS, u32(DIRECT_ACTION)),
  ]);
  socket.acknowledge({
    type: RTM_NEWTFILTER,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: Buffer.concat([
      trafficHeader(index, FILTER_HANDLE, SIDES[direction], FILTER_INFO),
      attribute(TCA_KIND, cString('bpf')),
      attribute(TCA_OPTIONS, options),
    ]),
    what: `add the fence's ${direction} filter`,
  });
}

/** The id of the program in our filter's place, ours or a former agent's; null where none is. */
export function filterProgramId(
  socket: NetlinkSocket,
  index: number,
  direction: Direction,
): number | null {
  for (const { payload } of listFilters(socket, index, direction)) {
    if (payload.readUInt32LE(8) !== FILTER_HANDLE) continue;
    const options = decodeAttributes(payload.subarray(TCMSG_BYTES)).get(TCA_OPTIONS);
    if (options === undefined) continue;
    const attributes = decodeAttributes(options);
    const name = attributes.get(TCA_BPF_NAME);
    if (name === undefined || fromCString(name) !== FILTER_NAME) continue;
    return attributes.get(TCA_BPF_ID)?.readUInt32LE(0) ?? 0;
  }
  return null;
}

/** Removes our filter. The queueing discipline stays: see {@link removeIdleClsact}. */
export function removeFilters(socket: NetlinkSocket, index: number): void {
  for (const direction of DIRECTIONS) {
    if (filterProgramId(socket, index, direction) === null) continue;
    unless([Errno.ENOENT, Errno.ENODEV, Errno.EINVAL], () =>
      socket.acknowledge({
        type: RTM_DELTFILTER,
        payload: Buffer.concat([
          trafficHeader(index, FILTER_HANDLE, SIDES[direction], FILTER_INFO),
          attribute(TCA_KIND, cString('bpf')),
        ]),
        what: `remove the fence's ${direction} filter`,
      }),
    );
  }
}

/**
 * Removes the queueing discipline where nobody has a filter in it; whether that was so. Not at each
 * stop of an agent: the kernel takes the link's transmission away for that moment, as it does to
 * add one (qdisc_graft in net/sched/sch_api.c), and what the whole host sends then is lost.
 */
export function removeIdleClsact(socket: NetlinkSocket, index: number): boolean {
  const isInUse = (direction: Direction): boolean =>
    listFilters(socket, index, direction).length > 0;
  if (DIRECTIONS.some(isInUse)) return false;
  unless([Errno.ENOENT, Errno.ENODEV, Errno.EINVAL], () =>
    socket.acknowledge({
      type: RTM_DELQDISC,
      payload: trafficHeader(index, CLSACT_HANDLE, CLSACT_PARENT, 0),
      what: 'remove the empty clsact queueing discipline',
    }),
  );
  return true;
}

/** The interfaces that have a clsact queueing discipline, whoever made it. */
export function interfacesWithClsact(socket: NetlinkSocket): number[] {
  const request = { type: RTM_GETQDISC, payload: trafficHeader(0, 0, 0, 0), what: 'list qdiscs' };
  const indexes: number[] = [];
  for (const { payload } of socket.dump(request)) {
    if (payload.length < TCMSG_BYTES) continue;
    const kind = decodeAttributes(payload.subarray(TCMSG_BYTES)).get(TCA_KIND);
    if (kind !== undefined && fromCString(kind) === 'clsact') indexes.push(payload.readInt32LE(4));
  }
  return indexes;
}

function listFilters(socket: NetlinkSocket, index: number, direction: Direction): NetlinkMessage[] {
  const payload = trafficHeader(index, 0, SIDES[direction], 0);
  const what = `list ${direction} filters`;
  return (
    socket
      .dump({ type: RTM_GETTFILTER, payload, what })
      .filter((message) => message.payload.length >= TCMSG_BYTES)
      // A filter chain without a filter in it is listed as well, with handle 0.
      .filter((message) => message.payload.readUInt32LE(8) !== 0)
  );
}

function trafficHeader(index: number, handle: number, parent: number, info: number): Buffer {
  const header = Buffer.alloc(TCMSG_BYTES);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(handle >>> 0, 8);
  header.writeUInt32LE(parent >>> 0, 12);
  header.writeUInt32LE(info >>> 0, 16);
  return header;
}
