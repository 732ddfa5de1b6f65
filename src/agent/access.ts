/**
 * Who may do what: members by what the state says of them, local processes by their user, and this
 * process by its capabilities.
 */
import { OperatingError } from '../base/errors.ts';
import { type ClusterState, memberById } from '../cluster/state.ts';
import { missingCapabilities } from '../linux/capabilities.ts';
import { groupId, inGroup, peerCredentials, socketDescriptor } from '../linux/peer-cred.ts';
import type { Standing } from '../rpc/identity.ts';
import type { LocalPeerOf } from '../rpc/local-server.ts';

/** Whoever is in this group may read the local socket. */
const READERS_GROUP = 'holdfast';

export function standing(state: ClusterState, id: string): Standing {
  const member = memberById(state, id);
  if (member !== undefined) return { kind: 'member', publicKeyHash: member.publicKeyHash };
  return { kind: state.removedIds.includes(id) ? 'removed' : 'unknown' };
}

/** The group that the local socket is given to; null where the host has none. */
export function readersGid(): number | null {
  return groupId(READERS_GROUP);
}

export const localPeer: LocalPeerOf = (socket) => {
  const descriptor = socketDescriptor(socket);
  if (descriptor === null) return null;
  const peer = peerCredentials(descriptor);
  if (peer.uid === 0 || peer.uid === process.getuid?.()) return { uid: peer.uid, access: 'all' };
  const readers = readersGid();
  const reads = readers !== null && inGroup(peer, readers);
  return { uid: peer.uid, access: reads ? 'read' : 'none' };
};

/** @throws OperatingError `capability-missing`: without its rights an agent does nothing at all */
export function refuseWithoutRights(): void {
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new OperatingError({
    code: 'capability-missing',
    message: `the agent may not do its work here: it lacks ${missing.join(', ')}`,
    hint: 'start it as root, or by the systemd unit that comes with it',
    facts: { missing },
  });
}
