/**
 * The certificates and keys of one node on disk: `ca.crt`, `ca.key`, `node.crt`, `node.key` in one
 * folder that only root reads. A file is written whole beside its place, synced and renamed, so a
 * crash leaves the old one or the new one and never half of one.
 */
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { errorCode, OperatingError } from '../base/errors.ts';
import { type Ca, loadCa } from './ca.ts';
import { isSignedBy, parseCertificates, publicKeyHash } from './inspect.ts';

const fileMode = 0o600;
const folderMode = 0o700;

export interface PkiPaths {
  readonly caCertificate: string;
  readonly caKey: string;
  readonly certificate: string;
  readonly key: string;
}

/** What a node needs to speak TLS, in PEM. */
export interface NodeKeys {
  readonly certificate: string;
  readonly key: string;
}

export interface Pki extends NodeKeys {
  readonly ca: Ca;
}

/** @param folder `pki/` of the data directory. */
export function pkiPaths(folder: string): PkiPaths {
  return {
    caCertificate: join(folder, 'ca.crt'),
    caKey: join(folder, 'ca.key'),
    certificate: join(folder, 'node.crt'),
    key: join(folder, 'node.key'),
  };
}

/**
 * Reads and checks everything: each file is whole, the node's key fits its certificate, and our CA
 * signed it. Times are not judged here: an expired node must still start.
 *
 * @throws OperatingError `pki-missing`, `pki-unreadable`, `pki-corrupt`, `pki-key-mismatch`,
 *   `pki-foreign`, and those of {@link loadCa}
 */
export function readPki(folder: string): Pki {
  const paths = pkiPaths(folder);
  const caCertificate = readText(paths.caCertificate);
  const certificate = readText(paths.certificate);
  const key = readText(paths.key);
  const ca = loadCa({
    certificate: caCertificate,
    key: readTextIfThere(paths.caKey),
    wallNowMs: null,
  });
  const [leaf] = parseCertificates(certificate) ?? [];
  if (leaf === undefined) throw corrupt(paths.certificate, 'it holds no whole certificate');
  if (publicKeyHash(leaf.publicKey) !== publicKeyHash(publicHalf(key, paths.key))) {
    throw new OperatingError({
      code: 'pki-key-mismatch',
      message: `${paths.key} is not the key of ${paths.certificate}`,
      hint: rejoinHint,
      facts: { path: paths.key },
    });
  }
  if (!ca.authorities.some((authority) => isSignedBy(leaf, authority))) {
    throw new OperatingError({
      code: 'pki-foreign',
      message: `${paths.certificate} is not signed by ${paths.caCertificate}`,
      hint: rejoinHint,
      facts: { path: paths.certificate },
    });
  }
  return { ca, certificate, key };
}

/** The node's key (PEM), or null where none was written yet: a repeated join uses the same one. */
export function readNodeKey(folder: string): string | null {
  const path = pkiPaths(folder).key;
  const key = readTextIfThere(path);
  if (key !== null) publicHalf(key, path);
  return key;
}

/** Writes the parts that are given; null in `caKey` leaves the file alone. */
export function writePki(
  folder: string,
  parts: {
    readonly caCertificate?: string;
    readonly caKey?: string | null;
    readonly certificate?: string;
    readonly key?: string;
  },
): void {
  const paths = pkiPaths(folder);
  mkdirSync(folder, { recursive: true, mode: folderMode });
  if (parts.key !== undefined) writeWhole(paths.key, parts.key);
  if (parts.caKey !== undefined && parts.caKey !== null) writeWhole(paths.caKey, parts.caKey);
  if (parts.caCertificate !== undefined) writeWhole(paths.caCertificate, parts.caCertificate);
  if (parts.certificate !== undefined) writeWhole(paths.certificate, parts.certificate);
}

const rejoinHint = 'wipe this node with `holdfast reset` and join it again with --replace NAME';

function publicHalf(keyPem: string, path: string) {
  try {
    return createPublicKey(createPrivateKey(keyPem));
  } catch {
    throw corrupt(path, 'it holds no whole private key');
  }
}

function corrupt(path: string, why: string): OperatingError {
  return new OperatingError({
    code: 'pki-corrupt',
    message: `${path} cannot be used: ${why}`,
    hint: rejoinHint,
    facts: { path },
  });
}

function readText(path: string): string {
  const text = readTextIfThere(path);
  if (text !== null) return text;
  throw new OperatingError({
    code: 'pki-missing',
    message: `${path} is missing`,
    hint: 'run `holdfast init` or `holdfast join` first, or give the right --data-dir',
    facts: { path },
  });
}

function readTextIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw new OperatingError({
      code: 'pki-unreadable',
      message: `${path} cannot be read (${errorCode(error) ?? 'unknown error'})`,
      hint: 'run as root, and see that the data directory belongs to root',
      facts: { path },
      cause: error,
    });
  }
}

function writeWhole(path: string, text: string): void {
  const draft = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = openSync(draft, 'wx', fileMode);
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(draft, { force: true });
    throw new OperatingError({
      code: 'pki-unwritable',
      message: `${path} cannot be written (${errorCode(error) ?? 'unknown error'})`,
      hint: 'run as root, and see that there is space on the disk',
      facts: { path },
      cause: error,
    });
  }
}

/** A rename is durable when its folder is. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
