/**
 * Who is at the other end of a TLS connection, and may we talk: a pure judgement of one
 * certificate.
 *
 * A member is known by its id *and* its pinned key, so a certificate that fails only on time (all
 * expired while powered off, a clock at 1970) is still that member's, and is let in with an alarm.
 * A node that our state does not know yet but our CA signed is let in for Raft alone: it may be a
 * leader that joined while we were down, and only it can tell us so. For that node the certificate
 * is the whole proof, so it must be valid in time.
 */
import type { X509Certificate } from 'node:crypto';
import type { Millis } from '../base/clock.ts';
import { type TimeValidity, verifyNodeCertificate } from '../pki/inspect.ts';

/** What the replicated state says of a node id. */
export type Standing =
  | { readonly kind: 'member'; readonly publicKeyHash: string }
  | { readonly kind: 'removed' }
  | { readonly kind: 'unknown' };

export type StandingOf = (nodeId: string) => Standing;

/** Words for counting and for the log. */
export type Refusal =
  | 'foreign-ca'
  | 'foreign-cluster'
  | 'not-a-node-certificate'
  | 'removed-member'
  | 'unknown-key'
  | 'unexpected-node'
  | 'expired'
  | 'not-yet-valid'
  | 'no-certificate';

export interface PeerIdentity {
  readonly nodeId: string;
  readonly publicKeyHash: string;
}

export type Judgement =
  | {
      readonly ok: true;
      readonly peer: PeerIdentity;
      /** In our state, with this key. */
      readonly known: boolean;
      readonly time: TimeValidity;
    }
  | { readonly ok: false; readonly reason: Refusal };

export interface Trust {
  readonly clusterId: string;
  readonly authorities: readonly X509Certificate[];
  readonly wallNowMs: Millis;
}

/** Judges whoever dialled us. */
export function judgeClient(
  certificate: X509Certificate,
  trust: Trust,
  standingOf: StandingOf,
): Judgement {
  const judged = judge(certificate, trust);
  if (!judged.ok) return judged;
  const { peer, time } = judged;
  const standing = standingOf(peer.nodeId);
  if (standing.kind === 'removed') return { ok: false, reason: 'removed-member' };
  if (standing.kind === 'unknown') {
    return time === 'valid' ? judged : { ok: false, reason: time };
  }
  if (standing.publicKeyHash !== peer.publicKeyHash) return { ok: false, reason: 'unknown-key' };
  return { ...judged, known: true };
}

/** Judges whom we dialled: it must be the node expected there, by id and by key. */
export function judgeServer(
  certificate: X509Certificate | undefined,
  trust: Trust,
  expected: PeerIdentity,
): Judgement {
  if (certificate === undefined) return { ok: false, reason: 'no-certificate' };
  const judged = judge(certificate, trust);
  if (!judged.ok) return judged;
  const { peer } = judged;
  if (peer.nodeId !== expected.nodeId) return { ok: false, reason: 'unexpected-node' };
  if (peer.publicKeyHash !== expected.publicKeyHash) return { ok: false, reason: 'unknown-key' };
  return { ...judged, known: true };
}

function judge(certificate: X509Certificate, trust: Trust): Judgement {
  const verdict = verifyNodeCertificate(certificate, trust.authorities, trust.wallNowMs);
  if (!verdict.ok) return { ok: false, reason: verdict.reason };
  const { clusterId, nodeId, publicKeyHash } = verdict.certificate;
  if (clusterId !== trust.clusterId) return { ok: false, reason: 'foreign-cluster' };
  return { ok: true, peer: { nodeId, publicKeyHash }, known: false, time: verdict.time };
}
