/**
 * What only this host knows, in the cluster room's own words: the agent fills it in for `status`.
 */
import type { Eligibility, NodeId } from '../raft/types.ts';
import type { Observation } from './observations.ts';

export interface LocalVip {
  readonly address: string;
  readonly interface: string | null;
  /** Which source decided the interface: `config`, `spec` or `subnet`. */
  readonly interfaceFrom: string | null;
  readonly heldHere: boolean;
  /** Wall-clock ms of the last change; null while there was none. */
  readonly sinceWallMs: number | null;
  readonly reason: string;
  /** What this host sees of it where another one holds it; null where it has not looked. */
  readonly observed: Observation | null;
}

export interface LocalBackend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly state: 'up' | 'degraded' | 'down' | 'draining';
  readonly sinceWallMs: number;
  readonly reason: string;
  readonly connections: number;
  readonly totalConnections: number;
}

export interface LocalFrontend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly dataPath: string;
  readonly dataPathReason: string;
  readonly backends: readonly LocalBackend[];
}

export interface PeerContact {
  readonly reachable: boolean;
  /** Ms since anything was heard; null for never. */
  readonly lastContactMs: number | null;
}

export interface LocalFacts {
  readonly name: string;
  readonly version: string;
  /** Whether this host could carry the VIPs: its interfaces are there and up. */
  readonly eligibility: Eligibility;
  /** Kinds of kernel fences in force. */
  readonly fences: readonly string[];
  readonly vips: readonly LocalVip[];
  readonly frontends: readonly LocalFrontend[];
  /** Contacts with peers as the transport has them. */
  readonly contacts: ReadonlyMap<NodeId, PeerContact>;
  /** Sentences about what is wrong here: a clock at 1970, a stranger who claims the VIP. */
  readonly alarms: readonly string[];
}
