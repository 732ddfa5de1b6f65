/**
 * What an operator asks of the membership, as the leader carries it out: remove, promote, set. Each
 * looks first whether the quorum and the VIP would survive it, and says what would not.
 */
import { OperatingError } from '../base/errors.ts';
import { priorityLimit } from '../raft/election.ts';
import type { NodeId } from '../raft/types.ts';
import { addressProblem } from './admission.ts';
import type { ClusterNode } from './node.ts';
import type { MemberRemoveRequest, MemberSetRequest, PromotedMember } from './operations.ts';
import { bestSuccessor, isCaughtUp, maxVoters, quorumWithout } from './promotion.ts';
import { notLeader, wouldLoseQuorum } from './refusals.ts';
import { type ClusterState, type Member, memberByName } from './state.ts';

/**
 * The member of this name.
 *
 * @throws OperatingError `member-unknown`
 */
export function memberNamed(state: ClusterState, name: string): Member {
  const member = memberByName(state, name);
  if (member !== undefined) return member;
  const names = state.members.map((each) => each.name);
  throw new OperatingError({
    code: 'member-unknown',
    message: `there is no member named ${name}`,
    hint: `the members are ${names.join(', ')}`,
    facts: { name, members: names },
  });
}

/** @throws OperatingError (as a rejection) would-lose-quorum, not-leader, and a proposal's */
export async function removeMember(
  node: ClusterNode,
  request: MemberRemoveRequest,
): Promise<{ readonly removed: string }> {
  const { state } = node.view();
  const member = memberNamed(state, request.name);
  const status = node.raftStatus();
  if (member.role !== 'learner' && !request.force && !quorumWithout(status, member.id, true)) {
    const hint =
      'start the voters that are down first, or repeat it with --force if they never come back';
    throw wouldLoseQuorum(member.name, hint);
  }
  if (!request.force && isLastToHold(state, member)) throw nobodyLeft(member.name);
  if (member.id === status.id && bestSuccessor(status, state) !== null) await handOver(node);
  await node.propose({ type: 'remove-member', id: member.id });
  return { removed: member.name };
}

/** @throws OperatingError (as a rejection) not-caught-up, and a proposal's */
export async function promoteMember(node: ClusterNode, name: string): Promise<PromotedMember> {
  const member = memberNamed(node.view().state, name);
  const isLearner = member.role === 'learner';
  if (isLearner) {
    if (!isCaughtUp(node.raftStatus(), member.id)) throw notCaughtUp(member);
    await node.propose({ type: 'promote-members', ids: [member.id] });
  }
  const voters = node.view().state.members.filter(({ role }) => role !== 'learner').length;
  return { promoted: name, changed: isLearner, voters, warnings: voterWarnings(voters) };
}

function voterWarnings(voters: number): readonly string[] {
  const warnings: string[] = [];
  if (voters % 2 === 0) {
    warnings.push(
      `${voters} voters survive no more failures than ${voters - 1}: join another host, ` +
        'or a witness with `holdfast join --role witness`',
    );
  }
  if (voters > maxVoters) {
    warnings.push(`more than ${maxVoters} voters make every change slower and nothing safer`);
  }
  return warnings;
}

/** @throws OperatingError (as a rejection) bad-request, member-alive, nobody-else, a proposal's */
export async function setMember(
  node: ClusterNode,
  request: MemberSetRequest,
): Promise<{ readonly name: string; readonly changed: boolean }> {
  const { state } = node.view();
  const { name, priority, address, draining, force } = request;
  const member = memberNamed(state, name);
  if (priority !== null && !(Number.isInteger(priority) && Math.abs(priority) <= priorityLimit)) {
    throw badRequest(`a priority is a number from ${-priorityLimit} to ${priorityLimit}`);
  }
  if (address !== null && address !== member.address) checkMove(node, member, address);
  if (draining === true && !member.draining && member.id === node.view().selfId) {
    const successor = bestSuccessor(node.raftStatus(), state);
    if (successor === null && !force) throw nobodyElse(name);
    if (successor !== null) await handOver(node);
  }
  const command = { type: 'set-member', id: member.id, priority, address, draining } as const;
  const { changed } = await node.propose(command);
  return { name, changed };
}

/**
 * With the VIP elsewhere first, nobody has to wait for this node's promises to run out. The
 * successor is then asked, by whoever follows `not-leader`.
 */
async function handOver(node: ClusterNode): Promise<never> {
  const leader: NodeId = await node.transfer(null);
  throw notLeader(node.view().state, leader);
}

/** A member says itself where it is; only of one that cannot be heard may somebody else say it. */
function checkMove(node: ClusterNode, member: Member, address: string): void {
  const problem = addressProblem(address);
  if (problem !== null) throw badRequest(problem);
  const peer = node.raftStatus().peers.find(({ id }) => id === member.id);
  if (peer !== undefined && !peer.recentlyActive) return;
  throw new OperatingError({
    code: 'member-alive',
    message: `${member.name} is alive at ${member.address}; nothing was changed`,
    hint: 'change `advertise` in its agent.yaml and start its agent again, then repeat this',
    facts: { name: member.name, address: member.address },
  });
}

function notCaughtUp({ name, address }: Member): OperatingError {
  return new OperatingError({
    code: 'not-caught-up',
    message: `${name} does not have the whole log yet, and would cost the others their quorum`,
    hint: `see that its agent runs and is reachable at ${address}; then repeat it`,
    facts: { name, address },
  });
}

/** Whether the others are all witnesses or drained, so that nobody could hold the VIP. */
function isLastToHold(state: ClusterState, member: Member): boolean {
  const couldHold = ({ role, joinsAs, draining }: Member): boolean =>
    !draining && role !== 'witness' && (role === 'voter' || joinsAs === 'voter');
  const others = state.members.filter(({ id }) => id !== member.id);
  return couldHold(member) && others.length > 0 && !others.some(couldHold);
}

function nobodyLeft(name: string): OperatingError {
  return new OperatingError({
    code: 'nobody-else',
    message: `without ${name} no member could hold the VIP: the others are witnesses or drained`,
    hint: 'undrain or join another host first; or repeat it with --force, and nobody holds the VIP',
    facts: { name },
  });
}

function nobodyElse(name: string): OperatingError {
  return new OperatingError({
    code: 'nobody-else',
    message: `${name} holds the VIP, and no other voter could; nothing was changed`,
    hint: 'see `holdfast status` for why; or repeat it with --force, and nobody holds the VIP',
    facts: { name },
  });
}

function badRequest(message: string): OperatingError {
  return new OperatingError({
    code: 'bad-request',
    message,
    hint: 'nothing was changed; correct it and try again',
  });
}
