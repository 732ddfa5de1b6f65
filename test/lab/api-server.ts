/** The stand-in API servers of a lab, from the test's side: one on each host. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { X509CertificateGenerator } from '@peculiar/x509';
import type { ApiServerConfig, ApiServerMode } from './api-server-child.ts';
import type { Host } from './host.ts';
import { Station } from './station.ts';

export const apiServerPort = 6443;

export class ApiServer {
  readonly host: Host;
  readonly #station: Station;

  private constructor(host: Host, station: Station) {
    this.host = host;
    this.#station = station;
  }

  /** Starts one on each host; they share a self-signed certificate that nobody verifies. */
  static async startAll(
    hosts: readonly Host[],
    port = apiServerPort,
  ): Promise<readonly ApiServer[]> {
    const pair = await selfSigned();
    return Promise.all(
      hosts.map(async (host) => {
        const config: ApiServerConfig = { name: host.name, port, ...pair };
        const station = await Station.start({
          namespace: host.namespace,
          program: 'api-server-child.ts',
          config,
          logFile: `${host.directory}/api-server.log`,
        });
        host.adopt(station.child);
        return new ApiServer(host, station);
      }),
    );
  }

  async setMode(mode: ApiServerMode): Promise<void> {
    await this.#station.request('mode', mode);
  }

  /** TCP connections taken since the start or the last reset of the count, probes included. */
  async accepted(): Promise<number> {
    return (await this.#station.request('accepted', null)) as number;
  }

  /** What was written to all those that asked for a flood, kernel buffers included. */
  async floodedBytes(): Promise<number> {
    return (await this.#station.request('floodedBytes', null)) as number;
  }
}

async function selfSigned(): Promise<{ readonly certificate: string; readonly key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=stand-in',
    keys,
    signingAlgorithm: algorithm,
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const body = der.toString('base64').replace(/.{64}/g, '$&\n');
  const key = `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`;
  return { certificate: certificate.toString('pem'), key };
}
