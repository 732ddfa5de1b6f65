/** The refusals that several operations share, each with the facts that a caller needs to go on. */
import { OperatingError } from '../base/errors.ts';
import type { NodeId } from '../raft/types.ts';
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

export function nodeStopped(): OperatingError {
  return new OperatingError({
    code: 'node-stopped',
    message: 'the agent is stopping',
    hint: 'ask again in a moment',
  });
}
