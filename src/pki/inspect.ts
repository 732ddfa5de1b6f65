/**
 * Reading certificates: who is named, by which cluster, until when, and whether our CA says so.
 * Only `node:crypto`, and synchronous, because every handshake passes here; signing is elsewhere.
 *
 * Signature and time are judged apart: a member whose certificate merely ran out while it was
 * powered off is still known by its key, and only the caller can tell whether it knows the key.
 */
import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import type { Millis } from '../base/clock.ts';

/** More certificates than this in one bundle are refused. */
const maxBundleCertificates = 16;

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const uriPattern = /^URI:holdfast:\/\/([^/,\s]+)\/([^/,\s]+)$/;

/** What a node certificate says. */
export interface NodeCertificate {
  readonly clusterId: string;
  readonly nodeId: string;
  /** The member's name when it was signed; for people. */
  readonly name: string;
  /** Wall-clock ms since 1970. */
  readonly notBeforeMs: Millis;
  readonly notAfterMs: Millis;
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo. */
  readonly publicKeyHash: string;
}

export type TimeValidity = 'valid' | 'expired' | 'not-yet-valid';

export type Verification =
  | { readonly ok: true; readonly time: TimeValidity; readonly certificate: NodeCertificate }
  | { readonly ok: false; readonly reason: 'foreign-ca' | 'not-a-node-certificate' };

/** Whether `id` can be a cluster's or a node's id: it appears in names of certificates. */
export function isIdentifier(id: string): boolean {
  return idPattern.test(id);
}

/** The URI by which a certificate names its node. */
export function nodeUri(clusterId: string, nodeId: string): string {
  return `holdfast://${clusterId}/${nodeId}`;
}

/** Lower-case hex SHA-256 of the key's SubjectPublicKeyInfo (RFC 5280 4.1). */
export function publicKeyHash(key: KeyObject): string {
  const spki = key.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

/** What joiners pin, in the form that kubeadm gave users: `sha256:HEX` of the CA's public key. */
export function caHashOf(certificate: X509Certificate): string {
  return `sha256:${publicKeyHash(certificate.publicKey)}`;
}

/** The certificates of a PEM text, in order; null where it is not made of certificates. */
export function parseCertificates(pem: string): readonly X509Certificate[] | null {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > maxBundleCertificates) return null;
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return null;
  }
}

/** What the certificate says of its node; null where it is no node certificate of Holdfast. */
export function inspectNodeCertificate(certificate: X509Certificate): NodeCertificate | null {
  const uris = (certificate.subjectAltName ?? '').split(', ').filter((n) => n.startsWith('URI:'));
  const match = uris.length === 1 ? uriPattern.exec(uris[0] ?? '') : null;
  const [, clusterId = '', nodeId = ''] = match ?? [];
  if (!isIdentifier(clusterId) || !isIdentifier(nodeId) || certificate.ca) return null;
  return {
    clusterId,
    nodeId,
    name: /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '',
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    publicKeyHash: publicKeyHash(certificate.publicKey),
  };
}

/** Whether `issuer` is a CA that signed `certificate`, whatever the time. */
export function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/**
 * Whether one of `authorities` signed a node certificate, and how it stands in time.
 *
 * @param wallNowMs wall-clock ms since 1970.
 */
export function verifyNodeCertificate(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
  wallNowMs: Millis,
): Verification {
  const signer = authorities.find((authority) => isSignedBy(certificate, authority));
  if (signer === undefined) return { ok: false, reason: 'foreign-ca' };
  const node = inspectNodeCertificate(certificate);
  if (node === null) return { ok: false, reason: 'not-a-node-certificate' };
  return { ok: true, time: timeValidity(node, wallNowMs), certificate: node };
}

export function timeValidity(
  span: { readonly notBeforeMs: Millis; readonly notAfterMs: Millis },
  wallNowMs: Millis,
): TimeValidity {
  if (wallNowMs < span.notBeforeMs) return 'not-yet-valid';
  return wallNowMs > span.notAfterMs ? 'expired' : 'valid';
}

/** Whether two thirds of a certificate's life are over. */
export function renewalDue(
  span: { readonly notBeforeMs: Millis; readonly notAfterMs: Millis },
  wallNowMs: Millis,
): boolean {
  const lifeMs = span.notAfterMs - span.notBeforeMs;
  return wallNowMs >= span.notBeforeMs + (lifeMs * 2) / 3;
}
