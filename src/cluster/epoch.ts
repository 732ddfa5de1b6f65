/**
 * A new beginning with one voter: what a lone survivor goes on from when the quorum is lost for
 * good, or a host to which a saved state is restored. Everybody else is out for ever: their ids
 * are never used again, so whoever comes back with one is refused.
 *
 * A person vouches that the others are off (fenced), because no program can see it from here.
 */
import { OperatingError } from '../base/errors.ts';
import { type Entry, emptyConfig, type NodeId, type Snapshot } from '../raft/types.ts';
import {
  type ClusterState,
  type Member,
  maxRemovedIds,
  memberById,
  withoutDrainMarks,
} from './state.ts';
import { encodeState } from './state-codec.ts';
import { replay } from './state-machine.ts';

/** Where a node stood when its log was read at rest. */
export interface LogAtRest {
  readonly term: number;
  readonly commit: number;
  readonly snapshot: Snapshot | undefined;
  readonly entries: readonly Entry[];
}

export interface Survivor {
  readonly state: ClusterState;
  readonly self: Member;
  /** The position from which the new epoch counts, behind everything that the old one wrote. */
  readonly at: { readonly index: number; readonly term: number };
}

/**
 * What the survivor `selfId` knows. The whole log counts, also what it does not know to be
 * committed: the lost majority may have confirmed it to somebody, and nobody is left to ask.
 *
 * @throws OperatingError `nothing-known`, `removed-member`, `witness`
 */
export function survivorOf(log: LogAtRest, selfId: NodeId): Survivor {
  const { snapshot, entries, commit } = log;
  if (snapshot === undefined || snapshot.meta.index === 0) throw nothingKnown();
  const certain = replay(
    snapshot,
    entries.filter(({ index }) => index <= commit),
  );
  if (memberById(certain, selfId) === undefined) throw wasRemoved();
  const whole = replay(snapshot, entries);
  // Nobody may have agreed to its removal yet, and now nobody can.
  const state = memberById(whole, selfId) === undefined ? certain : whole;
  const self = memberById(state, selfId);
  if (self === undefined) throw wasRemoved();
  if (self.joinsAs === 'witness') throw witness(self);
  const last = entries.at(-1) ?? snapshot.meta;
  return { state, self, at: { index: last.index + 1, term: Math.max(last.term, log.term) + 1 } };
}

/**
 * The first snapshot of the new epoch. The MACs of those that are out are *not* kept as known: one
 * that was not fenced after all is a stranger then, and while it answers, nobody claims the VIP.
 */
export function newEpoch({ state, self, at }: Survivor, clusterId = state.clusterId): Snapshot {
  const gone = state.members.filter(({ id }) => id !== self.id);
  const removed = new Set([...state.removedIds, ...gone.map(({ id }) => id)]);
  removed.delete(self.id);
  const alone: Member = {
    ...self,
    role: 'voter',
    joinsAs: 'voter',
    draining: false,
    joinedIndex: at.index,
  };
  const names = gone.map(({ name }) => name).filter((name) => name !== self.name);
  return {
    meta: { ...at, config: { ...emptyConfig, voters: [self.id] } },
    data: encodeState({
      ...state,
      clusterId,
      spec: withoutDrainMarks(state.spec, names),
      specRevision: at.index,
      members: [alone],
      removedIds: [...removed].slice(-maxRemovedIds),
    }),
  };
}

/**
 * Refuses unless `fenced` names exactly the members other than `selfName`, whom nobody may forget.
 *
 * @throws OperatingError `not-all-fenced`
 */
export function checkFenced(
  members: readonly Member[],
  selfName: string,
  fenced: readonly string[],
): void {
  const others = members.map(({ name }) => name).filter((name) => name !== selfName);
  const missing = others.filter((name) => !fenced.includes(name));
  const strange = fenced.filter((name) => !others.includes(name));
  if (missing.length === 0 && strange.length === 0) return;
  const problems = [
    ...(missing.length > 0 ? [`it leaves out ${missing.join(', ')}`] : []),
    ...(strange.length > 0 ? [`${strange.join(', ')} is no other member`] : []),
  ];
  throw new OperatingError({
    code: 'not-all-fenced',
    message:
      `--fenced must name exactly the other members (${others.join(', ') || 'nobody'}): ` +
      problems.join('; '),
    hint: 'switch every one of them off for good, then name them all; nothing was changed',
    facts: { members: others, missing, strange },
  });
}

function nothingKnown(): OperatingError {
  return new OperatingError({
    code: 'nothing-known',
    message: 'this node never received the state of its cluster, so nothing can go on from here',
    hint: 'recover on a host that was a voter, or restore a snapshot',
  });
}

function wasRemoved(): OperatingError {
  return new OperatingError({
    code: 'removed-member',
    message: 'this node is not a member of its cluster any more, which goes on without it',
    hint: 'wipe it with `holdfast reset --yes`, then join again',
  });
}

function witness({ name }: Member): OperatingError {
  return new OperatingError({
    code: 'witness',
    message: `${name} is a witness: it has no key to admit others with and may hold no VIP`,
    hint: 'recover on a voter, or restore a snapshot on a new host',
  });
}
