/**
 * Commands and state ⇄ bytes. Total: whatever does not decode is one operating error that ends the
 * node, because to skip a command that the others applied would be to diverge in silence.
 */

import * as pb from '../../proto/gen/state.ts';
import { defined, unreachable } from '../base/assert.ts';
import { describeError, OperatingError } from '../base/errors.ts';
import { type Command, commandFormat } from './command.ts';
import { specFromProto, specToProto, type Words, wordOf } from './spec-codec.ts';
import {
  type ClusterState,
  clusterFormatVersion,
  formatVersion,
  type JoinToken,
  type Member,
  type MemberRole,
} from './state.ts';

const roles = {
  voter: pb.MemberRole.VOTER,
  learner: pb.MemberRole.LEARNER,
  witness: pb.MemberRole.WITNESS,
} as const satisfies Words<MemberRole>;

const joinRoles = {
  voter: pb.MemberRole.VOTER,
  witness: pb.MemberRole.WITNESS,
} as const satisfies Words<Member['joinsAs']>;

export function encodeCommand(command: Command): Uint8Array {
  const message = { formatVersion: commandFormat(command), kind: kindOf(command) };
  return pb.Command.encode(message).finish();
}

/** @throws OperatingError `data-newer` or `entry-unknown`. */
export function decodeCommand(bytes: Uint8Array): Command {
  return decoding('a log entry', () => {
    const command = pb.Command.decode(bytes);
    refuseNewer(command.formatVersion, 'A log entry');
    return commandFrom(defined(command.kind, 'a known kind of command'));
  });
}

export function encodeState(state: ClusterState): Uint8Array {
  return pb.ClusterState.encode({
    // What the oldest member can read: this is how it may catch up.
    formatVersion: clusterFormatVersion(state),
    clusterId: state.clusterId,
    clusterName: state.clusterName,
    spec: specToProto(state.spec),
    specRevision: state.specRevision,
    members: state.members.map((member) => ({
      ...member,
      role: roles[member.role],
      joinsAs: joinRoles[member.joinsAs],
      macs: [...member.macs],
    })),
    removedIds: [...state.removedIds],
    removedMacs: [...state.removedMacs],
    tokens: state.tokens.map(tokenToProto),
  }).finish();
}

/** @throws OperatingError `data-newer` or `entry-unknown`. */
export function decodeState(bytes: Uint8Array): ClusterState {
  return decoding('a snapshot', () => {
    const state = pb.ClusterState.decode(bytes);
    refuseNewer(state.formatVersion, 'A snapshot');
    return {
      clusterId: state.clusterId,
      clusterName: state.clusterName,
      spec: specFromProto(defined(state.spec, 'spec')),
      specRevision: state.specRevision,
      members: state.members.map((member) => ({
        ...member,
        role: wordOf(roles, member.role, 'member role'),
        joinsAs: wordOf(joinRoles, member.joinsAs, 'joining role'),
      })),
      removedIds: state.removedIds,
      removedMacs: state.removedMacs,
      tokens: state.tokens.map(tokenFromProto),
    };
  });
}

function decoding<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw new OperatingError({
      code: 'entry-unknown',
      message: `${what} cannot be understood: ${describeError(error)}`,
      hint: 'the cluster may run a newer version: install that version on this host too',
      cause: error,
    });
  }
}

function refuseNewer(version: number, what: string): void {
  if (version <= formatVersion) return;
  throw new OperatingError({
    code: 'data-newer',
    message: `${what} has format version ${version}, and this program knows ${formatVersion}`,
    hint: 'install the version that the other members run',
    facts: { found: version, known: formatVersion },
  });
}

function tokenToProto(token: JoinToken): pb.Token {
  const { usesLeft, ...rest } = token;
  return { ...rest, usesLeft: usesLeft ?? undefined };
}

function tokenFromProto(token: pb.Token): JoinToken {
  return { ...token, usesLeft: token.usesLeft ?? null };
}

type Kind = Exclude<pb.Command['kind'], undefined>;

function kindOf(command: Command): Kind {
  switch (command.type) {
    case 'noop':
      return { $case: 'noop', value: {} };
    case 'set-spec':
      return {
        $case: 'setSpec',
        value: {
          spec: specToProto(command.spec),
          expectedRevision: command.expectedRevision ?? undefined,
        },
      };
    case 'add-member': {
      const { type: _type, formatVersion: memberFormatVersion, joinsAs, ...rest } = command;
      const replaces = command.replaces ?? '';
      const value = { ...rest, memberFormatVersion, joinsAs: joinRoles[joinsAs], replaces };
      return { $case: 'addMember', value };
    }
    case 'promote-members':
      return { $case: 'promoteMembers', value: { ids: [...command.ids] } };
    case 'remove-member':
      return { $case: 'removeMember', value: { id: command.id } };
    case 'update-member': {
      const { type: _type, formatVersion: memberFormatVersion, macs, ...rest } = command;
      return { $case: 'updateMember', value: { ...rest, memberFormatVersion, macs: [...macs] } };
    }
    case 'set-member': {
      const { id, priority, address, draining } = command;
      const value = {
        id,
        priority: priority ?? undefined,
        address: address ?? undefined,
        draining: draining ?? undefined,
      };
      return { $case: 'setMember', value };
    }
    case 'add-token': {
      const { token, nowWallMs } = command;
      return { $case: 'addToken', value: { token: tokenToProto(token), nowWallMs } };
    }
    case 'revoke-token':
      return { $case: 'revokeToken', value: { id: command.id } };
    default:
      return unreachable(command);
  }
}

function commandFrom(kind: Kind): Command {
  switch (kind.$case) {
    case 'noop':
      return { type: 'noop' };
    case 'setSpec': {
      const spec = specFromProto(defined(kind.value.spec, 'spec'));
      return { type: 'set-spec', spec, expectedRevision: kind.value.expectedRevision ?? null };
    }
    case 'addMember': {
      const { memberFormatVersion, joinsAs, replaces, ...rest } = kind.value;
      return {
        type: 'add-member',
        ...rest,
        formatVersion: memberFormatVersion,
        joinsAs: wordOf(joinRoles, joinsAs, 'joining role'),
        ...(replaces === '' ? {} : { replaces }),
      };
    }
    case 'promoteMembers':
      return { type: 'promote-members', ids: kind.value.ids };
    case 'removeMember':
      return { type: 'remove-member', id: kind.value.id };
    case 'updateMember': {
      const { memberFormatVersion, ...rest } = kind.value;
      return { type: 'update-member', ...rest, formatVersion: memberFormatVersion };
    }
    case 'setMember': {
      const { id, priority = null, address = null, draining = null } = kind.value;
      return { type: 'set-member', id, priority, address, draining };
    }
    case 'addToken': {
      const token = tokenFromProto(defined(kind.value.token, 'token'));
      return { type: 'add-token', token, nowWallMs: kind.value.nowWallMs };
    }
    case 'revokeToken':
      return { type: 'revoke-token', id: kind.value.id };
    default:
      return unreachable(kind);
  }
}
