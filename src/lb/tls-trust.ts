/** Whom a TLS client of ours believes: what a file holds, what this host trusts, or anybody. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { Clock, Millis } from '../base/clock.ts';

export interface TlsTrust {
  /** PEM file to verify against. */
  readonly caFile: string | null;
  /** Verify against what this host trusts. With neither this nor a file, nothing is verified. */
  readonly systemTrust: boolean;
  /** The name to ask for (SNI) and to find in the certificate; null: the address. */
  readonly serverName: string | null;
}

export interface TrustParts {
  readonly clock: Clock;
  /** Reads a PEM file of this host; rejects as node:fs does. */
  readonly readFile: (path: string) => Promise<string>;
}

/** As node:tls wants it. */
export interface TrustOptions {
  readonly secureContext: SecureContext;
  readonly rejectUnauthorized: boolean;
}

/** A changed CA file counts after this time at the latest. */
const CA_REREAD_MS: Millis = 30_000;

/** What is trusted at the time of each call: a file is read anew now and then. */
export function trustReader(trust: TlsTrust, parts: TrustParts): () => Promise<TrustOptions> {
  let known: { readonly options: TrustOptions; readonly at: Millis } | null = null;
  return async () => {
    const at = parts.clock.now();
    if (known === null || at >= known.at + CA_REREAD_MS) {
      known = { options: await read(trust, parts), at };
    }
    return known.options;
  };
}

async function read({ caFile, systemTrust }: TlsTrust, parts: TrustParts): Promise<TrustOptions> {
  // An empty list keeps Node from loading its own store of public roots.
  const ca = caFile !== null ? await parts.readFile(caFile) : systemTrust ? systemRoots() : [];
  const rejectUnauthorized = caFile !== null || systemTrust;
  return { secureContext: createSecureContext({ ca }), rejectUnauthorized };
}

function systemRoots(): string[] {
  const roots = getCACertificates('system');
  if (roots.length === 0) throw new Error('this host trusts no certificate authority');
  return roots;
}
