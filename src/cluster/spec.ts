/**
 * The spec: what the operator wants of the cluster, as replicated data. This file is its shape
 * after validation, with every default filled in; the document that people write is parsed
 * elsewhere.
 */
import type { Timing } from '../raft/types.ts';

export type TimingProfile = 'auto' | 'lan' | 'balanced' | 'wan';

export interface VipSpec {
  readonly address: string;
  /** A selector (base/interface-selector.ts); null for "the interface of the VIP's subnet". */
  readonly interface: string | null;
  /** When a stranger claims it: announce it again and serve on, or leave it alone for a while. */
  readonly onConflict: 'defend' | 'yield';
}

export interface StaticBackend {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly draining: boolean;
  /** Translated, or left as they are: to the backend's MAC, or in packets of their own. */
  readonly mode: 'masquerade' | 'direct' | 'tunnel';
}

export interface HealthCheckSpec {
  readonly type: 'tcp' | 'http' | 'https' | 'none';
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
  readonly expectStatus: number;
  /** Verify against this file of each host. */
  readonly caFile: string | null;
  /** Verify against what each host trusts; with neither, nothing is verified. */
  readonly systemTrust: boolean;
  /** The name to ask for and to find in the certificate; null: the address. */
  readonly serverName: string | null;
}

export interface TlsTrustSpec {
  readonly caFile: string | null;
  readonly systemTrust: boolean;
  readonly serverName: string | null;
}

/** What the data path `http` does beyond balancing. */
export interface HttpSpec {
  /** Files of each host; null: clients speak plain HTTP. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
  /** Null: backends speak plain HTTP. */
  readonly backendTls: TlsTrustSpec | null;
  /** Known and wanted: client certificates do not reach the API servers. */
  readonly terminateKubernetesApi: boolean;
}

export interface FrontendSpec {
  readonly name: string;
  /** Address of one of the VIPs. */
  readonly vip: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly dataPath: 'auto' | 'nftables' | 'ipvs' | 'proxy' | 'http' | 'none';
  readonly scheduler: 'round-robin' | 'weighted' | 'least-connections' | 'source-hash';
  /** `local`: new connections go to the holder's own backend while it may be chosen. */
  readonly prefer: 'any' | 'local';
  readonly backends: {
    /** Every member that is not a witness serves on this port; null for none. */
    readonly members: { readonly port: number } | null;
    /** Names of members that take no new connection. */
    readonly drainedMembers: readonly string[];
    readonly static: readonly StaticBackend[];
  };
  readonly healthCheck: HealthCheckSpec;
  /** For the data path `http` only; null where nothing is said. */
  readonly http: HttpSpec | null;
}

export interface Spec {
  readonly timing: TimingProfile | Timing;
  readonly vips: readonly VipSpec[];
  readonly frontends: readonly FrontendSpec[];
}

/** A spec with the log index at which it was applied. */
export interface VersionedSpec {
  readonly clusterName: string;
  readonly revision: number;
  readonly spec: Spec;
}
