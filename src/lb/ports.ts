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
  /** For https: a PEM file to verify against. */
  readonly caFile: string | null;
  /** For https: verify against what the host trusts; with neither, nothing is verified. */
  readonly systemTrust: boolean;
  /** For https: the name to ask for and to find in the certificate; null: the address. */
  readonly serverName: string | null;
}

/** What the data path `http` does beyond balancing. */
export interface HttpOptions {
  /** PEM files of each host; null: clients speak plain HTTP. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
  /** Null: backends speak plain HTTP. */
  readonly backendTls: {
    readonly caFile: string | null;
    readonly systemTrust: boolean;
    readonly serverName: string | null;
  } | null;
}

/** `local`: this host's own backend gets every new connection while it may be chosen. */
export type Preference = 'any' | 'local';

/** How packets reach a backend: translated, or (ipvs, static backends only) untranslated. */
export type ForwardMode = 'masquerade' | 'direct' | 'tunnel';

export interface DesiredBackend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Takes no new connection; those it has go on. */
  readonly draining: boolean;
  readonly mode: ForwardMode;
}

export interface DesiredFrontend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly dataPath: DataPath;
  readonly scheduler: Scheduler;
  readonly prefer: Preference;
  readonly backends: readonly DesiredBackend[];
  readonly healthCheck: HealthCheck;
  /** For the data path `http`; null where nothing was said. */
  readonly http: HttpOptions | null;
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

/** A backend that may be chosen now; who may not is not in the plan. */
export interface ForwardBackend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Share of new connections, for the weighted schedulers. */
  readonly weight: number;
  readonly mode: ForwardMode;
}

/** What one VIP:port does with a new connection. */
export interface ForwardPlan {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly scheduler: Scheduler;
  /** None: connections are refused at once (TCP reset; ICMP port unreachable for UDP). */
  readonly backends: readonly ForwardBackend[];
}

export interface ForwardCount {
  readonly frontend: string;
  readonly backend: string;
  /** Open now. */
  readonly connections: number;
  /** Ever led to it; begins anew with what counts it, which may go and come back. */
  readonly total: number;
}

/** Forwards VIP traffic in the kernel; declarative and idempotent. Acts only where the VIP is. */
export interface Forwarder {
  readonly kind: 'nftables' | 'ipvs';
  /** Why this host cannot, or null. */
  unavailable(): string | null;
  /** Makes these, and only these, stand. Established connections go on, whatever changed. */
  set(plans: readonly ForwardPlan[]): Promise<void>;
  /** Ends the established connections to a backend that does not answer; returns how many. */
  sever(
    frontend: Pick<ForwardPlan, 'address' | 'port' | 'protocol'>,
    backend: Pick<ForwardBackend, 'address' | 'port'>,
  ): Promise<number>;
  /**
   * Ends all connections of a VIP that has left this host, so that their clients are reset with
   * their next packet; returns how many.
   */
  release(address: string): Promise<number>;
  /** For the plans that were set last. */
  counts(): Promise<readonly ForwardCount[]>;
  /** Removes every trace of ours, and nothing of others'. */
  clear(): Promise<void>;
}

/** Plays a client from outside, to see whether the kernel's translation works on this host. */
export interface Trial {
  /** Whether an address is another host's. */
  isRemote(address: string): boolean;
  /**
   * One connection to a remote backend, translated and passed on as a client's would be; null once
   * it is established, else why it was not. Never rejects.
   */
  run(backend: { readonly address: string; readonly port: number }): Promise<string | null>;
  close(): void;
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
