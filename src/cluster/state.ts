/**
 * The replicated state: what every member knows once it has applied the same log. Immutable; a new
 * value takes the place of the old one, so that a view handed out stays true of its moment.
 */
import type { NodeId } from '../raft/types.ts';
import type { Spec } from './spec.ts';

/**
 * The newest format of commands and state that this program understands. Raised whenever an older
 * program would misread what this one writes.
 */
export const formatVersion = 5;

/** A cluster serves one control plane: more hosts than this are a mistake, not a need. */
export const maxMembers = 16;
/** Live, expired and revoked ones together; the dead are swept once they are a week past expiry. */
export const maxTokens = 256;
/** Ids are random 64-bit numbers, so the oldest may be forgotten without fear of reuse. */
export const maxRemovedIds = 1024;
/** MACs of former members stay known, because switches and neighbours may answer with them. */
export const maxRemovedMacs = 256;

export type MemberRole = 'voter' | 'learner' | 'witness';

export interface Member {
  readonly id: NodeId;
  readonly name: string;
  /** `host:port` of its gRPC listener. */
  readonly address: string;
  readonly role: MemberRole;
  /** What a learner becomes when it is promoted. */
  readonly joinsAs: 'voter' | 'witness';
  /** Lower-case hex SHA-256 of its public key: who has this key is this member. */
  readonly publicKeyHash: string;
  /** Higher is preferred as leader. */
  readonly priority: number;
  /** Holds no VIP while set. */
  readonly draining: boolean;
  readonly version: string;
  readonly formatVersion: number;
  /** RFC 3339; empty while unknown. */
  readonly certExpires: string;
  /** `aa:bb:cc:dd:ee:ff` of its VIP interfaces. */
  readonly macs: readonly string[];
  /** Log index at which it was added. */
  readonly joinedIndex: number;
}

export interface JoinToken {
  readonly id: string;
  /** Hex SHA-256 of the whole token. */
  readonly secretHash: string;
  readonly expiresWallMs: number;
  readonly usesLeft: number | null;
  readonly description: string;
  /** Kept after revocation, so that a joiner hears "revoked" and not "unknown". */
  readonly revoked: boolean;
}

export interface ClusterState {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly spec: Spec;
  /** Log index of the command that wrote the spec. */
  readonly specRevision: number;
  /** In the order of joining. */
  readonly members: readonly Member[];
  readonly removedIds: readonly NodeId[];
  readonly removedMacs: readonly string[];
  readonly tokens: readonly JoinToken[];
}

/** What a joiner holds before the leader's first snapshot or append reaches it. */
export const emptyState: ClusterState = {
  clusterId: '',
  clusterName: '',
  spec: { timing: 'auto', vips: [], frontends: [] },
  specRevision: 0,
  members: [],
  removedIds: [],
  removedMacs: [],
  tokens: [],
};

export function memberById(state: ClusterState, id: NodeId): Member | undefined {
  return state.members.find((member) => member.id === id);
}

export function memberByName(state: ClusterState, name: string): Member | undefined {
  return state.members.find((member) => member.name === name);
}

/** The version at which the whole cluster acts: that of its oldest member. */
export function clusterFormatVersion(state: ClusterState): number {
  return state.members.reduce(
    (lowest, member) => Math.min(lowest, member.formatVersion),
    formatVersion,
  );
}

/** A name that comes back later must not find itself drained; the same spec where none was. */
export function withoutDrainMarks(spec: Spec, names: readonly string[]): Spec {
  const isMarked = (name: string): boolean => names.includes(name);
  if (!spec.frontends.some((each) => each.backends.drainedMembers.some(isMarked))) return spec;
  return {
    ...spec,
    frontends: spec.frontends.map((each) => ({
      ...each,
      backends: {
        ...each.backends,
        drainedMembers: each.backends.drainedMembers.filter((name) => !isMarked(name)),
      },
    })),
  };
}
