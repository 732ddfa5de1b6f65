/**
 * The operator's document (`apply -f`) → spec. Everything that can be said against a document is
 * said at once, one line each, with the path of the offending key; what passes is complete,
 * canonical and free of contradictions, so nothing behind this file checks again.
 */
import { z } from 'zod';
import { OperatingError } from '../base/errors.ts';
import { formatInterfaceSelector, parseInterfaceSelector } from '../base/interface-selector.ts';
import { canonicalIp } from '../base/ip.ts';
import { parseDuration } from './duration.ts';
import type { FrontendSpec, HealthCheckSpec, HttpSpec, Spec, TlsTrustSpec } from './spec.ts';
import { timingProblems } from './timing.ts';

export const apiVersion = 'holdfast/v1';
export const maxVips = 32;
export const maxFrontends = 1_024;
export const maxStaticBackends = 256;
/** Of the Kubernetes API, by custom. */
const kubernetesPort = 6443;

/** Serves unconfigured on kubeadm, k3s, RKE2 and Talos; etcd's elections are not its business. */
export const defaultHealthCheck: HealthCheckSpec = {
  type: 'https',
  path: '/readyz?exclude=etcd&exclude=etcd-readiness',
  intervalMs: 1000,
  timeoutMs: 1000,
  rise: 2,
  fall: 2,
  expectStatus: 200,
  caFile: null,
  systemTrust: false,
  serverName: null,
};

export interface ParsedDocument {
  /** `metadata.name`; null where the document names no cluster. */
  readonly clusterName: string | null;
  /** `metadata.revision`: the revision that the writer had read; null for "whatever is there". */
  readonly revision: number | null;
  readonly spec: Spec;
}

export interface ParseOptions {
  /** Why this build cannot do a data path; null where it can. */
  readonly unsupportedDataPath: (
    frontend: Pick<FrontendSpec, 'dataPath' | 'protocol' | 'scheduler'>,
  ) => string | null;
}

/**
 * @param document what a YAML or JSON parser made of the text.
 * @throws OperatingError `spec-invalid` with `facts.problems`, one line each.
 */
export function parseSpecDocument(document: unknown, options: ParseOptions): ParsedDocument {
  const parsed = documentSchema.safeParse(document, { reportInput: true });
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap((issue) => explain(issue, [])));
  const { metadata, spec } = parsed.data;
  const problems = contradictions(spec, options);
  if (problems.length > 0) throw invalid(problems);
  return {
    clusterName: metadata.name ?? null,
    revision: metadata.revision ?? null,
    spec: complete(spec),
  };
}

function invalid(problems: readonly string[]): OperatingError {
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return new OperatingError({
    code: 'spec-invalid',
    message: `the spec is not valid: ${problems[0]}${more}`,
    hint: 'nothing was changed; correct the document and apply it again',
    facts: { problems },
  });
}

const port = z.int().min(1).max(65535);
const address = z.string().transform((text, context) => {
  const canonical = canonicalIp(text);
  if (canonical !== null) return canonical;
  context.addIssue({ code: 'custom', message: `must be an IP address (is ${show(text)})` });
  return z.NEVER;
});
const duration = z.string().transform((text, context) => {
  const ms = parseDuration(text);
  if (ms !== null && ms >= 10 && ms <= 3_600_000) return ms;
  context.addIssue({
    code: 'custom',
    message: `must be a duration of 10ms to 1h like 500ms or 1s (is ${show(text)})`,
  });
  return z.NEVER;
});
/** Names stand in paths, metrics and flags, so they are kept to what needs no quoting. */
const name = z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62})$/, {
  error: (issue) => `must be 1 to 63 letters, digits, dots, dashes (is ${show(issue.input)})`,
});
const selector = z.string().transform((text, context) => {
  const parsed = parseInterfaceSelector(text);
  if ('selector' in parsed) return formatInterfaceSelector(parsed.selector);
  context.addIssue({ code: 'custom', message: `${parsed.problem} (is ${show(text)})` });
  return z.NEVER;
});

const vipSchema = z.strictObject({
  address,
  interface: selector.optional(),
  onConflict: z.enum(['defend', 'yield']).default('defend'),
});

const staticBackendSchema = z.strictObject({
  address,
  port,
  weight: z.int().min(1).max(256).default(1),
  draining: z.boolean().default(false),
  mode: z.enum(['masquerade', 'direct', 'tunnel']).default('masquerade'),
});

const file = z.string().regex(/^\//, {
  error: (issue) => `must be an absolute path (is ${show(issue.input)})`,
});
const serverName = z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,252})$/, {
  error: (issue) => `must be a host name (is ${show(issue.input)})`,
});
/** Whom to believe: a file, what the host trusts, or (said aloud) anybody. */
const trustFields = {
  caFile: file.optional(),
  trust: z.enum(['system', 'none']).optional(),
  serverName: serverName.optional(),
};

const healthCheckSchema = z.strictObject({
  type: z.enum(['tcp', 'http', 'https', 'none']).optional(),
  path: z
    .string()
    .regex(/^\/[\x21-\x7e]{0,255}$/, {
      error: (issue) => `must begin with / and hold no space (is ${show(issue.input)})`,
    })
    .optional(),
  interval: duration.default(defaultHealthCheck.intervalMs),
  timeout: duration.default(defaultHealthCheck.timeoutMs),
  rise: z.int().min(1).max(100).default(defaultHealthCheck.rise),
  fall: z.int().min(1).max(100).default(defaultHealthCheck.fall),
  expectStatus: z.int().min(100).max(599).optional(),
  ...trustFields,
});

const httpSchema = z.strictObject({
  tls: z.strictObject({ certFile: file, keyFile: file }).optional(),
  backendTls: z.strictObject(trustFields).optional(),
  terminateKubernetesApi: z.boolean().default(false),
});

const frontendSchema = z.strictObject({
  name,
  vip: address,
  port,
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  dataPath: z.enum(['auto', 'nftables', 'ipvs', 'proxy', 'http', 'none']).default('auto'),
  scheduler: z
    .enum(['round-robin', 'weighted', 'least-connections', 'source-hash'])
    .default('round-robin'),
  prefer: z.enum(['any', 'local']).default('any'),
  backends: z
    .strictObject({
      members: z.strictObject({ port }).optional(),
      drainedMembers: z.array(name).max(maxStaticBackends).default([]),
      static: z.array(staticBackendSchema).max(maxStaticBackends).default([]),
    })
    .prefault({}),
  healthCheck: healthCheckSchema.prefault({}),
  http: httpSchema.optional(),
});

const timingSchema = z.union([
  z.enum(['auto', 'lan', 'balanced', 'wan']),
  z.strictObject({ heartbeat: duration, promise: duration, jitter: duration }),
]);

const documentSchema = z.strictObject({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('Cluster'),
  metadata: z
    .strictObject({ name: name.optional(), revision: z.int().min(0).optional() })
    .prefault({}),
  spec: z.strictObject({
    timing: timingSchema.default('auto'),
    vips: z.array(vipSchema).max(maxVips),
    frontends: z.array(frontendSchema).max(maxFrontends).default([]),
  }),
});

type Draft = z.output<typeof documentSchema>['spec'];
type FrontendDraft = Draft['frontends'][number];

/** What the fields say against each other, each problem naming both. */
function contradictions(spec: Draft, options: ParseOptions): string[] {
  const problems: string[] = [];
  if (typeof spec.timing !== 'string') {
    for (const problem of timingProblems(timingValues(spec.timing))) {
      problems.push(`spec.timing.${problem}`);
    }
  }
  problems.push(
    ...repeated('spec.vips', 'address', spec.vips, (vip) => vip.address),
    ...repeated('spec.frontends', 'name', spec.frontends, (each) => each.name),
    ...repeated(
      'spec.frontends',
      'port',
      spec.frontends,
      (each) => `${each.vip} ${each.protocol} ${each.port}`,
    ),
  );
  for (const [index, frontend] of spec.frontends.entries()) {
    problems.push(...frontendProblems(`spec.frontends[${index}]`, frontend, spec, options));
  }
  return problems;
}

function frontendProblems(
  path: string,
  frontend: FrontendDraft,
  spec: Draft,
  options: ParseOptions,
): string[] {
  const problems: string[] = [];
  if (!spec.vips.some((vip) => vip.address === frontend.vip)) {
    problems.push(`${path}.vip: must be one of spec.vips (is ${frontend.vip})`);
  }
  const unsupported = options.unsupportedDataPath(frontend);
  if (unsupported !== null) problems.push(`${path}.dataPath: ${unsupported}`);
  if (frontend.protocol === 'udp' && frontend.dataPath === 'http') {
    problems.push(`${path}.dataPath: http contradicts ${path}.protocol: udp`);
  }
  if (frontend.prefer === 'local' && frontend.dataPath === 'none') {
    problems.push(
      `${path}.prefer: local contradicts ${path}.dataPath: none, by which nothing is balanced`,
    );
  }
  const { static: fixed, drainedMembers, members } = frontend.backends;
  problems.push(
    ...repeated(`${path}.backends.static`, 'address', fixed, (each) => endpoint(each)),
    ...repeated(`${path}.backends.drainedMembers`, null, drainedMembers, (each) => each),
  );
  if (drainedMembers.length > 0 && members === undefined) {
    problems.push(
      `${path}.backends.drainedMembers: contradicts the absent ${path}.backends.members`,
    );
  }
  for (const [index, backend] of fixed.entries()) {
    if (endpoint(backend) !== endpoint({ address: frontend.vip, port: frontend.port })) continue;
    problems.push(`${path}.backends.static[${index}]: is ${path} itself, so it would loop`);
  }
  return [
    ...problems,
    ...modeProblems(path, frontend),
    ...healthCheckProblems(path, frontend),
    ...httpProblems(path, frontend),
  ];
}

/** Packets that are left as they are arrive with the VIP and its port, which only ipvs can do. */
function modeProblems(path: string, { dataPath, port, backends }: FrontendDraft): string[] {
  return backends.static.flatMap((backend, index) => {
    const { mode } = backend;
    if (mode === 'masquerade') return [];
    const at = `${path}.backends.static[${index}]`;
    const problems: string[] = [];
    if (dataPath !== 'ipvs') {
      problems.push(
        `${at}.mode: ${mode} contradicts ${path}.dataPath: ${dataPath}; only ipvs leaves ` +
          'packets untranslated',
      );
    }
    if (backend.port !== port) {
      problems.push(
        `${at}.port: must be ${port}, the port of ${path}, because by ${mode} packets keep it ` +
          `(is ${backend.port})`,
      );
    }
    return problems;
  });
}

/** Datagrams say nothing of who serves: unless told otherwise, all are believed to. */
function checkTypeOf({ protocol, healthCheck }: FrontendDraft): HealthCheckSpec['type'] {
  return healthCheck.type ?? (protocol === 'udp' ? 'none' : defaultHealthCheck.type);
}

function healthCheckProblems(frontendPath: string, frontend: FrontendDraft): string[] {
  const path = `${frontendPath}.healthCheck`;
  const { healthCheck: check, protocol } = frontend;
  const type = checkTypeOf(frontend);
  const isWeb = type === 'http' || type === 'https';
  const problems: string[] = [];
  if (protocol === 'udp' && isWeb) {
    problems.push(`${path}.type: ${type} contradicts ${frontendPath}.protocol: udp`);
  }
  const forWeb = isWeb ? [] : (['path', 'expectStatus'] as const);
  const forTls = type === 'https' ? [] : (['caFile', 'trust', 'serverName'] as const);
  for (const key of [...forWeb, ...forTls]) {
    if (check[key] !== undefined)
      problems.push(`${path}.${key}: contradicts ${path}.type: ${type}`);
  }
  return [...problems, ...trustProblems(path, check)];
}

interface TrustDraft {
  readonly caFile?: string | undefined;
  readonly trust?: 'system' | 'none' | undefined;
  readonly serverName?: string | undefined;
}

function trustProblems(path: string, { caFile, trust }: TrustDraft): string[] {
  if (caFile === undefined || trust === undefined) return [];
  return [`${path}.trust: contradicts ${path}.caFile, against which is verified`];
}

function httpProblems(path: string, { name, port, dataPath, http }: FrontendDraft): string[] {
  if (dataPath !== 'http') {
    return http === undefined ? [] : [`${path}.http: contradicts ${path}.dataPath: ${dataPath}`];
  }
  const problems: string[] = [];
  const { backendTls, terminateKubernetesApi = false } = http ?? {};
  if (backendTls !== undefined) {
    const said = backendTls.caFile !== undefined || backendTls.trust !== undefined;
    if (!said) problems.push(`${path}.http.backendTls: must have caFile or trust`);
    problems.push(...trustProblems(`${path}.http.backendTls`, backendTls));
  }
  const isKubernetes = /^kube-apiserver(-\d+)?$/.test(name) || port === kubernetesPort;
  if (isKubernetes && !terminateKubernetesApi) {
    problems.push(
      `${path}.dataPath: http ends TLS here, and with it login by client certificate, which ` +
        `kubeadm, kubelets and admin kubeconfigs use at the Kubernetes API; use auto, or say ` +
        `${path}.http.terminateKubernetesApi: true`,
    );
  }
  return problems;
}

/** One line for each item whose key an earlier item has. */
function repeated<T>(
  path: string,
  field: string | null,
  items: readonly T[],
  keyOf: (item: T) => string,
): string[] {
  const suffix = field === null ? '' : `.${field}`;
  const seen = new Map<string, number>();
  const problems: string[] = [];
  for (const [index, item] of items.entries()) {
    const key = keyOf(item);
    const before = seen.get(key);
    if (before === undefined) seen.set(key, index);
    else {
      problems.push(
        `${path}[${index}]${suffix}: repeats ${path}[${before}]${suffix} (both are ${key})`,
      );
    }
  }
  return problems;
}

function endpoint(backend: { readonly address: string; readonly port: number }): string {
  return backend.address.includes(':')
    ? `[${backend.address}]:${backend.port}`
    : `${backend.address}:${backend.port}`;
}

function timingValues(timing: Exclude<Draft['timing'], string>) {
  return { heartbeatMs: timing.heartbeat, promiseMs: timing.promise, jitterMs: timing.jitter };
}

function complete(draft: Draft): Spec {
  return {
    timing: typeof draft.timing === 'string' ? draft.timing : timingValues(draft.timing),
    vips: draft.vips.map((vip) => ({ ...vip, interface: vip.interface ?? null })),
    frontends: draft.frontends.map((frontend) => ({
      ...frontend,
      backends: { ...frontend.backends, members: frontend.backends.members ?? null },
      healthCheck: {
        type: checkTypeOf(frontend),
        path: frontend.healthCheck.path ?? defaultHealthCheck.path,
        intervalMs: frontend.healthCheck.interval,
        timeoutMs: frontend.healthCheck.timeout,
        rise: frontend.healthCheck.rise,
        fall: frontend.healthCheck.fall,
        expectStatus: frontend.healthCheck.expectStatus ?? defaultHealthCheck.expectStatus,
        ...trustOf(frontend.healthCheck),
      },
      http: frontend.http === undefined ? null : httpOf(frontend.http),
    })),
  };
}

function trustOf({ caFile, trust, serverName: asked }: TrustDraft): TlsTrustSpec {
  return {
    caFile: caFile ?? null,
    systemTrust: trust === 'system',
    serverName: asked ?? null,
  };
}

function httpOf({
  tls,
  backendTls,
  terminateKubernetesApi,
}: NonNullable<FrontendDraft['http']>): HttpSpec {
  return {
    tls: tls ?? null,
    backendTls: backendTls === undefined ? null : trustOf(backendTls),
    terminateKubernetesApi,
  };
}

type Issue = z.core.$ZodIssue;

/** One line for each thing that one issue of the schema says. */
function explain(issue: Issue, prefix: readonly PropertyKey[]): string[] {
  const path = [...prefix, ...issue.path];
  const here = pathText(path);
  const at = here === '' ? 'document' : here;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => `${pathText([...path, key])}: unknown key`);
    case 'invalid_type':
      if (issue.input === undefined) return [`${at}: is missing`];
      return [`${at}: must be ${kindText(issue.expected)} (is ${show(issue.input)})`];
    case 'invalid_value':
      if (issue.input === undefined) return [`${at}: is missing`];
      return [`${at}: must be ${alternatives(issue.values)} (is ${show(issue.input)})`];
    case 'invalid_union':
      return explainTiming(issue, path);
    case 'too_big':
    case 'too_small':
      return [`${at}: must be ${boundText(path, issue)}`];
    default:
      return [`${at}: ${issue.message}`];
  }
}

/** The one union there is: a profile's name, or an object of values. */
function explainTiming(issue: Extract<Issue, { code: 'invalid_union' }>, path: PropertyKey[]) {
  const wantsObject = typeof issue.input === 'object' && issue.input !== null;
  const branch = issue.errors[wantsObject ? 1 : 0] ?? [];
  return branch.flatMap((inner) => explain(inner, path));
}

function boundText(
  path: readonly PropertyKey[],
  issue: Extract<Issue, { code: 'too_big' | 'too_small' }>,
): string {
  if (issue.origin === 'array') {
    const bound =
      issue.code === 'too_big' ? `at most ${issue.maximum}` : `at least ${issue.minimum}`;
    return `${bound} items`;
  }
  const range = ranges[String(path.at(-1))];
  return `${range ?? issue.message} (is ${show(issue.input)})`;
}

const ranges: Readonly<Record<string, string>> = {
  port: '1 to 65535',
  weight: '1 to 256',
  rise: '1 to 100',
  fall: '1 to 100',
  expectStatus: '100 to 599',
  revision: '0 or more',
};

function kindText(expected: string): string {
  if (expected === 'int' || expected === 'number') return 'a whole number';
  if (expected === 'array') return 'a list';
  return expected === 'object' ? 'an object' : `a ${expected}`;
}

function alternatives(values: readonly unknown[]): string {
  if (values.length === 1) return String(values[0]);
  return `one of ${values.join(', ')}`;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

/** A value as it stands in a message: short, on one line. */
function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
