/**
 * Spec ⇄ protobuf. What is stored is the complete spec, defaults included, so that a later program
 * with other defaults reads the same intent.
 */

import * as pb from '../../proto/gen/state.ts';
import { assert, defined } from '../base/assert.ts';
import type {
  FrontendSpec,
  HealthCheckSpec,
  HttpSpec,
  Spec,
  StaticBackend,
  TimingProfile,
  VipSpec,
} from './spec.ts';

/** A table of words ⇄ enum numbers. */
export type Words<T extends string> = Readonly<Record<T, number>>;

/** The word whose number is `value`; a number that this program does not know is an error. */
export function wordOf<T extends string>(words: Words<T>, value: number, what: string): T {
  const found = (Object.keys(words) as T[]).find((word) => words[word] === value);
  assert(found !== undefined, `${what} ${value} is not known`);
  return found;
}

const profiles = {
  auto: pb.TimingProfile.AUTO,
  lan: pb.TimingProfile.LAN,
  balanced: pb.TimingProfile.BALANCED,
  wan: pb.TimingProfile.WAN,
} as const satisfies Words<TimingProfile>;

const conflictPolicies = {
  defend: pb.OnConflict.DEFEND,
  yield: pb.OnConflict.YIELD,
} as const satisfies Words<VipSpec['onConflict']>;

const protocols = {
  tcp: pb.Protocol.TCP,
  udp: pb.Protocol.UDP,
} as const satisfies Words<FrontendSpec['protocol']>;

const dataPaths = {
  auto: pb.DataPath.AUTO,
  nftables: pb.DataPath.NFTABLES,
  ipvs: pb.DataPath.IPVS,
  proxy: pb.DataPath.PROXY,
  http: pb.DataPath.HTTP,
  none: pb.DataPath.NONE,
} as const satisfies Words<FrontendSpec['dataPath']>;

const schedulers = {
  'round-robin': pb.Scheduler.ROUND_ROBIN,
  weighted: pb.Scheduler.WEIGHTED,
  'least-connections': pb.Scheduler.LEAST_CONNECTIONS,
  'source-hash': pb.Scheduler.SOURCE_HASH,
} as const satisfies Words<FrontendSpec['scheduler']>;

const forwardModes = {
  masquerade: pb.ForwardMode.MASQUERADE,
  direct: pb.ForwardMode.DIRECT,
  tunnel: pb.ForwardMode.TUNNEL,
} as const satisfies Words<StaticBackend['mode']>;

const checkTypes = {
  tcp: pb.HealthCheckType.TCP,
  http: pb.HealthCheckType.HTTP,
  https: pb.HealthCheckType.HTTPS,
  none: pb.HealthCheckType.NONE,
} as const satisfies Words<HealthCheckSpec['type']>;

export function specToProto(spec: Spec): pb.Spec {
  return {
    timing:
      typeof spec.timing === 'string'
        ? { $case: 'profile', value: profiles[spec.timing] }
        : { $case: 'values', value: { ...spec.timing } },
    vips: spec.vips.map((vip) => ({
      address: vip.address,
      interface: vip.interface ?? '',
      onConflict: conflictPolicies[vip.onConflict],
    })),
    frontends: spec.frontends.map((frontend) => ({
      name: frontend.name,
      vip: frontend.vip,
      port: frontend.port,
      protocol: protocols[frontend.protocol],
      dataPath: dataPaths[frontend.dataPath],
      scheduler: schedulers[frontend.scheduler],
      prefersLocal: frontend.prefer === 'local',
      membersPort: frontend.backends.members?.port ?? 0,
      drainedMembers: [...frontend.backends.drainedMembers],
      staticBackends: frontend.backends.static.map((backend) => ({
        ...backend,
        mode: forwardModes[backend.mode],
      })),
      healthCheck: {
        ...frontend.healthCheck,
        type: checkTypes[frontend.healthCheck.type],
        caFile: frontend.healthCheck.caFile ?? '',
        serverName: frontend.healthCheck.serverName ?? '',
      },
      http: frontend.http === null ? undefined : httpToProto(frontend.http),
    })),
  };
}

export function specFromProto(spec: pb.Spec): Spec {
  return {
    timing: timingFromProto(defined(spec.timing, 'timing')),
    vips: spec.vips.map((vip) => ({
      address: vip.address,
      interface: vip.interface || null,
      onConflict:
        vip.onConflict === pb.OnConflict.UNSPECIFIED
          ? 'defend'
          : wordOf(conflictPolicies, vip.onConflict, 'conflict policy'),
    })),
    frontends: spec.frontends.map((frontend) => ({
      name: frontend.name,
      vip: frontend.vip,
      port: frontend.port,
      protocol: wordOf(protocols, frontend.protocol, 'protocol'),
      dataPath: wordOf(dataPaths, frontend.dataPath, 'data path'),
      scheduler: wordOf(schedulers, frontend.scheduler, 'scheduler'),
      prefer: frontend.prefersLocal ? 'local' : 'any',
      backends: {
        members: frontend.membersPort === 0 ? null : { port: frontend.membersPort },
        drainedMembers: frontend.drainedMembers,
        static: frontend.staticBackends.map(({ address, port, weight, draining, mode }) => ({
          ...{ address, port, weight, draining },
          mode:
            mode === pb.ForwardMode.UNSPECIFIED
              ? 'masquerade'
              : wordOf(forwardModes, mode, 'forward mode'),
        })),
      },
      healthCheck: checkFromProto(defined(frontend.healthCheck, 'health check')),
      http: frontend.http === undefined ? null : httpFromProto(frontend.http),
    })),
  };
}

function httpToProto({ tls, backendTls, terminateKubernetesApi }: HttpSpec): pb.Http {
  return {
    tls: tls === null ? undefined : { ...tls },
    backendTls:
      backendTls === null
        ? undefined
        : {
            caFile: backendTls.caFile ?? '',
            systemTrust: backendTls.systemTrust,
            serverName: backendTls.serverName ?? '',
          },
    terminateKubernetesApi,
  };
}

function httpFromProto({ tls, backendTls, terminateKubernetesApi }: pb.Http): HttpSpec {
  return {
    tls: tls === undefined ? null : { certFile: tls.certFile, keyFile: tls.keyFile },
    backendTls:
      backendTls === undefined
        ? null
        : {
            caFile: backendTls.caFile || null,
            systemTrust: backendTls.systemTrust,
            serverName: backendTls.serverName || null,
          },
    terminateKubernetesApi,
  };
}

function timingFromProto(timing: Exclude<pb.Spec['timing'], undefined>): Spec['timing'] {
  if (timing.$case === 'profile') return wordOf(profiles, timing.value, 'timing profile');
  const { heartbeatMs, promiseMs, jitterMs } = timing.value;
  return { heartbeatMs, promiseMs, jitterMs };
}

function checkFromProto(check: pb.HealthCheck): HealthCheckSpec {
  const { path, intervalMs, timeoutMs, rise, fall, expectStatus, systemTrust } = check;
  return {
    type: wordOf(checkTypes, check.type, 'health check type'),
    path,
    intervalMs,
    timeoutMs,
    rise,
    fall,
    expectStatus,
    caFile: check.caFile || null,
    systemTrust,
    serverName: check.serverName || null,
  };
}
