/**
 * Who is at the other end of a Unix socket, as the kernel knows it: nothing that the peer says can
 * change it. Groups come from the kernel too, so that users of any directory service are covered.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { check, getSocketOption } from './libc.ts';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
/** NGROUPS_MAX of linux/limits.h. */
const GROUPS_MAX = 65_536;

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/** The credentials of the process that connected; throws where `fd` is no connected Unix socket. */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = Buffer.alloc(12);
  const read = getSocketOption(fd, SOL_SOCKET, SO_PEERCRED, credentials, Uint32Array.of(12));
  check(read, 'read the credentials of a peer');
  const groups = new Uint32Array(GROUPS_MAX);
  const length = Uint32Array.of(groups.byteLength);
  const bytes = new Uint8Array(groups.buffer);
  check(getSocketOption(fd, SOL_SOCKET, SO_PEERGROUPS, bytes, length), 'read the groups of a peer');
  return {
    pid: credentials.readInt32LE(0),
    uid: credentials.readUInt32LE(4),
    gid: credentials.readUInt32LE(8),
    groups: [...groups.subarray(0, (length[0] ?? 0) / 4)],
  };
}

/** The descriptor of a connected socket; null once it is closed. */
export function socketDescriptor(socket: Socket): number | null {
  // Node keeps it in an undocumented field, stable since its first versions.
  const { _handle: handle } = socket as Socket & { _handle?: { readonly fd?: number } | null };
  const fd = handle?.fd;
  return fd === undefined || fd < 0 ? null : fd;
}

/** The id of a group of this host, or null where there is none of that name. */
export function groupId(name: string, file = '/etc/group'): number | null {
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [group, , id] = line.split(':');
    if (group === name && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  return null;
}

/** Whether the peer belongs to the group, by its own group or a supplementary one. */
export function inGroup(peer: PeerCredentials, group: number): boolean {
  return peer.gid === group || peer.groups.includes(group);
}
