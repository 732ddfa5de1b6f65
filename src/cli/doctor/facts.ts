/**
 * What `doctor` has found out about a host, before anybody judges it. Whatever could not be found
 * out says why, in the place of its value.
 */
import type { StatusDocument } from '../../cluster/status-document.ts';

/** A value, or why there is none. */
export type Found<T> = { readonly value: T } | { readonly unknown: string };

export interface DoctorFacts {
  readonly wallNowMs: number;
  readonly isRoot: boolean;
  /** This node's view; null before `init` and `join`. */
  readonly status: Found<StatusDocument | null>;
  /** Whether the agent of this node answered. */
  readonly agentRuns: boolean;
  readonly fences: FenceProbe;
  readonly missingCapabilities: readonly string[];
  readonly realTime: Found<true>;
  /** Bytes that may be locked; null for no limit. */
  readonly lockableBytes: Found<number | null>;
  readonly kernelRelease: string;
  readonly vips: readonly VipFacts[];
  readonly conntrack: {
    readonly count: number;
    readonly max: number;
    /** How long it remembers an established connection that is silent. */
    readonly establishedSeconds: number;
  } | null;
  readonly ipForward: boolean;
  readonly ip6Forward: boolean;
  readonly ports: readonly PortFacts[];
  readonly peers: readonly PeerFacts[];
  readonly clockSynchronised: Found<boolean>;
  readonly disk: Found<DiskFacts>;
  readonly certificates: Found<readonly CertificateFacts[]>;
  /** The unit as systemd would read it, drop-ins appended; null where it is not installed. */
  readonly unit: { readonly path: string; readonly text: string } | null;
  readonly hasSystemd: boolean;
  readonly foreign: ForeignFacts;
}

export interface FenceProbe {
  /** Loading the program, without putting it anywhere. */
  readonly ebpf: Found<{ readonly tcx: boolean }>;
  /** What the kernel says to the rules, without keeping them. */
  readonly nft: Found<true>;
}

export interface VipFacts {
  readonly address: string;
  readonly interface: string | null;
  /** Why it could not be carried here; null if it could. */
  readonly problem: string | null;
  /** MACs of others that answer for it; unknown where nobody could be asked. */
  readonly answering: Found<readonly string[]>;
  /** `net.ipv4.conf` and `net.ipv6.conf` of its interface, the stronger of `all` and its own. */
  readonly sysctls: Readonly<Record<string, number>>;
}

export interface PortFacts {
  readonly port: number;
  readonly what: string;
  readonly listeners: readonly { readonly address: string; readonly program: string | null }[];
}

export interface PeerFacts {
  readonly name: string;
  readonly address: string;
  /** Why the port could not be connected; null where it could. */
  readonly problem: string | null;
}

export interface DiskFacts {
  readonly path: string;
  readonly freeBytes: number;
  /** Median and longest of some writes with fdatasync. */
  readonly fsyncMs: { readonly median: number; readonly max: number };
}

export interface CertificateFacts {
  readonly what: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface ForeignFacts {
  /** Base chains that are not ours, with their hook and policy. */
  readonly chains: Found<readonly ForeignChain[]>;
  /** TCX programs of others, by interface of a VIP. */
  readonly programs: Found<readonly { readonly interface: string; readonly count: number }[]>;
  /** Addresses of VIPs that this host has and we did not put there, with their interface. */
  readonly addresses: readonly { readonly address: string; readonly interface: string }[];
  /** Programs that also move addresses: `keepalived`, `kube-vip`. */
  readonly rivals: readonly string[];
}

export interface ForeignChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook: string;
  readonly policy: string;
}
