/**
 * The leader's side of `join`: who comes with a good token and a name of its own gets an identity
 * that was never used before, a certificate for it, and a place among the learners.
 */
import type { Clock } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import { memberConflict } from './apply.ts';
import { hostOf } from './assign.ts';
import type { AddMember } from './command.ts';
import type { ClusterNode } from './node.ts';
import type { AdmitRequest, AdmitResult } from './operations.ts';
import type { CertificateSigner, Crypto } from './ports.ts';
import { clusterFormatVersion, memberByName } from './state.ts';
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
  /** Takes the member out whose place the joiner takes; resolves when that is agreed on. */
  readonly removeMember: (name: string) => Promise<void>;
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
  if (request.replace !== null) await makeRoom(ports, request.replace, publicKeyHash);

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
  };
  const conflict = memberConflict(node.view().state, joiner);
  if (conflict !== null && conflict !== 'already') throw new OperatingError(conflict);
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

/** Removes the member that the joiner replaces, unless the joiner is that member already. */
async function makeRoom(ports: AdmissionPorts, name: string, keyHash: string): Promise<void> {
  const { node } = ports;
  const { state, selfId } = node.view();
  const replaced = memberByName(state, name);
  if (replaced === undefined || replaced.publicKeyHash === keyHash) return;
  if (replaced.id === selfId) {
    throw badRequest(`${name} leads the cluster, so it is not lost and cannot be replaced`);
  }
  const peer = node.raftStatus().peers.find((each) => each.id === replaced.id);
  if (peer?.recentlyActive === true) {
    throw new OperatingError({
      code: 'member-alive',
      message: `${name} is alive at ${replaced.address}; nothing was changed`,
      hint: `stop its agent first, or remove it with \`holdfast member remove ${name}\``,
      facts: { name },
    });
  }
  await ports.removeMember(name);
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
