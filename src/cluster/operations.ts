/**
 * What an operator, a joiner or a peer may ask of the cluster: one interface with three bodies. The
 * node itself implements it, the gRPC client speaks it to another process, and the admin server
 * forwards it to the leader where only the leader can answer.
 *
 * Every method rejects with an OperatingError whose code is stable; `not-leader` carries
 * `facts.leader = { id, name, address } | null`.
 */
import type { ObservationReport } from './observations.ts';
import type { StatusDocument } from './status-document.ts';

export interface ApplySpecRequest {
  /** The operator's document (apiVersion, kind, metadata, spec) as parsed YAML or JSON. */
  readonly document: unknown;
  readonly dryRun: boolean;
  /** Confirms what would otherwise be refused: removing a VIP or the last backend. */
  readonly yes: boolean;
}

export interface ApplySpecResult {
  readonly revision: number;
  readonly changed: boolean;
  /** One line per difference: `+ vips[10.0.0.101].address: …`, `- …`, `~ path: old → new`. */
  readonly changes: readonly string[];
}

/** The operator's document with every default filled in, ready to be written as YAML or JSON. */
export type SpecDocument = Readonly<Record<string, unknown>>;

export interface CreateTokenRequest {
  readonly ttlMs: number;
  /** How many joins it is good for; null for any number while it lives. */
  readonly uses: number | null;
  readonly description: string;
  /** A token of the operator's own choosing (unattended installs); null to make one. */
  readonly token: string | null;
}

export interface CreatedToken {
  readonly token: string;
  readonly id: string;
  readonly expires: string;
  readonly caHash: string;
  readonly joinCommand: string;
}

export interface TokenInfo {
  readonly id: string;
  readonly expires: string;
  readonly usesLeft: number | null;
  readonly description: string;
}

export interface AdmitRequest {
  readonly token: string;
  readonly name: string;
  /** `host:port` under which the peers will reach the joiner. */
  readonly address: string;
  readonly role: 'voter' | 'witness';
  /** PEM certificate request, signed with the joiner's own key. */
  readonly csr: string;
  readonly version: string;
  readonly formatVersion: number;
  /** Name of the member whose place the joiner takes (its disk is lost), in one step. */
  readonly replace: string | null;
}

export interface AdmitResult {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeId: string;
  readonly certificate: string;
  readonly caCertificate: string;
  /** PEM; only for nodes that sign, so not for witnesses. */
  readonly caKey: string | null;
  readonly vips: readonly { readonly address: string; readonly interface: string | null }[];
  /** Whom the joiner may believe, and where they are, until the leader's first snapshot says so. */
  readonly members: readonly AdmittedPeer[];
  /** This key was admitted before under this name: nothing was added. */
  readonly already: boolean;
}

export interface AdmittedPeer {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly publicKeyHash: string;
}

/** What a member says of itself when its agent starts, when something of it changed. */
export interface SelfReport {
  readonly nodeId: string;
  readonly version: string;
  readonly formatVersion: number;
  readonly address: string;
  /** RFC 3339. */
  readonly certExpires: string;
  /** MACs of its VIP interfaces, so that peers can tell a member from a stranger. */
  readonly macs: readonly string[];
}

export interface MemberRemoveRequest {
  readonly name: string;
  readonly force: boolean;
}

export interface PromotedMember {
  readonly promoted: string;
  /** False where it voted already. */
  readonly changed: boolean;
  /** How many vote now. */
  readonly voters: number;
  /** What the person may not have meant: an even number of voters. */
  readonly warnings: readonly string[];
}

/** What an operator decides about a member; null leaves it as it is. */
export interface MemberSetRequest {
  readonly name: string;
  /** Higher is preferred as leader; 0 is normal. */
  readonly priority: number | null;
  /** `host:port` of a member that moved, so that the others find it. */
  readonly address: string | null;
  /** A drained member votes and holds no VIP. */
  readonly draining: boolean | null;
  /** Drain it even if then nobody may hold the VIP. */
  readonly force: boolean;
}

/** The replicated state at one index, as the data of a snapshot in the log. */
export interface SavedSnapshot {
  readonly index: number;
  readonly term: number;
  readonly state: Uint8Array;
}

export interface CertificateInfo {
  readonly name: string;
  readonly nodeId: string;
  readonly expires: string | null;
}

export interface Verdict {
  readonly ok: boolean;
  readonly reason: string;
}

export interface Operations {
  status(options: { readonly linearizable: boolean }): Promise<StatusDocument>;
  getSpec(options: { readonly local: boolean }): Promise<SpecDocument>;
  applySpec(request: ApplySpecRequest): Promise<ApplySpecResult>;
  createToken(request: CreateTokenRequest): Promise<CreatedToken>;
  listTokens(): Promise<readonly TokenInfo[]>;
  revokeToken(id: string): Promise<void>;
  removeMember(request: MemberRemoveRequest): Promise<{ readonly removed: string }>;
  /** Makes a learner vote now, where the leader by itself would wait for an odd number. */
  promoteMember(name: string): Promise<PromotedMember>;
  setMember(
    request: MemberSetRequest,
  ): Promise<{ readonly name: string; readonly changed: boolean }>;
  /** Whether `name` (null: the node asked) may stop without costing the quorum or the VIP. */
  canStop(name: string | null): Promise<Verdict>;
  /**
   * Moves the leadership, and with it the VIP; null picks the best. Resolves with the new leader.
   */
  transfer(to: string | null): Promise<{ readonly leader: string }>;
  listCertificates(): Promise<readonly CertificateInfo[]>;
  /** Renews the certificate of the node asked, now. */
  renewCertificate(): Promise<CertificateInfo>;
  /** The replicated state as the node asked has applied it; needs no quorum. */
  saveSnapshot(): Promise<SavedSnapshot>;
  /** For joiners, through the join service only. */
  admit(request: AdmitRequest): Promise<AdmitResult>;
  /** For peers only. */
  report(report: SelfReport): Promise<void>;
  /** For peers only: what a member sees of the VIPs. */
  observe(report: ObservationReport): Promise<void>;
  /** For peers only: signs a member's renewal; the key in the request must be the pinned one. */
  signCertificate(request: {
    readonly nodeId: string;
    readonly csr: string;
  }): Promise<{ readonly certificate: string }>;
}

/**
 * Which operations only the leader answers, so that a follower passes them on as they are. The
 * others are answered where they are asked; some of those ask the leader themselves.
 */
export const leaderOperations: ReadonlySet<keyof Operations> = new Set<keyof Operations>([
  'applySpec',
  'createToken',
  'listTokens',
  'revokeToken',
  'removeMember',
  'promoteMember',
  'setMember',
  'transfer',
  'admit',
  'report',
  'observe',
  'signCertificate',
]);
