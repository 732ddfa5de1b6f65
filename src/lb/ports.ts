/**
 * What the balancing room needs of the world, and what it is told: frontends with their backends as
 * data; who leads or holds a VIP is not known here.
 */

export type Protocol = 'tcp' | 'udp';
export type DataPath = 'auto' | 'nftables' | 'ipvs' | 'proxy' | 'http' | 'none';
export type Scheduler = 'round-robin' | 'weighted' | 'least-connections' | 'source-hash';

export interface HealthCheck {
  readonly type: 'tcp' | 'http' | 'https' | 'none';
  /** Path and query; for http and https only. */
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Successes in a row that make a backend up. */
  readonly rise: number;
  /** Failures in a row that make it not up. */
  readonly fall: number;
  readonly expectStatus: number;
  /** PEM file to verify https against; without it the certificate is not verified. */
  readonly caFile: string | null;
}

export interface DesiredBackend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Takes no new connection; those it has go on. */
  readonly draining: boolean;
}

export interface DesiredFrontend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly dataPath: DataPath;
  readonly scheduler: Scheduler;
  readonly backends: readonly DesiredBackend[];
  readonly healthCheck: HealthCheck;
}

export interface LbDesired {
  readonly frontends: readonly DesiredFrontend[];
}

export type BackendState = 'up' | 'degraded' | 'down' | 'draining';

export interface BackendView {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly state: BackendState;
  readonly sinceWallMs: number;
  readonly reason: string;
  /** Open connections through this host's data path. */
  readonly connections: number;
  /** Connections ever sent to it through this host's data path. */
  readonly totalConnections: number;
}

export interface FrontendView {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** The path in force; `auto` is resolved. */
  readonly dataPath: DataPath;
  readonly dataPathReason: string;
  readonly backends: readonly BackendView[];
}

/** What one frontend did on this host since the agent started. */
export interface FrontendCounters {
  readonly name: string;
  /** Clients connected now. */
  readonly clients: number;
  readonly accepted: number;
  /** Accepted, then reset because no backend could be connected. */
  readonly unserved: number;
  /** Accepted, then reset because of the limit of connections per worker. */
  readonly overLimit: number;
  /** Attempts to connect to a backend that failed; most were made good by the next backend. */
  readonly connectFailures: number;
}

export interface LbCounters {
  readonly workerRestarts: number;
  readonly steeringFailures: number;
  readonly frontends: readonly FrontendCounters[];
}

/** VIP:port → local port of a userspace proxy, done in the kernel before the socket look-up. */
export interface Redirect {
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly toPort: number;
}

/** Steers VIP traffic to the proxies; declarative and idempotent. */
export interface Steering {
  /** Makes these, and only these, redirects stand. They act only while the address is local. */
  set(redirects: readonly Redirect[]): Promise<void>;
  /** Removes every trace of ours. */
  clear(): Promise<void>;
}

/** A proxy worker process at normal priority, seen from the agent. */
export interface WorkerProcess {
  readonly pid: number;
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Called once, when the process is gone. */
  onExit(listener: (reason: string) => void): void;
  /** Ends it at once. */
  kill(): void;
}

export interface WorkerHost {
  spawn(): WorkerProcess;
}
