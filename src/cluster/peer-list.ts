/**
 * Whom the transport may talk to. A member that is removed stays reachable for a moment, because
 * the news of its removal is still on the way to it and it cannot hear it from anybody later.
 */
import type { Clock, Millis } from '../base/clock.ts';
import type { NodeId } from '../raft/types.ts';
import type { PeerAddress, Transport } from './ports.ts';
import type { ClusterState, Member } from './state.ts';

/** Long enough for a few heartbeats, each of which carries the commit. */
export const removedPeerGraceMs: Millis = 1_000;

export class PeerList {
  readonly #clock: Clock;
  readonly #selfId: NodeId;
  readonly #transport: Transport;
  readonly #leaving = new Map<NodeId, { readonly peer: PeerAddress; readonly until: Millis }>();
  #members: readonly Member[] = [];

  constructor(clock: Clock, selfId: NodeId, transport: Transport) {
    this.#clock = clock;
    this.#selfId = selfId;
    this.#transport = transport;
  }

  /** Tells the transport if anything changed, the passing of the grace included. */
  set(state: ClusterState): void {
    const now = this.#clock.now();
    let changed = state.members !== this.#members;
    if (changed) {
      for (const member of this.#members) {
        if (state.members.some((each) => each.id === member.id)) continue;
        this.#leaving.set(member.id, { peer: addressOf(member), until: now + removedPeerGraceMs });
      }
      this.#members = state.members;
    }
    for (const [id, { until }] of this.#leaving) {
      if (until <= now) changed = this.#leaving.delete(id) || changed;
    }
    if (!changed) return;
    if (state.removedIds.includes(this.#selfId)) {
      // Nobody listens to a former member any more.
      this.#transport.setPeers([]);
      return;
    }
    const current = state.members.filter((member) => member.id !== this.#selfId).map(addressOf);
    const leaving = [...this.#leaving.values()].map(({ peer }) => peer);
    this.#transport.setPeers([
      ...current,
      ...leaving.filter((peer) => current.every((each) => each.address !== peer.address)),
    ]);
  }
}

function addressOf(member: Member): PeerAddress {
  return { id: member.id, address: member.address, publicKeyHash: member.publicKeyHash };
}
