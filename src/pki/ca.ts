/**
 * The cluster's CA as this node has it: checked once when it is loaded, then a signer for the
 * cluster room. The CA's key lies on every voter, so that any leader can sign.
 */
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  type X509Certificate,
} from 'node:crypto';
import type { Clock, Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { CertificateSigner } from '../cluster/ports.ts';
import { caHashOf, isSignedBy, parseCertificates, publicKeyHash, timeValidity } from './inspect.ts';

const minRsaBits = 2_048;

export interface Ca {
  /** PEM. */
  readonly certificate: string;
  /** PEM; null where this node cannot sign. */
  readonly key: string | null;
  /** `sha256:HEX` of the public key. */
  readonly hash: string;
  /** The parsed certificates of the bundle; the first one signs. */
  readonly authorities: readonly X509Certificate[];
}

/**
 * Checks a CA given in PEM: its certificate is a CA's and in time, and its key is its own.
 *
 * @param wallNowMs null to leave the time alone (a node's own CA, whose clock may be at 1970).
 * @throws OperatingError `ca-invalid`, `ca-key-invalid`, `ca-key-mismatch`, `ca-key-unsupported`,
 *   `ca-expired`
 */
export function loadCa(options: {
  readonly certificate: string;
  readonly key: string | null;
  readonly wallNowMs: Millis | null;
}): Ca {
  const authorities = parseCertificates(options.certificate);
  const [first] = authorities ?? [];
  if (authorities === null || first === undefined) {
    throw caError('ca-invalid', 'the CA certificate is not a PEM certificate');
  }
  if (!first.ca || !isSelfConsistent(first)) {
    throw caError('ca-invalid', 'the certificate given as CA is not the certificate of a CA');
  }
  if (options.wallNowMs !== null) checkTime(first, options.wallNowMs);
  if (options.key !== null) checkKey(options.key, first);
  return {
    certificate: options.certificate,
    key: options.key,
    hash: caHashOf(first),
    authorities,
  };
}

/**
 * The CA as the leader's admission uses it; the X.509 library is loaded with the first signature.
 */
export function certificateSigner(ca: Ca, clock: Clock): CertificateSigner {
  return {
    caCertificate: ca.certificate,
    caHash: ca.hash,
    caKey: ca.key,
    async sign(request) {
      if (ca.key === null) {
        throw new OperatingError({
          code: 'ca-key-missing',
          message: 'this node has no CA key and cannot sign certificates',
          hint: 'transfer the leadership to a voter that has it',
        });
      }
      const { issueNodeCertificate } = await import('./issue.ts');
      return issueNodeCertificate({
        ca: { certificate: ca.certificate, key: ca.key },
        csr: request.csr,
        clusterId: request.clusterId,
        nodeId: request.nodeId,
        name: request.name,
        wallNowMs: clock.wallNow(),
      });
    },
    async publicKeyHashOf(csr) {
      const { requestKeyHash } = await import('./issue.ts');
      return requestKeyHash(csr);
    },
  };
}

/** A self-signed CA must carry its own signature; an intermediate cannot be judged from here. */
function isSelfConsistent(certificate: X509Certificate): boolean {
  return certificate.issuer !== certificate.subject || isSignedBy(certificate, certificate);
}

function checkTime(certificate: X509Certificate, wallNowMs: Millis): void {
  const span = {
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
  const time = timeValidity(span, wallNowMs);
  if (time === 'valid') return;
  throw new OperatingError({
    code: 'ca-expired',
    message:
      `the CA certificate is valid from ${certificate.validFromDate.toISOString()} ` +
      `to ${certificate.validToDate.toISOString()}, and now is not within`,
    hint: "check this host's clock, or give another CA",
    facts: { time },
  });
}

function checkKey(keyPem: string, certificate: X509Certificate): void {
  const key = parseKey(keyPem);
  if (key === null) throw caError('ca-key-invalid', 'the CA key is not a private key in PEM');
  if (publicKeyHash(createPublicKey(key)) !== publicKeyHash(certificate.publicKey)) {
    throw caError('ca-key-mismatch', "the CA key is not the CA certificate's key");
  }
  const details = key.asymmetricKeyDetails;
  const known = ['prime256v1', 'secp384r1', 'secp521r1'].includes(details?.namedCurve ?? '');
  const rsa = key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= minRsaBits;
  if (!known && !rsa) {
    throw new OperatingError({
      code: 'ca-key-unsupported',
      message: `the CA key is of a kind that is not supported (${key.asymmetricKeyType})`,
      hint: 'use an ECDSA key on P-256, P-384 or P-521, or an RSA key of 2,048 bits or more',
    });
  }
}

function parseKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey(pem);
  } catch {
    return null;
  }
}

function caError(code: string, message: string): OperatingError {
  return new OperatingError({
    code,
    message,
    hint: 'give the CA certificate and its unencrypted private key, both in PEM',
  });
}
