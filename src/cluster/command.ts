/**
 * Commands: the only ways to change the replicated state. Whatever a command needs to know of the
 * world (the wall clock, a random id) its proposer wrote into it, so that applying it is a pure
 * function on every member.
 */
import { unreachable } from '../base/assert.ts';
import type { ConfChange, MemberChange, NodeId } from '../raft/types.ts';
import type { Spec } from './spec.ts';
import type { JoinToken } from './state.ts';

export type Command =
  | { readonly type: 'noop' }
  | {
      readonly type: 'set-spec';
      readonly spec: Spec;
      /** Refused unless this is the revision in force; null replaces whatever is there. */
      readonly expectedRevision: number | null;
    }
  | AddMember
  | { readonly type: 'promote-members'; readonly ids: readonly NodeId[] }
  | { readonly type: 'remove-member'; readonly id: NodeId }
  | {
      readonly type: 'update-member';
      readonly id: NodeId;
      readonly address: string;
      readonly version: string;
      readonly formatVersion: number;
      readonly certExpires: string;
      readonly macs: readonly string[];
    }
  | SetMember
  | { readonly type: 'add-token'; readonly token: JoinToken; readonly nowWallMs: number }
  | { readonly type: 'revoke-token'; readonly id: string };

/** A joiner becomes a learner and consumes one use of its token. */
export interface AddMember {
  readonly type: 'add-member';
  readonly id: NodeId;
  readonly name: string;
  readonly address: string;
  readonly joinsAs: 'voter' | 'witness';
  readonly publicKeyHash: string;
  readonly version: string;
  readonly formatVersion: number;
  readonly certExpires: string;
  readonly tokenId: string;
  readonly nowWallMs: number;
  /** Goes in the same entry, so that there is no moment in which the place is nobody's. */
  readonly replaces?: NodeId;
}

/** What an operator decides about a member; null leaves it as it is. */
export interface SetMember {
  readonly type: 'set-member';
  readonly id: NodeId;
  readonly priority: number | null;
  readonly address: string | null;
  readonly draining: boolean | null;
}

export type CommandType = Command['type'];

/** What became of an applied command; a refused one changed nothing. */
export type CommandResult =
  | { readonly ok: true; readonly index: number; readonly changed: boolean }
  | {
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly hint?: string;
      readonly facts?: Readonly<Record<string, unknown>>;
    };

/** The lowest format version that understands `command`. */
export function commandFormat(command: Command): number {
  if (command.type === 'set-spec' && needsFormat5(command.spec)) return 5;
  if (command.type === 'set-spec' && needsFormat4(command.spec)) return 4;
  if (command.type === 'set-spec' && needsFormat3(command.spec)) return 3;
  if (command.type === 'set-member') return 2;
  return command.type === 'add-member' && command.replaces !== undefined ? 2 : 1;
}

/** Older programs would spread what is to stay on one host, and translate what is not to be. */
function needsFormat5({ frontends }: Spec): boolean {
  return frontends.some(
    ({ prefer, backends }) =>
      prefer === 'local' || backends.static.some(({ mode }) => mode !== 'masquerade'),
  );
}

/** Older programs would carry TLS unopened, and verify against nothing. */
function needsFormat4({ frontends }: Spec): boolean {
  return frontends.some(
    ({ http, healthCheck: { systemTrust, serverName } }) =>
      http !== null || systemTrust || serverName !== null,
  );
}

/** Older programs take a selector for a name, and know no policy but the usual one. */
function needsFormat3({ vips }: Spec): boolean {
  return vips.some((vip) => vip.onConflict !== 'defend' || (vip.interface ?? '').includes(':'));
}

/** The change of Raft's configuration that a command means, or null where it means none. */
export function confChangeOf(command: Command): ConfChange | null {
  switch (command.type) {
    case 'add-member': {
      const { id, replaces } = command;
      const goes: MemberChange[] = replaces === undefined ? [] : [{ type: 'remove', id: replaces }];
      // Simple with both: a learner moves no majority, so at most one voter moves.
      return { mode: 'simple', changes: [...goes, { type: 'add-learner', id }] };
    }
    case 'promote-members':
      // Two at once need joint consensus: in between there would be an even number of voters.
      return {
        mode: command.ids.length > 1 ? 'joint' : 'simple',
        changes: command.ids.map((id) => ({ type: 'add-voter', id })),
      };
    case 'remove-member':
      return { mode: 'simple', changes: [{ type: 'remove', id: command.id }] };
    case 'noop':
    case 'set-spec':
    case 'update-member':
    case 'set-member':
    case 'add-token':
    case 'revoke-token':
      return null;
    default:
      return unreachable(command);
  }
}
