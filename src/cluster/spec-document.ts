/**
 * Spec → the operator's document, with every default spelled out, so that `get spec` shows all
 * there is to change and its output can be applied again unchanged; and the spec that `init` starts
 * from.
 */
import { formatDuration } from './duration.ts';
import type { SpecDocument } from './operations.ts';
import type {
  FrontendSpec,
  HealthCheckSpec,
  HttpSpec,
  Spec,
  TlsTrustSpec,
  VersionedSpec,
} from './spec.ts';
import { apiVersion, defaultHealthCheck } from './spec-schema.ts';

/** The whole document, with the revision it was read at. */
export function specToDocument(versioned: VersionedSpec): SpecDocument {
  return {
    apiVersion,
    kind: 'Cluster',
    metadata: { name: versioned.clusterName, revision: versioned.revision },
    spec: specBody(versioned.spec),
  };
}

/** The `spec:` part of the document. */
export function specBody(spec: Spec): Readonly<Record<string, unknown>> {
  return {
    timing:
      typeof spec.timing === 'string'
        ? spec.timing
        : {
            heartbeat: formatDuration(spec.timing.heartbeatMs),
            promise: formatDuration(spec.timing.promiseMs),
            jitter: formatDuration(spec.timing.jitterMs),
          },
    vips: spec.vips.map((vip) => ({
      address: vip.address,
      ...(vip.interface === null ? {} : { interface: vip.interface }),
      onConflict: vip.onConflict,
    })),
    frontends: spec.frontends.map(frontendBody),
  };
}

function frontendBody(frontend: FrontendSpec): Readonly<Record<string, unknown>> {
  const { members, drainedMembers, static: fixed } = frontend.backends;
  return {
    name: frontend.name,
    vip: frontend.vip,
    port: frontend.port,
    protocol: frontend.protocol,
    dataPath: frontend.dataPath,
    scheduler: frontend.scheduler,
    ...(frontend.prefer === 'any' ? {} : { prefer: frontend.prefer }),
    backends: {
      ...(members === null ? {} : { members: { port: members.port } }),
      ...(drainedMembers.length === 0 ? {} : { drainedMembers }),
      static: fixed.map(({ draining, mode, ...backend }) => ({
        ...backend,
        ...(draining ? { draining } : {}),
        ...(mode === 'masquerade' ? {} : { mode }),
      })),
    },
    healthCheck: healthCheckBody(frontend.healthCheck),
    ...(frontend.http === null ? {} : { http: httpBody(frontend.http) }),
  };
}

function httpBody({
  tls,
  backendTls,
  terminateKubernetesApi,
}: HttpSpec): Readonly<Record<string, unknown>> {
  return {
    ...(tls === null ? {} : { tls }),
    ...(backendTls === null ? {} : { backendTls: trustBody(backendTls) }),
    ...(terminateKubernetesApi ? { terminateKubernetesApi } : {}),
  };
}

/** Without a file, it says in either case what is believed. */
function trustBody({
  caFile,
  systemTrust,
  serverName,
}: TlsTrustSpec): Readonly<Record<string, unknown>> {
  return {
    ...(caFile === null ? { trust: systemTrust ? 'system' : 'none' } : { caFile }),
    ...(serverName === null ? {} : { serverName }),
  };
}

function healthCheckBody(check: HealthCheckSpec): Readonly<Record<string, unknown>> {
  const common = {
    interval: formatDuration(check.intervalMs),
    timeout: formatDuration(check.timeoutMs),
    rise: check.rise,
    fall: check.fall,
  };
  if (check.type === 'tcp' || check.type === 'none') return { type: check.type, ...common };
  return {
    type: check.type,
    path: check.path,
    expectStatus: check.expectStatus,
    ...(check.type === 'https' ? trustBody(check) : {}),
    ...common,
  };
}

export interface DefaultSpecInit {
  /** Canonical addresses; the first carries the frontends. */
  readonly vips: readonly { readonly address: string; readonly interface: string | null }[];
  readonly vipPort: number;
  readonly backendPort: number;
  /** Further ports (`--frontend 9345:tcp`), each served by the same port of every member. */
  readonly frontends: readonly { readonly port: number; readonly check: 'tcp' | 'https' }[];
}

/** What `init` writes: the API server's frontend on each VIP, and the further ports asked for. */
export function defaultSpec(init: DefaultSpecInit): Spec {
  return {
    timing: 'auto',
    vips: init.vips.map((vip) => ({ ...vip, onConflict: 'defend' })),
    frontends: init.vips.flatMap((vip, index) => {
      const suffix = index === 0 ? '' : `-${index + 1}`;
      const frontend = (
        name: string,
        port: number,
        backendPort: number,
        check: 'tcp' | 'https',
      ) => ({
        name: `${name}${suffix}`,
        vip: vip.address,
        port,
        protocol: 'tcp' as const,
        dataPath: 'auto' as const,
        scheduler: 'round-robin' as const,
        prefer: 'any' as const,
        backends: { members: { port: backendPort }, drainedMembers: [], static: [] },
        healthCheck: { ...defaultHealthCheck, type: check },
        http: null,
      });
      return [
        frontend('kube-apiserver', init.vipPort, init.backendPort, 'https'),
        ...init.frontends.map(({ port, check }) => frontend(`port-${port}`, port, port, check)),
      ];
    }),
  };
}
