/**
 * What the agent and a worker say to each other: plain JSON over the worker's IPC channel. Both run
 * the same version, so there is no negotiation; yet what arrives is checked once, here, and a
 * message that is not understood is named instead of trusted.
 */
import type { LaneCounters } from './carrier-protocol.ts';
import type { ConnectFailure, Health } from './health.ts';
import type { BackendView, DesiredFrontend, HttpOptions } from './ports.ts';

/** A frontend that the worker is to run. */
export interface Assignment {
  readonly frontend: DesiredFrontend;
  /** Whether it takes clients in; otherwise it judges the backends for a path in the kernel. */
  readonly carries: boolean;
  /** The local port to try first; 0: any. */
  readonly preferredPort: number;
  /** Names of the backends that come before all others; none: nobody does. */
  readonly favoured: readonly string[];
}

export type ToWorker =
  /** Run these, and only these. Who leads probes and judges; the others are told. */
  | {
      readonly kind: 'assign';
      readonly leads: boolean;
      readonly assignments: readonly Assignment[];
    }
  | Verdicts
  | Failed
  /** Reset the clients of a VIP that has left this host. */
  | { readonly kind: 'release'; readonly address: string }
  /** Let the connections end for so long, then exit. */
  | { readonly kind: 'drain'; readonly graceMs: number }
  | { readonly kind: 'ping' };

export type FromWorker =
  /** The frontends of which anything has changed since they were reported last. */
  | { readonly kind: 'report'; readonly frontends: readonly FrontendReport[] }
  | Verdicts
  | Failed
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn';
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: 'pong' };

/** What the leading worker found, for those that do not probe. */
export interface Verdicts {
  readonly kind: 'verdicts';
  readonly verdicts: readonly FrontendVerdicts[];
}

export interface FrontendVerdicts {
  readonly frontend: string;
  readonly backends: readonly BackendVerdict[];
}

export interface BackendVerdict {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly health: Health;
  readonly sinceWallMs: number;
}

/** A client's connection to a backend failed, in a worker that does not judge. */
export interface Failed {
  readonly kind: 'failed';
  readonly frontend: string;
  readonly backend: string;
  readonly failure: ConnectFailure;
}

/** One frontend as its worker sees it. */
export interface FrontendReport {
  readonly name: string;
  /** The local port that VIP:port is to be redirected to. */
  readonly port: number;
  /** Clients are accepted; otherwise the kernel refuses them. */
  readonly serving: boolean;
  /** Why it cannot listen, or null. */
  readonly error: string | null;
  /** Clients connected now. */
  readonly clients: number;
  /** Since the worker started. */
  readonly counters: LaneCounters;
  readonly backends: readonly BackendReport[];
}

export interface BackendReport extends BackendView {
  /** A probe has ended; before that, the state is nobody's verdict. */
  readonly judged: boolean;
  /** It does not answer any more: its established connections are to be ended. */
  readonly gone: boolean;
}

export function parseToWorker(message: unknown): ToWorker | { readonly invalid: string } {
  if (!isRecord(message)) return { invalid: 'no object' };
  switch (message.kind) {
    case 'assign':
      if (!isArrayOf(message.assignments, isAssignment)) return { invalid: 'assign: assignments' };
      if (typeof message.leads !== 'boolean') return { invalid: 'assign: leads' };
      return { kind: 'assign', leads: message.leads, assignments: message.assignments };
    case 'verdicts':
    case 'failed':
      return parseShared(message);
    case 'release':
      if (typeof message.address !== 'string') return { invalid: 'release: address' };
      return { kind: 'release', address: message.address };
    case 'drain':
      if (!isCount(message.graceMs)) return { invalid: 'drain: graceMs' };
      return { kind: 'drain', graceMs: message.graceMs };
    case 'ping':
      return { kind: 'ping' };
    default:
      return { invalid: `kind ${String(message.kind)}` };
  }
}

export function parseFromWorker(message: unknown): FromWorker | { readonly invalid: string } {
  if (!isRecord(message)) return { invalid: 'no object' };
  switch (message.kind) {
    case 'report':
      if (!isArrayOf(message.frontends, isReport)) return { invalid: 'report: frontends' };
      return { kind: 'report', frontends: message.frontends };
    case 'verdicts':
    case 'failed':
      return parseShared(message);
    case 'log': {
      const { level, event, fields } = message;
      if (level !== 'info' && level !== 'warn') return { invalid: 'log: level' };
      if (typeof event !== 'string' || !isRecord(fields)) return { invalid: 'log: event, fields' };
      return { kind: 'log', level, event, fields };
    }
    case 'pong':
      return { kind: 'pong' };
    default:
      return { invalid: `kind ${String(message.kind)}` };
  }
}

function parseShared(
  message: Readonly<Record<string, unknown>>,
): Verdicts | Failed | { readonly invalid: string } {
  if (isFailed(message)) return message;
  if (message.kind === 'failed') return { invalid: 'failed: frontend, backend, failure' };
  if (!isArrayOf(message.verdicts, isVerdicts)) return { invalid: 'verdicts: verdicts' };
  return { kind: 'verdicts', verdicts: message.verdicts };
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isFlag: Check = (value) => typeof value === 'boolean';
const isTextOrNull: Check = (value) => value === null || typeof value === 'string';

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isArrayOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isItem);
}

/** A guard for objects whose fields pass the checks; a missing field is a failed check. */
function isShape<T>(checks: Readonly<Record<keyof T & string, Check>>): (v: unknown) => v is T {
  const fields = Object.entries<Check>(checks);
  return (value): value is T =>
    isRecord(value) && fields.every(([name, check]) => check(value[name]));
}

function orNull(check: Check): Check {
  return (value) => value === null || check(value);
}

function oneOf(...words: readonly string[]): Check {
  return (value) => typeof value === 'string' && words.includes(value);
}

const isHealthCheck = isShape<DesiredFrontend['healthCheck']>({
  type: oneOf('tcp', 'http', 'https', 'none'),
  path: isText,
  intervalMs: isCount,
  timeoutMs: isCount,
  rise: isCount,
  fall: isCount,
  expectStatus: isCount,
  caFile: isTextOrNull,
  systemTrust: isFlag,
  serverName: isTextOrNull,
});

const isHttpOptions = isShape<HttpOptions>({
  tls: orNull(isShape<NonNullable<HttpOptions['tls']>>({ certFile: isText, keyFile: isText })),
  backendTls: orNull(
    isShape<NonNullable<HttpOptions['backendTls']>>({
      caFile: isTextOrNull,
      systemTrust: isFlag,
      serverName: isTextOrNull,
    }),
  ),
});

const isDesiredBackend = isShape<DesiredFrontend['backends'][number]>({
  name: isText,
  address: isText,
  port: isCount,
  weight: isCount,
  draining: isFlag,
  mode: oneOf('masquerade', 'direct', 'tunnel'),
});

const isDesiredFrontend = isShape<DesiredFrontend>({
  name: isText,
  address: isText,
  port: isCount,
  protocol: oneOf('tcp', 'udp'),
  dataPath: oneOf('auto', 'nftables', 'ipvs', 'proxy', 'http', 'none'),
  scheduler: oneOf('round-robin', 'weighted', 'least-connections', 'source-hash'),
  prefer: oneOf('any', 'local'),
  backends: (value) => isArrayOf(value, isDesiredBackend),
  healthCheck: isHealthCheck,
  http: orNull(isHttpOptions),
});

const isAssignment = isShape<Assignment>({
  frontend: isDesiredFrontend,
  carries: isFlag,
  preferredPort: isCount,
  favoured: (value) => Array.isArray(value) && value.every(isText),
});

const isBackendReport = isShape<BackendReport>({
  name: isText,
  address: isText,
  port: isCount,
  weight: isCount,
  state: oneOf('up', 'degraded', 'down', 'draining'),
  sinceWallMs: isCount,
  reason: isText,
  connections: isCount,
  totalConnections: isCount,
  judged: isFlag,
  gone: isFlag,
});

const isReport = isShape<FrontendReport>({
  name: isText,
  port: isCount,
  serving: isFlag,
  error: isTextOrNull,
  clients: isCount,
  counters: isShape<LaneCounters>({
    accepted: isCount,
    unserved: isCount,
    overLimit: isCount,
    connectFailures: isCount,
  }),
  backends: (value) => isArrayOf(value, isBackendReport),
});

const isVerdict = isShape<BackendVerdict>({
  name: isText,
  address: isText,
  port: isCount,
  health: isShape<Health>({
    verdict: oneOf('unknown', 'up', 'down'),
    acceptsTcp: isFlag,
    suspect: isFlag,
    streak: isCount,
    misses: isCount,
    gone: isFlag,
    reason: isText,
  }),
  sinceWallMs: isCount,
});

const isVerdicts = isShape<FrontendVerdicts>({
  frontend: isText,
  backends: (value) => isArrayOf(value, isVerdict),
});

const isFailed = isShape<Failed>({
  kind: oneOf('failed'),
  frontend: isText,
  backend: isText,
  failure: isShape<ConnectFailure>({
    kind: oneOf('refused', 'timeout', 'local'),
    reason: isText,
  }),
});
