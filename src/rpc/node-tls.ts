/**
 * This node's TLS material, replaceable while everything runs: a renewed certificate is used by the
 * next handshake in either direction, and connections that stand stay as they are.
 */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import { defined } from '../base/assert.ts';
import { parseCertificates } from '../pki/inspect.ts';

/** PEM texts, and whose they are. */
export interface TlsMaterial {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly certificate: string;
  readonly key: string;
  readonly caCertificate: string;
}

export class NodeTls {
  readonly clusterId: string;
  readonly nodeId: string;
  /** Sets what this host's TCP offers for connections between members, before the handshake. */
  readonly tune: (socket: Socket) => void;
  #authorities: readonly X509Certificate[];
  #options: SecureContextOptions;
  #context: SecureContext;
  readonly #listeners = new Set<(options: SecureContextOptions) => void>();

  constructor(material: TlsMaterial, tune: (socket: Socket) => void = () => undefined) {
    this.tune = tune;
    this.clusterId = material.clusterId;
    this.nodeId = material.nodeId;
    this.#authorities = authoritiesOf(material);
    this.#options = optionsOf(material);
    this.#context = createSecureContext(this.#options);
  }

  get authorities(): readonly X509Certificate[] {
    return this.#authorities;
  }

  /** For `tls.createServer`. */
  get options(): SecureContextOptions {
    return this.#options;
  }

  /** For `tls.connect`. */
  get context(): SecureContext {
    return this.#context;
  }

  /** Uses other certificates from now on. */
  update(material: Pick<TlsMaterial, 'certificate' | 'key' | 'caCertificate'>): void {
    this.#options = optionsOf(material);
    this.#context = createSecureContext(this.#options);
    this.#authorities = authoritiesOf(material);
    for (const listener of this.#listeners) listener(this.#options);
  }

  onUpdate(listener: (options: SecureContextOptions) => void): void {
    this.#listeners.add(listener);
  }
}

function authoritiesOf(material: Pick<TlsMaterial, 'caCertificate'>): readonly X509Certificate[] {
  return defined(parseCertificates(material.caCertificate), 'a certificate of the CA');
}

function optionsOf(
  material: Pick<TlsMaterial, 'certificate' | 'key' | 'caCertificate'>,
): SecureContextOptions {
  return {
    // The CA's certificate goes along, because a joiner knows nothing but its hash.
    cert: `${material.certificate.trim()}\n${material.caCertificate.trim()}\n`,
    key: material.key,
    // Without a list Node would parse all of Mozilla's roots, only for us not to look at them.
    ca: material.caCertificate,
    minVersion: 'TLSv1.3',
  };
}
