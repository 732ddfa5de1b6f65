/** Self-signed certificates for tests, made by openssl; their files go with the process. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

const directory = mkdtempSync(join(tmpdir(), 'holdfast-certificates-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
let made = 0;

/** @param name for people, and to tell it from others. @param altName `IP:127.0.0.1`, `DNS:api`. */
export function certificateFor(name: string, altName: string): Certificate {
  made++;
  const keyFile = join(directory, `${made}.key`);
  const certFile = join(directory, `${made}.crt`);
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-keyout', keyFile, '-out', certFile, '-days', '2', '-subj', `/CN=${name}`],
      ...['-addext', `subjectAltName=${altName}`],
    ],
    { stdio: 'ignore' },
  );
  const [cert = '', key = ''] = [certFile, keyFile].map((path) => readFileSync(path, 'utf8'));
  return { certFile, keyFile, cert, key };
}
