/**
 * The leader's side of `join`: who comes with a good token and a name of its own gets an identity
 * that was never used before, a certificate for it, and a place among the learners.
 */
import type { Clock } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import { memberConflict } from './apply.ts';
import { hostOf } from './assign.ts';
import { type AddMember, commandFormat } from './command.ts';
import type { ClusterNode } from './node.ts';
import type { AdmitRequest, AdmitResult } from './operations.ts';
import type { CertificateSigner, Crypto } from './ports.ts';
import { quorumWithout } from './promotion.ts';
import { wouldLoseQuorum } from './refusals.ts';
import { type ClusterState, clusterFormatVersion, type Member, memberByName } from './state.ts';
import { authenticateToken } from './tokens.ts';

/** Joins at the same moment queue behind each other's membership changes. */
const admitTimeoutMs = 9_000;

const namePattern = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;
const maxCsrChars = 16 * 1024;
const maxVersionChars = 64;

export interface AdmissionPorts {
  readonly node: ClusterNode;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly signer: CertificateSigner;
}

/**
 * @throws OperatingError (as a rejection) not-leader, bad-request, token-*, name-taken, key-taken,
 *   address-taken, too-many-members, version-too-old, and those of a proposal.
 */
export async function admit(ports: AdmissionPorts, request: AdmitRequest): Promise<AdmitResult> {
  const { node, clock, crypto, signer } = ports;
  const view = node.view();
  checkShape(request);
  if (signer.caKey === null) throw cannotSign();
  const token = authenticateToken(crypto, view.state, request.token, clock.wallNow());
  checkVersion(request, clusterFormatVersion(view.state));
  const publicKeyHash = await signer.publicKeyHashOf(request.csr);
  const replaced = memberToReplace(node, request, publicKeyHash);

  const joiner: AddMember = {
    type: 'add-member',
    id: crypto.randomHex(8),
    name: request.name,
    address: request.address,
    joinsAs: request.role,
    publicKeyHash,
    version: request.version,
    formatVersion: request.formatVersion,
    certExpires: '',
    tokenId: token.id,
    nowWallMs: clock.wallNow(),
    ...(replaced === null ? {} : { replaces: replaced.id }),
  };
  const others = view.state.members.filter((member) => member !== replaced);
  const conflict = memberConflict({ ...view.state, members: others }, joiner);
  if (conflict !== null && conflict !== 'already') throw new OperatingError(conflict);
  if (replaced !== null && commandFormat(joiner) > clusterFormatVersion(view.state)) {
    // The oldest member, which may be the lost one itself, knows this only as two steps.
    await node.propose({ type: 'remove-member', id: replaced.id }, admitTimeoutMs);
    const { replaces: _, ...alone } = joiner;
    const { changed } = await node.propose(alone, admitTimeoutMs);
    return answer(ports, request, { changed, publicKeyHash });
  }
  // Proposed even if the key is known: only the log can tell whether a join is a repetition.
  const { changed } = await node.propose(joiner, admitTimeoutMs);
  return answer(ports, request, { changed, publicKeyHash });
}

async function answer(
  ports: AdmissionPorts,
  request: AdmitRequest,
  outcome: { readonly changed: boolean; readonly publicKeyHash: string },
): Promise<AdmitResult> {
  const { signer } = ports;
  const { state } = ports.node.view();
  const member = memberByName(state, request.name);
  if (member === undefined || member.publicKeyHash !== outcome.publicKeyHash) {
    throw badRequest(`the member ${request.name} was removed while it joined`);
  }
  const { clusterId, clusterName, spec } = state;
  const certificate = await signer.sign({
    csr: request.csr,
    clusterId,
    nodeId: member.id,
    name: member.name,
    address: member.address,
  });
  return {
    clusterId,
    clusterName,
    nodeId: member.id,
    certificate,
    caCertificate: signer.caCertificate,
    caKey: member.joinsAs === 'witness' ? null : signer.caKey,
    vips: spec.vips,
    members: state.members
      .filter((each) => each.id !== member.id)
      .map(({ id, name, address, publicKeyHash }) => ({ id, name, address, publicKeyHash })),
    already: !outcome.changed,
  };
}

/** Whom the joiner replaces; null for nobody, also where a repeated join has done so already. */
function memberToReplace(
  node: ClusterNode,
  { name, replace }: AdmitRequest,
  keyHash: string,
): Member | null {
  const { state, selfId } = node.view();
  if (replace === null || memberByName(state, name)?.publicKeyHash === keyHash) return null;
  const replaced = memberByName(state, replace);
  if (replaced === undefined) throw nobodyToReplace(state, replace);
  if (replaced.id === selfId) {
    throw badRequest(`${replace} leads the cluster, so it is not lost and cannot be replaced`);
  }
  const status = node.raftStatus();
  const peer = status.peers.find((each) => each.id === replaced.id);
  if (peer?.recentlyActive === true) {
    throw new OperatingError({
      code: 'member-alive',
      message: `${replace} is alive at ${replaced.address}; nothing was changed`,
      hint: `stop its agent first, or remove it with \`holdfast member remove ${replace}\``,
      facts: { name: replace },
    });
  }
  if (replaced.role !== 'learner' && !quorumWithout(status, replaced.id, true)) {
    throw wouldLoseQuorum(replace, 'start the voters that are down first');
  }
  return replaced;
}

function nobodyToReplace(state: ClusterState, name: string): OperatingError {
  const members = state.members.map((member) => member.name);
  return new OperatingError({
    code: 'member-unknown',
    message: `there is no member named ${name} to replace; nothing was changed`,
    hint: `the members are ${members.join(', ')}; a further host joins without --replace`,
    facts: { name, members },
  });
}

function checkShape(request: AdmitRequest): void {
  if (!namePattern.test(request.name)) {
    throw badRequest('the name must be 1 to 63 letters, digits, dots and dashes');
  }
  const problem = addressProblem(request.address);
  if (problem !== null) throw badRequest(problem);
  if (request.csr.length > maxCsrChars) throw badRequest('the certificate request is too long');
  if (request.version.length > maxVersionChars) throw badRequest('the version is too long');
}

/** What is wrong with a `host:port` that peers are to dial; null if nothing. */
export function addressProblem(address: string): string | null {
  const match = /^(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9.-]{1,253}):(\d{1,5})$/.exec(address);
  const port = Number(match?.[2]);
  if (match === null || port < 1 || port > 65535) {
    return `the address must be HOST:PORT (is ${address.slice(0, 80)})`;
  }
  const bytes = parseIp(hostOf(address));
  if (bytes?.every((byte) => byte === 0)) return 'peers cannot dial an unspecified address';
  return null;
}

function checkVersion(request: AdmitRequest, needed: number): void {
  if (request.formatVersion >= needed) return;
  throw new OperatingError({
    code: 'version-too-old',
    message: `the cluster is at format ${needed}; this version knows ${request.formatVersion}`,
    hint: 'install the version that the members run',
    facts: { needed, found: request.formatVersion },
  });
}

function cannotSign(): OperatingError {
  return new OperatingError({
    code: 'ca-key-missing',
    message: 'the leader has no CA key and cannot sign certificates',
    hint: 'hand over to a voter that has it with `holdfast transfer`, then try again',
  });
}

function badRequest(message: string): OperatingError {
  return new OperatingError({
    code: 'bad-request',
    message,
    hint: 'nothing was changed; correct it and try again',
  });
}
