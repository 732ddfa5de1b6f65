/**
 * Making certificates: the cluster's CA, requests, and node certificates signed by the CA. The only
 * importer of the X.509 library, which costs a process some 15 MB and 40 ms: load it lazily.
 *
 * A certificate starts 24 hours in the past, so that a host whose clock stands an hour back still
 * accepts a peer that was admitted just now.
 */
import 'reflect-metadata';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  type webcrypto,
} from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { isIdentifier, nodeUri, publicKeyHash } from './inspect.ts';

const dayMs = 24 * 3_600_000;
export const caLifeMs: Millis = 3_650 * dayMs;
export const nodeLifeMs: Millis = 365 * dayMs;
export const backdateMs: Millis = dayMs;

/** A request for a P-256 key is under 1 KB; more is not parsed. */
const maxRequestChars = 8_192;
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/** PEM texts. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** A new private key (ECDSA P-256) as PKCS #8 PEM. */
export function createKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A new CA for one cluster: its own key, ten years, able to sign nodes but no other CA. */
export async function createCa(options: {
  readonly clusterName: string;
  readonly wallNowMs: Millis;
}): Promise<KeyedCertificate> {
  const key = createKey();
  const keys = await keyPair(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: commonName(`holdfast-ca ${options.clusterName}`),
    notBefore: new Date(options.wallNowMs - backdateMs),
    notAfter: new Date(options.wallNowMs + caLifeMs),
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key };
}

/** A certificate request (PKCS #10) that proves possession of `key` (PEM). */
export async function createRequest(options: {
  readonly key: string;
  readonly name: string;
}): Promise<string> {
  const keys = await keyPair(options.key);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: commonName(options.name),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  });
  return pem(request);
}

export interface NodeCertificateRequest {
  /** PEM of the CA and its key. */
  readonly ca: KeyedCertificate;
  /** PEM certificate request. */
  readonly csr: string;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly name: string;
  readonly wallNowMs: Millis;
}

/**
 * Signs a node certificate (PEM) for one year, or less where the CA ends earlier. Of the request
 * only the key counts: every name comes from the signer.
 *
 * @throws OperatingError `bad-request` for an unusable request.
 */
export async function issueNodeCertificate(request: NodeCertificateRequest): Promise<string> {
  const { clusterId, nodeId } = request;
  if (!isIdentifier(clusterId) || !isIdentifier(nodeId)) {
    throw badRequest('the ids do not fit into a certificate');
  }
  const csr = await readRequest(request.csr);
  const issuer = new x509.X509Certificate(request.ca.certificate);
  const notAfterMs = Math.min(request.wallNowMs + nodeLifeMs, issuer.notAfter.getTime());
  const signing = await signingKey(request.ca.key);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: commonName(request.name),
    issuer: issuer.subjectName,
    notBefore: new Date(request.wallNowMs - backdateMs),
    notAfter: new Date(notAfterMs),
    publicKey: csr.publicKey,
    signingKey: signing.key,
    signingAlgorithm: signing.algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: `${nodeId}.node.holdfast` },
        { type: 'url', value: nodeUri(clusterId, nodeId) },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(csr.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return pem(certificate);
}

/**
 * Lower-case hex SHA-256 of the public key in a request (PEM), whose signature is checked.
 *
 * @throws OperatingError `bad-request`
 */
export async function requestKeyHash(csr: string): Promise<string> {
  const request = await readRequest(csr);
  return publicKeyHash(spkiKey(request));
}

async function readRequest(csr: string): Promise<x509.Pkcs10CertificateRequest> {
  if (csr.length > maxRequestChars) throw badRequest('it is too long');
  let request: x509.Pkcs10CertificateRequest;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
    const key = spkiKey(request);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
      throw badRequest('its key is not ECDSA P-256');
    }
    if (!(await request.verify())) throw badRequest('its signature does not match its key');
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw badRequest('it is not a PKCS #10 request', error);
  }
  return request;
}

function spkiKey(request: x509.Pkcs10CertificateRequest): KeyObject {
  const der = Buffer.from(request.publicKey.rawData);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

function badRequest(why: string, cause?: unknown): OperatingError {
  return new OperatingError({
    code: 'bad-request',
    message: `the certificate request cannot be signed: ${why}`,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The pair behind a P-256 private key in PEM. */
async function keyPair(privatePem: string): Promise<webcrypto.CryptoKeyPair> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const privateKey = createPrivateKey(privatePem);
  return {
    privateKey: privateKey.toCryptoKey(algorithm, true, ['sign']),
    publicKey: createPublicKey(privateKey).toCryptoKey(algorithm, true, ['verify']),
  };
}

/** A CA's key, which may be an operator's own: EC or RSA. */
async function signingKey(privatePem: string): Promise<{
  readonly key: webcrypto.CryptoKey;
  readonly algorithm: { readonly name: string; readonly hash: string };
}> {
  const key = createPrivateKey(privatePem);
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'rsa') {
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    return { key: key.toCryptoKey(algorithm, false, ['sign']), algorithm };
  }
  const named = curve === undefined ? undefined : curves.get(curve);
  if (named === undefined) {
    throw new OperatingError({
      code: 'ca-key-unsupported',
      message: `the CA's key (${curve ?? key.asymmetricKeyType ?? 'unknown'}) is not supported`,
      hint: 'use an ECDSA key on P-256, P-384 or P-521, or an RSA key',
    });
  }
  const imported = { name: 'ECDSA', namedCurve: named.webName };
  return {
    key: key.toCryptoKey(imported, false, ['sign']),
    algorithm: { name: 'ECDSA', hash: named.hash },
  };
}

const curves: ReadonlyMap<string, { readonly webName: string; readonly hash: string }> = new Map([
  ['prime256v1', { webName: 'P-256', hash: 'SHA-256' }],
  ['secp384r1', { webName: 'P-384', hash: 'SHA-384' }],
  ['secp521r1', { webName: 'P-521', hash: 'SHA-512' }],
]);

/** As a structure, so that no character of a name has a meaning. */
function commonName(name: string): x509.Name {
  return new x509.Name([{ CN: [{ utf8String: name.slice(0, 64) }] }]);
}

/** 16 random bytes, positive and without leading zero (RFC 5280 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function pem(item: x509.X509Certificate | x509.Pkcs10CertificateRequest): string {
  return `${item.toString('pem')}\n`;
}
