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
}

export interface HealthCheckSpec {
  readonly type: 'tcp' | 'http' | 'https' | 'none';
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
  readonly expectStatus: number;
  readonly caFile: string | null;
}

export interface FrontendSpec {
  readonly name: string;
  /** Address of one of the VIPs. */
  readonly vip: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly dataPath: 'auto' | 'nftables' | 'ipvs' | 'proxy' | 'http' | 'none';
  readonly scheduler: 'round-robin' | 'weighted' | 'least-connections' | 'source-hash';
  readonly backends: {
    /** Every member that is not a witness serves on this port; null for none. */
    readonly members: { readonly port: number } | null;
    /** Names of members that take no new connection. */
    readonly drainedMembers: readonly string[];
    readonly static: readonly StaticBackend[];
  };
  readonly healthCheck: HealthCheckSpec;
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
