/** The refusals that several operations share, each with the facts that a caller needs to go on. */
import { OperatingError } from '../base/errors.ts';
import type { NodeId } from '../raft/types.ts';
import { type Command, commandFormat } from './command.ts';
import { type ClusterState, memberById } from './state.ts';

/** `facts.leader` is `{ id, name, address }`, or null where nobody leads. */
export function notLeader(state: ClusterState, leader: NodeId | null): OperatingError {
  const member = leader === null ? undefined : memberById(state, leader);
  return new OperatingError({
    code: 'not-leader',
    message:
      member === undefined
        ? 'no leader is known at the moment, so nothing can be changed'
        : `this node does not lead; ${member.name} does`,
    hint:
      member === undefined
        ? 'see `holdfast status`: more than half of the voters must run and reach each other'
        : `ask ${member.name} at ${member.address}`,
    facts: {
      leader:
        member === undefined ? null : { id: member.id, name: member.name, address: member.address },
    },
  });
}

/** Nothing was heard of a proposal in time: it may or may not take effect later. */
export function noQuorum(timeoutMs: number): OperatingError {
  return new OperatingError({
    code: 'no-quorum',
    message: `the quorum did not answer within ${timeoutMs / 1000} s; the change may still happen`,
    hint: 'see `holdfast status`: more than half of the voters must run and reach each other',
    facts: { timeoutMs },
  });
}

/** @param hint what helps; the person may also know better. */
export function wouldLoseQuorum(name: string, hint: string): OperatingError {
  return new OperatingError({
    code: 'would-lose-quorum',
    message: `without ${name} too few voters would be up, and nobody could serve the VIP`,
    hint,
    facts: { name },
  });
}

export function nodeStopped(): OperatingError {
  return new OperatingError({
    code: 'node-stopped',
    message: 'the agent is stopping',
    hint: 'ask again in a moment',
  });
}

/** The leadership did not move; nothing was given up. */
export function transferRefused(reason: string): OperatingError {
  return new OperatingError({
    code: 'transfer-refused',
    message: `the leadership stays where it is: ${reason}`,
    hint: 'see `holdfast status` for which voters are up and eligible',
    facts: { reason },
  });
}

/** Some member would not understand `command`, and would stop. */
export function versionTooLow(command: Command, version: number): OperatingError {
  return new OperatingError({
    code: 'version-too-low',
    message: `${command.type} needs a newer version on every member (the oldest is at ${version})`,
    hint: 'upgrade all members first; see `holdfast member list`',
    facts: { needed: commandFormat(command), version },
  });
}
