/**
 * The state machine: (state, command, index) → state and result. Pure, total and deterministic:
 * every member that applies the same log holds the same state, so nothing here reads a clock or
 * throws.
 */
import { unreachable } from '../base/assert.ts';
import type { NodeId } from '../raft/types.ts';
import type { AddMember, Command, CommandResult, SetMember } from './command.ts';
import { sameSpec } from './spec-diff.ts';
import {
  type ClusterState,
  type JoinToken,
  type Member,
  maxMembers,
  maxRemovedIds,
  maxRemovedMacs,
  maxTokens,
  memberById,
  memberByName,
  withoutDrainMarks,
} from './state.ts';
import { checkToken } from './tokens.ts';

/** How long an expired or revoked token is remembered, so that a refusal can say which it was. */
const deadTokenMemoryMs = 7 * 24 * 3600 * 1000;

export interface Applied {
  readonly state: ClusterState;
  readonly result: CommandResult;
}

/** Applies the command of the entry at `index`; a refused command leaves `state` as it is. */
export function apply(state: ClusterState, command: Command, index: number): Applied {
  switch (command.type) {
    case 'noop':
      return done(state, index, false);
    case 'set-spec':
      return setSpec(state, command, index);
    case 'add-member':
      return addMember(state, command, index);
    case 'promote-members':
      return promoteMembers(state, command.ids, index);
    case 'remove-member':
      return removeMember(state, command.id, index);
    case 'update-member':
      return updateMember(state, command, index);
    case 'set-member':
      return setMember(state, command, index);
    case 'add-token':
      return addToken(state, command, index);
    case 'revoke-token':
      return revokeToken(state, command.id, index);
    default:
      return unreachable(command);
  }
}

function done(state: ClusterState, index: number, changed = true): Applied {
  return { state, result: { ok: true, index, changed } };
}

type Refusal = Omit<Extract<CommandResult, { ok: false }>, 'ok'>;

function refused(state: ClusterState, refusal: Refusal): Applied {
  return { state, result: { ok: false, ...refusal } };
}

function unknownMember(state: ClusterState, id: NodeId): Applied {
  return refused(state, {
    code: 'member-unknown',
    message: `no member has the id ${id}`,
    hint: 'see `holdfast member list`',
  });
}

function setSpec(
  state: ClusterState,
  command: Extract<Command, { type: 'set-spec' }>,
  index: number,
): Applied {
  const { expectedRevision } = command;
  if (expectedRevision !== null && expectedRevision !== state.specRevision) {
    return refused(state, {
      code: 'stale-revision',
      message: `the spec is at revision ${state.specRevision}, not ${expectedRevision}`,
      hint: 'read it again with `holdfast get spec` and repeat the change',
      facts: { revision: state.specRevision, expected: expectedRevision },
    });
  }
  if (sameSpec(state.spec, command.spec)) return done(state, index, false);
  return done({ ...state, spec: command.spec, specRevision: index }, index);
}

function addMember(state: ClusterState, command: AddMember, index: number): Applied {
  const { replaces } = command;
  const goes = replaces === undefined ? undefined : memberById(state, replaces);
  const room = goes === undefined ? state : withoutMember(state, goes, index);
  const refusal = memberConflict(room, command);
  if (refusal === 'already') return done(state, index, false);
  if (refusal !== null) return refused(state, refusal);
  if (replaces !== undefined && goes === undefined) return unknownMember(state, replaces);
  if (goes !== undefined && isLastVoter(state, goes)) return refused(state, lastVoter(goes));
  const token = state.tokens.find((each) => each.id === command.tokenId);
  const problem = checkToken(token, command.nowWallMs);
  if (problem !== null) return refused(state, problem);
  const { type: _type, tokenId: _tokenId, nowWallMs: _nowWallMs, replaces: _, ...joiner } = command;
  const member: Member = {
    ...joiner,
    role: 'learner',
    // A place keeps what the operator had decided about it, except that it was to be emptied.
    priority: goes?.priority ?? 0,
    draining: false,
    macs: [],
    joinedIndex: index,
  };
  const tokens = state.tokens.map((each) => (each === token ? oneUseLess(each) : each));
  return done({ ...room, members: [...room.members, member], tokens }, index);
}

/**
 * Why `joiner` cannot be added: null where it can, `already` where this very key was added under
 * this very name before, so that a repeated join is harmless.
 */
export function memberConflict(
  state: ClusterState,
  joiner: Pick<AddMember, 'id' | 'name' | 'address' | 'publicKeyHash'>,
): Refusal | 'already' | null {
  const named = memberByName(state, joiner.name);
  if (named !== undefined) {
    if (named.publicKeyHash === joiner.publicKeyHash) return 'already';
    return {
      code: 'name-taken',
      message: `a member named ${joiner.name} exists already, with another key`,
      hint: `choose another --name, or take its place with --replace ${joiner.name}`,
      facts: { name: joiner.name, address: named.address },
    };
  }
  const twin = state.members.find((member) => member.publicKeyHash === joiner.publicKeyHash);
  if (twin !== undefined) {
    return {
      code: 'key-taken',
      message: `this key belongs to the member ${twin.name}`,
      hint: `join as ${twin.name}, or run \`holdfast reset\` first to get a new identity`,
      facts: { name: twin.name },
    };
  }
  const neighbour = state.members.find((member) => member.address === joiner.address);
  if (neighbour !== undefined) {
    return {
      ...addressTaken(neighbour),
      hint: `choose another --advertise, or take its place with --replace ${neighbour.name}`,
    };
  }
  if (memberById(state, joiner.id) !== undefined || state.removedIds.includes(joiner.id)) {
    return {
      code: 'id-taken',
      message: `the node id ${joiner.id} was used before`,
      hint: 'join again: a new id is made',
    };
  }
  if (state.members.length >= maxMembers) {
    return {
      code: 'too-many-members',
      message: `the cluster has ${state.members.length} members, and ${maxMembers} is the limit`,
      hint: 'remove one first with `holdfast member remove`',
    };
  }
  return null;
}

function addressTaken({ name, address }: Member): Refusal {
  return {
    code: 'address-taken',
    message: `the member ${name} has the address ${address} already`,
    hint: 'choose another one; see `holdfast member list`',
    facts: { name, address },
  };
}

function oneUseLess(token: JoinToken): JoinToken {
  return token.usesLeft === null ? token : { ...token, usesLeft: token.usesLeft - 1 };
}

function promoteMembers(state: ClusterState, ids: readonly NodeId[], index: number): Applied {
  const stranger = ids.find((id) => memberById(state, id)?.role !== 'learner');
  if (stranger !== undefined || ids.length === 0) {
    return refused(state, {
      code: 'not-a-learner',
      message: `${stranger ?? 'nobody'} is no learner, so it cannot be promoted`,
    });
  }
  const members = state.members.map((member) =>
    ids.includes(member.id) ? { ...member, role: member.joinsAs } : member,
  );
  return done({ ...state, members }, index);
}

function removeMember(state: ClusterState, id: NodeId, index: number): Applied {
  const member = memberById(state, id);
  if (member === undefined) return unknownMember(state, id);
  if (isLastVoter(state, member)) return refused(state, lastVoter(member));
  return done(withoutMember(state, member, index), index);
}

function isLastVoter(state: ClusterState, member: Member): boolean {
  return state.members.every((each) => each === member || each.role === 'learner');
}

function lastVoter(member: Member): Refusal {
  return {
    code: 'last-voter',
    message: `${member.name} is the only voter; without it there is no cluster`,
    hint: 'let another member become a voter first, or use `holdfast reset`',
  };
}

/** The state once `member` is gone: its id is never used again, its MACs stay known. */
function withoutMember(state: ClusterState, member: Member, index: number): ClusterState {
  const removedMacs = [...new Set([...state.removedMacs, ...member.macs])];
  const spec = withoutDrainMarks(state.spec, [member.name]);
  return {
    ...state,
    members: state.members.filter((each) => each !== member),
    removedIds: [...state.removedIds, member.id].slice(-maxRemovedIds),
    removedMacs: removedMacs.slice(-maxRemovedMacs),
    spec,
    specRevision: spec === state.spec ? state.specRevision : index,
  };
}

function updateMember(
  state: ClusterState,
  command: Extract<Command, { type: 'update-member' }>,
  index: number,
): Applied {
  const before = memberById(state, command.id);
  if (before === undefined) return unknownMember(state, command.id);
  const { type: _type, ...facts } = command;
  const after: Member = { ...before, ...facts };
  if (JSON.stringify(after) === JSON.stringify(before)) return done(state, index, false);
  const members = state.members.map((member) => (member === before ? after : member));
  return done({ ...state, members }, index);
}

function setMember(state: ClusterState, command: SetMember, index: number): Applied {
  const before = memberById(state, command.id);
  if (before === undefined) return unknownMember(state, command.id);
  const { priority, address, draining } = command;
  const twin = state.members.find((each) => each !== before && each.address === address);
  if (twin !== undefined) return refused(state, addressTaken(twin));
  const after: Member = {
    ...before,
    priority: priority ?? before.priority,
    address: address ?? before.address,
    draining: draining ?? before.draining,
  };
  if (JSON.stringify(after) === JSON.stringify(before)) return done(state, index, false);
  const members = state.members.map((member) => (member === before ? after : member));
  return done({ ...state, members }, index);
}

function addToken(
  state: ClusterState,
  command: Extract<Command, { type: 'add-token' }>,
  index: number,
): Applied {
  const { token, nowWallMs } = command;
  const kept = state.tokens.filter((each) => each.expiresWallMs + deadTokenMemoryMs > nowWallMs);
  if (kept.some((each) => each.id === token.id)) {
    return refused(state, {
      code: 'token-exists',
      message: `a token with the id ${token.id} exists already`,
      hint: 'choose another token, or see `holdfast token list`',
    });
  }
  if (kept.length >= maxTokens) {
    return refused(state, {
      code: 'too-many-tokens',
      message: `there are ${kept.length} tokens, and ${maxTokens} is the limit`,
      hint: 'let old ones expire; `--uses` makes one token good for several joins',
    });
  }
  return done({ ...state, tokens: [...kept, token] }, index);
}

function revokeToken(state: ClusterState, id: string, index: number): Applied {
  const token = state.tokens.find((each) => each.id === id);
  if (token === undefined) {
    return refused(state, {
      code: 'token-unknown',
      message: `no token has the id ${id}`,
      hint: 'see `holdfast token list`',
    });
  }
  if (token.revoked) return done(state, index, false);
  const tokens = state.tokens.map((each) => (each === token ? { ...each, revoked: true } : each));
  return done({ ...state, tokens }, index);
}
