/**
 * `Operations` as a node answers them: reads of its view, changes through the log, and what only
 * the leader can say. What a follower cannot answer itself it asks of the leader, or refuses with
 * `not-leader`, which names whom to ask.
 */
import { defined } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import type { NodeId } from '../raft/types.ts';
import { addressProblem, admit } from './admission.ts';
import { isoTime } from './duration.ts';
import type { LocalFacts } from './local-facts.ts';
import { memberNamed, promoteMember, removeMember, setMember } from './member-changes.ts';
import type { ClusterNode } from './node.ts';
import type { ObservationReport, Observations } from './observations.ts';
import type {
  AdmitRequest,
  AdmitResult,
  ApplySpecRequest,
  ApplySpecResult,
  CertificateInfo,
  CreatedToken,
  CreateTokenRequest,
  MemberRemoveRequest,
  MemberSetRequest,
  Operations,
  PromotedMember,
  SavedSnapshot,
  SelfReport,
  SpecDocument,
  TokenInfo,
  Verdict,
} from './operations.ts';
import type { CertificateSigner, Crypto } from './ports.ts';
import { bestSuccessor, quorumWithout } from './promotion.ts';
import { notLeader } from './refusals.ts';
import { checkSpecRevision, checkTokenRequest, checkUntranslated } from './requests.ts';
import { diffSpecs, needsConfirmation } from './spec-diff.ts';
import { specToDocument } from './spec-document.ts';
import { type ParseOptions, parseSpecDocument } from './spec-schema.ts';
import { type ClusterState, type Member, memberById } from './state.ts';
import { buildStatus } from './status.ts';
import type { StatusDocument } from './status-document.ts';
import { generateToken, storedToken } from './tokens.ts';

export interface ControlPorts extends ParseOptions {
  readonly node: ClusterNode;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly signer: CertificateSigner;
  readonly localFacts: () => LocalFacts;
  /**
   * The operations of another member, over the network; null to ask nobody. Two followers that each
   * take the other for the leader would else ask each other until the caller gives up.
   */
  readonly peer: ((id: NodeId) => Operations) | null;
  /** What members reach of the VIPs; one for all who answer for this node. */
  readonly observations: Observations;
  /** Renews this node's own certificate; resolves with its new end in RFC 3339. */
  readonly renewCertificate: () => Promise<string>;
}

/** How often an apply without a revision of its own is tried again beside others. */
const applyAttempts = 3;
const maxMacs = 64;

export class Control implements Operations {
  readonly #ports: ControlPorts;

  constructor(ports: ControlPorts) {
    this.#ports = ports;
  }

  async status(options: { readonly linearizable: boolean }): Promise<StatusDocument> {
    if (!options.linearizable) return this.#status('local');
    const leader = await this.#leaderElsewhere();
    if (leader === null) {
      await this.#ports.node.confirmRead();
      return this.#status('linearizable');
    }
    // What the quorum vouches for comes from the leader, what is of this host from here.
    const { view, verdict, warnings, cluster, members, vips } = await leader.status(options);
    const here = this.#status('local');
    const seen = new Map(vips.map(({ address, observedBy }) => [address, observedBy]));
    return {
      ...here,
      ...{ view, verdict, warnings, cluster, members },
      vips: here.vips.map((vip) => ({
        ...vip,
        observedBy: seen.get(vip.address) ?? vip.observedBy,
      })),
    };
  }

  #status(kind: 'local' | 'linearizable'): StatusDocument {
    const { node, clock, localFacts } = this.#ports;
    const view = node.view();
    const wallNowMs = clock.wallNow();
    return buildStatus({
      kind,
      view,
      raft: node.raftStatus(),
      transitions: node.transitions(),
      timing: node.timing(),
      local: localFacts(),
      wallNowMs,
      observed: this.#ports.observations.list(view.term, wallNowMs),
      ageMs: node.viewAgeMs(),
    });
  }

  async getSpec(options: { readonly local: boolean }): Promise<SpecDocument> {
    if (!options.local) {
      const leader = await this.#leaderElsewhere();
      if (leader !== null) return leader.getSpec(options);
      await this.#ports.node.confirmRead();
    }
    const { clusterName, spec, specRevision: revision } = this.#state;
    return specToDocument({ clusterName, revision, spec });
  }

  async applySpec(request: ApplySpecRequest): Promise<ApplySpecResult> {
    this.#requireLeader();
    const parsed = parseSpecDocument(request.document, this.#ports);
    for (let attempt = 1; ; attempt++) {
      const state = this.#state;
      checkSpecRevision(state, parsed);
      checkUntranslated(state, parsed.spec);
      const changes = diffSpecs(state.spec, parsed.spec);
      const unchanged = { revision: state.specRevision, changed: changes.length > 0, changes };
      if (changes.length === 0 || request.dryRun) return unchanged;
      if (!request.yes) refuseUnconfirmed(needsConfirmation(state.spec, parsed.spec));
      try {
        // What was compared and confirmed is what is replaced, whoever else writes.
        const { index } = await this.#ports.node.propose({
          type: 'set-spec',
          spec: parsed.spec,
          expectedRevision: state.specRevision,
        });
        return { revision: index, changed: true, changes };
      } catch (error) {
        const overtaken = errorCode(error) === 'stale-revision' && parsed.revision === null;
        if (!overtaken || attempt >= applyAttempts) throw error;
      }
    }
  }

  async createToken(request: CreateTokenRequest): Promise<CreatedToken> {
    const self = this.#requireLeader();
    checkTokenRequest(request);
    const { clock, crypto, node, signer } = this.#ports;
    const nowWallMs = clock.wallNow();
    const expiresWallMs = nowWallMs + request.ttlMs;
    const token = request.token ?? generateToken(crypto);
    const stored = storedToken(crypto, {
      token,
      expiresWallMs,
      uses: request.uses,
      description: request.description,
    });
    await node.propose({ type: 'add-token', token: stored, nowWallMs });
    const { caHash } = signer;
    return {
      token,
      id: stored.id,
      expires: isoTime(expiresWallMs),
      caHash,
      joinCommand: `holdfast join ${self.address} --token ${token} --ca-hash ${caHash}`,
    };
  }

  async listTokens(): Promise<readonly TokenInfo[]> {
    this.#requireLeader();
    const nowWallMs = this.#ports.clock.wallNow();
    return this.#state.tokens
      .filter((token) => !token.revoked && token.expiresWallMs > nowWallMs)
      .map(({ id, expiresWallMs, usesLeft, description }) => ({
        id,
        expires: isoTime(expiresWallMs),
        usesLeft,
        description,
      }));
  }

  /** @param id the public part, or the whole token. */
  async revokeToken(id: string): Promise<void> {
    this.#requireLeader();
    const [publicPart = ''] = id.split('.');
    await this.#ports.node.propose({ type: 'revoke-token', id: publicPart });
  }

  async removeMember(request: MemberRemoveRequest): Promise<{ readonly removed: string }> {
    this.#requireLeader();
    return removeMember(this.#ports.node, request);
  }

  async promoteMember(name: string): Promise<PromotedMember> {
    this.#requireLeader();
    return promoteMember(this.#ports.node, name);
  }

  async setMember(
    request: MemberSetRequest,
  ): Promise<{ readonly name: string; readonly changed: boolean }> {
    this.#requireLeader();
    return setMember(this.#ports.node, request);
  }

  async canStop(name: string | null): Promise<Verdict> {
    const leader = await this.#leaderElsewhere();
    const asked = name ?? memberById(this.#state, this.#ports.node.view().selfId)?.name;
    if (asked === undefined) return { ok: true, reason: 'this node is not a member' };
    if (leader !== null) return leader.canStop(asked);
    const member = memberNamed(this.#state, asked);
    const status = this.#ports.node.raftStatus();
    if (member.role === 'learner') return { ok: true, reason: `${asked} does not vote` };
    if (!quorumWithout(status, member.id, false)) {
      return { ok: false, reason: `without ${asked} there would be no quorum` };
    }
    if (member.id === status.id && bestSuccessor(status, this.#state) === null) {
      return { ok: false, reason: `${asked} leads, and no other voter could hold the VIP` };
    }
    return { ok: true, reason: `the quorum and the VIP do not need ${asked}` };
  }

  async transfer(to: string | null): Promise<{ readonly leader: string }> {
    this.#requireLeader();
    const target = to === null ? null : memberNamed(this.#state, to).id;
    const leader = await this.#ports.node.transfer(target);
    return { leader: memberById(this.#state, leader)?.name ?? leader };
  }

  async listCertificates(): Promise<readonly CertificateInfo[]> {
    return this.#state.members.map(({ id, name, certExpires }) => ({
      name,
      nodeId: id,
      expires: certExpires || null,
    }));
  }

  async renewCertificate(): Promise<CertificateInfo> {
    const { node, renewCertificate } = this.#ports;
    const expires = await renewCertificate();
    const { selfId } = node.view();
    const name = memberById(this.#state, selfId)?.name ?? selfId;
    return { name, nodeId: selfId, expires };
  }

  async saveSnapshot(): Promise<SavedSnapshot> {
    return this.#ports.node.savedState();
  }

  async admit(request: AdmitRequest): Promise<AdmitResult> {
    this.#requireLeader();
    return admit(this.#ports, request);
  }

  async report(report: SelfReport): Promise<void> {
    this.#requireLeader();
    const { nodeId: id, version, formatVersion, address, certExpires, macs } = report;
    const problem = addressProblem(address);
    if (problem !== null || macs.length > maxMacs) throw badReport(problem ?? 'too many MACs');
    const twin = this.#state.members.find((each) => each.address === address && each.id !== id);
    if (twin !== undefined) throw badReport(`${twin.name} has the address ${address} already`);
    await this.#ports.node.propose({
      type: 'update-member',
      ...{ id, version, formatVersion, address, certExpires, macs },
    });
  }

  async observe(report: ObservationReport): Promise<void> {
    this.#requireLeader();
    const { node, clock } = this.#ports;
    const { vips } = this.#state.spec;
    const observations = report.observations.filter(({ address }) =>
      vips.some((vip) => vip.address === address),
    );
    const { term } = node.view();
    this.#ports.observations.note({ ...report, observations }, term, clock.wallNow());
  }

  async signCertificate(request: {
    readonly nodeId: NodeId;
    readonly csr: string;
  }): Promise<{ readonly certificate: string }> {
    this.#requireLeader();
    const { signer } = this.#ports;
    const { clusterId } = this.#state;
    const member = memberById(this.#state, request.nodeId);
    const keyHash = await signer.publicKeyHashOf(request.csr);
    if (member === undefined || keyHash !== member.publicKeyHash) {
      throw new OperatingError({
        code: 'key-mismatch',
        message: 'this request is not signed with the key under which the node was admitted',
        hint: 'a node with a new key joins anew: `holdfast reset`, then `holdfast join`',
      });
    }
    const { id: nodeId, name, address } = member;
    const certificate = await signer.sign({ csr: request.csr, clusterId, nodeId, name, address });
    return { certificate };
  }

  get #state(): ClusterState {
    return this.#ports.node.view().state;
  }

  #requireLeader(): Member {
    const { role, leader, selfId, state } = this.#ports.node.view();
    if (role !== 'leader') throw notLeader(state, leader);
    return defined(memberById(state, selfId), 'the leader among the members');
  }

  /** The leader's operations; null where this node leads. */
  async #leaderElsewhere(): Promise<Operations | null> {
    const { role, leader, state } = this.#ports.node.view();
    if (role === 'leader') return null;
    const { peer } = this.#ports;
    if (leader === null || peer === null) throw notLeader(state, leader);
    return peer(leader);
  }
}

function refuseUnconfirmed(reasons: readonly string[]): void {
  if (reasons.length === 0) return;
  throw new OperatingError({
    code: 'needs-confirmation',
    message: `${reasons.join('; ')}; nothing was changed`,
    hint: 'repeat it with --yes if that is meant',
    facts: { reasons },
  });
}

function badReport(message: string): OperatingError {
  return new OperatingError({
    code: 'bad-request',
    message,
    hint: 'correct the address in agent.yaml and start the agent again',
  });
}
