/**
 * Keeps a node's certificate alive: at two thirds of its life a new one is signed for the same key,
 * here where this node has the CA's key, else by the leader. Looked at when the agent starts, each
 * hour, and when somebody asks; a failure is tried again within minutes.
 */
import { X509Certificate } from 'node:crypto';
import { defined } from '../base/assert.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type NodeKeys, writePki } from './files.ts';
import { inspectNodeCertificate, type NodeCertificate, renewalDue } from './inspect.ts';

const lookEveryMs: Millis = 3_600_000;
const retryMs: Millis = 60_000;

export interface RenewalParts {
  readonly clock: Clock;
  readonly log: Logger;
  /** `pki/` of the data directory. */
  readonly folder: string;
  readonly keys: NodeKeys;
  readonly name: string;
  /** Signs a PEM request for this node. */
  readonly sign: (csr: string) => Promise<string>;
  /** Takes what was renewed, once it is on disk. */
  readonly onRenewed: (keys: NodeKeys) => void;
}

export class Renewal {
  readonly #parts: RenewalParts;
  #keys: NodeKeys;
  #timer: Timer | null = null;
  #stopped = false;

  constructor(parts: RenewalParts) {
    this.#parts = parts;
    this.#keys = parts.keys;
  }

  /** Looks now, and then from time to time. */
  start(): void {
    this.#look();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** The certificate in use. */
  get certificate(): NodeCertificate {
    return parse(this.#keys.certificate);
  }

  /** Renews now; resolves with the new certificate. Rejects with what the signer says. */
  async renew(): Promise<NodeCertificate> {
    const { folder, name, sign, onRenewed, log } = this.#parts;
    const { key } = this.#keys;
    // The X.509 library is slow to load, and needed once in eight months.
    const { createRequest } = await import('./issue.ts');
    const certificate = await sign(await createRequest({ key, name }));
    const renewed = parse(certificate);
    writePki(folder, { certificate });
    this.#keys = { certificate, key };
    onRenewed(this.#keys);
    log.info('certificate.renewed', { expires: new Date(renewed.notAfterMs).toISOString() });
    return renewed;
  }

  #look(): void {
    if (this.#stopped) return;
    const { clock, log } = this.#parts;
    const { certificate } = this;
    const early = clock.wallNow() < certificate.notBeforeMs;
    if (!early && !renewalDue(certificate, clock.wallNow())) {
      this.#again(lookEveryMs);
      return;
    }
    this.renew().then(
      () => this.#again(lookEveryMs),
      (error: unknown) => {
        const expires = new Date(certificate.notAfterMs).toISOString();
        log.warn('certificate.renewal-failed', { expires, why: describeError(error) });
        this.#again(retryMs);
      },
    );
  }

  #again(delayMs: Millis): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(delayMs, () => this.#look());
  }
}

function parse(certificate: string): NodeCertificate {
  return defined(inspectNodeCertificate(new X509Certificate(certificate)), 'a node certificate');
}
