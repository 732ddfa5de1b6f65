/** The CA, node certificates, their verification, and the files that hold them. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BasicConstraintsExtension, X509CertificateGenerator } from '@peculiar/x509';
import { defined } from '../../../src/base/assert.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import { certificateSigner, loadCa } from '../../../src/pki/ca.ts';
import { systemCrypto } from '../../../src/pki/crypto.ts';
import { pkiPaths, readNodeKey, readPki, writePki } from '../../../src/pki/files.ts';
import {
  caHashOf,
  inspectNodeCertificate,
  isSignedBy,
  parseCertificates,
  renewalDue,
  verifyNodeCertificate,
} from '../../../src/pki/inspect.ts';
import {
  backdateMs,
  createCa,
  createKey,
  createRequest,
  issueNodeCertificate,
  type KeyedCertificate,
  nodeLifeMs,
  requestKeyHash,
} from '../../../src/pki/issue.ts';

const wallNowMs = Date.parse('2026-03-01T12:00:00Z');
const ca = await createCa({ clusterName: 'prod', wallNowMs });
const otherCa = await createCa({ clusterName: 'prod', wallNowMs });
const dayMs = 86_400_000;

function parse(pem: string) {
  return defined(parseCertificates(pem)?.[0], 'certificate');
}

async function issue(from: KeyedCertificate, overrides: { wallNowMs?: number; key?: string } = {}) {
  const key = overrides.key ?? createKey();
  return issueNodeCertificate({
    ca: from,
    csr: await createRequest({ key, name: 'n1' }),
    clusterId: 'c-1',
    nodeId: 'node1',
    name: 'n1',
    wallNowMs: overrides.wallNowMs ?? wallNowMs,
  });
}

function hasCode(code: string) {
  return (error: unknown) => error instanceof OperatingError && error.code === code;
}

test('a node certificate names cluster and node and lasts from a day ago for a year', async () => {
  const certificate = parse(await issue(ca));

  const node = defined(inspectNodeCertificate(certificate), 'node certificate');
  assert.equal(node.clusterId, 'c-1');
  assert.equal(node.nodeId, 'node1');
  assert.equal(node.name, 'n1');
  assert.equal(node.notBeforeMs, wallNowMs - backdateMs);
  assert.equal(node.notAfterMs, wallNowMs + nodeLifeMs);
  assert.match(node.publicKeyHash, /^[0-9a-f]{64}$/);
  assert.match(certificate.subjectAltName ?? '', /DNS:node1\.node\.holdfast/);
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
});

test('verifyNodeCertificate() judges signature and time apart', async () => {
  const certificate = parse(await issue(ca));
  const authorities = [parse(ca.certificate)];
  const at = (ms: number) => verifyNodeCertificate(certificate, authorities, ms);

  const times = [-2 * dayMs, 0, 366 * dayMs].map((offsetMs) => at(wallNowMs + offsetMs));

  assert.deepEqual(
    times.map((verdict) => (verdict.ok ? verdict.time : verdict.reason)),
    ['not-yet-valid', 'valid', 'expired'],
  );
});

test('verifyNodeCertificate() refuses a namesake of the CA, and what is no node', async () => {
  const certificate = parse(await issue(ca));

  const foreign = verifyNodeCertificate(certificate, [parse(otherCa.certificate)], wallNowMs);
  const notNode = verifyNodeCertificate(parse(ca.certificate), [parse(ca.certificate)], wallNowMs);

  assert.deepEqual(foreign, { ok: false, reason: 'foreign-ca' });
  assert.deepEqual(notNode, { ok: false, reason: 'not-a-node-certificate' });
});

test('a certificate signed late in the life of the CA ends with it', async () => {
  const certificate = parse(await issue(ca, { wallNowMs: wallNowMs + 3_600 * dayMs }));

  assert.equal(certificate.validToDate.getTime(), parse(ca.certificate).validToDate.getTime());
});

test('renewalDue() says so from two thirds of the life on', () => {
  const span = { notBeforeMs: 0, notAfterMs: 300 };
  assert.equal(renewalDue(span, 199), false);
  assert.equal(renewalDue(span, 200), true);
});

test('a signer signs for the key in the request and for no name in it', async () => {
  const key = createKey();
  const csr = await createRequest({ key, name: 'CN=evil, O="#x"+' });
  const signer = certificateSigner(
    loadCa({ certificate: ca.certificate, key: ca.key, wallNowMs }),
    { ...systemClock(), wallNow: () => wallNowMs },
  );

  const certificate = parse(
    await signer.sign({ csr, clusterId: 'c', nodeId: 'n', name: 'a, O=b+"c', address: 'h:1' }),
  );

  const node = defined(inspectNodeCertificate(certificate), 'node certificate');
  assert.equal(node.publicKeyHash, await signer.publicKeyHashOf(csr));
  assert.equal(isSignedBy(certificate, parse(ca.certificate)), true);
  assert.equal(certificate.subject.split('\n').length, 1);
  assert.equal(signer.caHash, caHashOf(parse(ca.certificate)));
});

test('requests that cannot be trusted are refused', async () => {
  const good = await createRequest({ key: createKey(), name: 'n' });
  const lines = good.trim().split('\n');
  const flipped = [...lines];
  flipped[2] = [...(flipped[2] ?? '')].reverse().join('');

  for (const bad of ['', 'x', flipped.join('\n'), `${good}${'A'.repeat(9_000)}`, ca.certificate]) {
    await assert.rejects(requestKeyHash(bad), hasCode('bad-request'));
  }
});

test('an operator CA may be RSA, P-384 or an EC key in its old PEM form', async () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  const sec1 = createPrivateKey(ca.key).export({ type: 'sec1', format: 'pem' }).toString();
  const clusters: readonly KeyedCertificate[] = [
    await operatorCa(rsa, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }),
    await operatorCa(p384, { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }),
    { certificate: ca.certificate, key: sec1 },
  ];

  for (const each of clusters) {
    const loaded = loadCa({ ...each, wallNowMs });
    const certificate = parse(await issue(each));
    assert.equal(isSignedBy(certificate, defined(loaded.authorities[0], 'authority')), true);
  }
});

/** A self-signed CA of some company, as it would be given to `init --ca-cert`. */
async function operatorCa(
  key: KeyObject,
  algorithm: { readonly name: string; readonly hash: string; readonly namedCurve?: string },
): Promise<KeyedCertificate> {
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=Root, O="Example, Inc."',
    notBefore: new Date(wallNowMs - dayMs),
    notAfter: new Date(wallNowMs + 1_000 * dayMs),
    signingAlgorithm: algorithm,
    keys: {
      privateKey: key.toCryptoKey(algorithm, true, ['sign']),
      publicKey: createPublicKey(key).toCryptoKey(algorithm, true, ['verify']),
    },
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  });
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { certificate: certificate.toString('pem'), key: pem };
}

test('loadCa() refuses what is no CA, a foreign key, an old CA and an unfit key', async () => {
  const leaf = await issue(ca);
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  const weird = ed25519.export({ type: 'pkcs8', format: 'pem' }).toString();
  const rows: readonly [string, Parameters<typeof loadCa>[0]][] = [
    ['ca-invalid', { certificate: 'nonsense', key: null, wallNowMs }],
    ['ca-invalid', { certificate: leaf, key: null, wallNowMs }],
    ['ca-key-invalid', { certificate: ca.certificate, key: 'nonsense', wallNowMs }],
    ['ca-key-mismatch', { certificate: ca.certificate, key: otherCa.key, wallNowMs }],
    ['ca-key-mismatch', { certificate: ca.certificate, key: weird, wallNowMs }],
    ['ca-expired', { ...ca, wallNowMs: wallNowMs + 4_000 * dayMs }],
  ];
  for (const [code, options] of rows) assert.throws(() => loadCa(options), hasCode(code));
});

test('files are private, whole, and read back as written', async (t) => {
  const folder = join(mkdtempSync(join(tmpdir(), 'holdfast-pki-')), 'pki');
  t.after(() => rmSync(folder, { recursive: true }));
  const key = createKey();
  const certificate = await issue(ca, { key });

  writePki(folder, { caCertificate: ca.certificate, caKey: ca.key, certificate, key });
  const pki = readPki(folder);

  assert.equal(pki.certificate, certificate);
  assert.equal(pki.ca.key, ca.key);
  assert.equal(readNodeKey(folder), key);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const name of readdirSync(folder)) {
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
  }
  assert.deepEqual(readdirSync(folder).sort(), ['ca.crt', 'ca.key', 'node.crt', 'node.key']);
});

test('missing, torn, mixed and foreign files are each named', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-pki-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const paths = pkiPaths(folder);
  const key = createKey();
  const certificate = await issue(ca, { key });
  const whole = { caCertificate: ca.certificate, caKey: null, certificate, key };

  assert.equal(readNodeKey(folder), null);
  assert.throws(() => readPki(folder), hasCode('pki-missing'));
  writePki(folder, whole);
  assert.equal(readPki(folder).ca.key, null);

  truncateSync(paths.certificate, 200);
  assert.throws(() => readPki(folder), hasCode('pki-corrupt'));
  writePki(folder, whole);
  writeFileSync(paths.key, readFileSync(paths.key, 'utf8').slice(0, 60));
  assert.throws(() => readPki(folder), hasCode('pki-corrupt'));
  writePki(folder, { ...whole, key: createKey() });
  assert.throws(() => readPki(folder), hasCode('pki-key-mismatch'));
  writePki(folder, { ...whole, caCertificate: otherCa.certificate });
  assert.throws(() => readPki(folder), hasCode('pki-foreign'));
  writePki(folder, { ...whole, caKey: otherCa.key });
  assert.throws(() => readPki(folder), hasCode('ca-key-mismatch'));
  chmodSync(folder, 0o700);
});

test('timingSafeEqual() compares texts of any length', () => {
  const crypto = systemCrypto();
  assert.equal(crypto.timingSafeEqual('abc', 'abc'), true);
  assert.equal(crypto.timingSafeEqual('abc', 'abcd'), false);
  assert.match(crypto.randomHex(8), /^[0-9a-f]{16}$/);
});
