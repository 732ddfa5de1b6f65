/**
 * What a node starts from: the first snapshot of a new cluster, whose only voter is its founder; or
 * what a joiner was told when it was admitted, until the leader's own snapshot reaches it.
 */
import { emptyConfig, type NodeId, type Snapshot } from '../raft/types.ts';
import type { AdmitResult } from './operations.ts';
import type { Spec } from './spec.ts';
import { emptyState, formatVersion, type JoinToken, type Member } from './state.ts';
import { encodeState } from './state-codec.ts';

export interface Founder {
  readonly id: NodeId;
  readonly name: string;
  /** `host:port`. */
  readonly address: string;
  readonly publicKeyHash: string;
  readonly version: string;
  /** RFC 3339. */
  readonly certExpires: string;
}

export interface ClusterInit {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly spec: Spec;
  readonly founder: Founder;
  readonly tokens: readonly JoinToken[];
}

/** The log of a new cluster begins behind this snapshot, which its founder writes at `init`. */
export function bootstrapSnapshot(init: ClusterInit): Snapshot {
  const { founder, spec, tokens, clusterId, clusterName } = init;
  const index = 1;
  const member: Member = {
    ...founder,
    role: 'voter',
    joinsAs: 'voter',
    priority: 0,
    draining: false,
    formatVersion,
    macs: [],
    joinedIndex: index,
  };
  return {
    meta: { index, term: 1, config: { ...emptyConfig, voters: [founder.id] } },
    data: encodeState({
      ...emptyState,
      clusterId,
      clusterName,
      spec,
      specRevision: index,
      members: [member],
      tokens,
    }),
  };
}

/**
 * At index 0, so that the leader's first snapshot replaces it: names whom the joiner may believe
 * and answer. Its own membership is not in it; that comes with the log.
 */
export function joinerSnapshot(admitted: AdmitResult): Snapshot {
  const members = admitted.members.map(
    (peer): Member => ({
      ...peer,
      role: 'voter',
      joinsAs: 'voter',
      priority: 0,
      draining: false,
      version: '',
      formatVersion,
      certExpires: '',
      macs: [],
      joinedIndex: 0,
    }),
  );
  const { clusterId, clusterName } = admitted;
  return {
    meta: { index: 0, term: 0, config: emptyConfig },
    data: encodeState({ ...emptyState, clusterId, clusterName, members }),
  };
}
