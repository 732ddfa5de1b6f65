/**
 * The local configuration of one node, `agent.yaml`: who this node is and what differs from host to
 * host. Read once, validated once, then frozen; what the cluster should do is the spec's business.
 */
import { z } from 'zod';
import { OperatingError } from '../base/errors.ts';
import { formatInterfaceSelector, parseInterfaceSelector } from '../base/interface-selector.ts';
import { canonicalIp } from '../base/ip.ts';
import {
  defaultGrpcPort,
  defaultHttpListen,
  defaultHttpPort,
  defaultListen,
  formatEndpoint,
  parseEndpoint,
} from './endpoint.ts';
import { namePattern, nameRule } from './names.ts';

export interface AgentConfig {
  readonly node: { readonly id: string; readonly name: string };
  readonly cluster: { readonly id: string; readonly name: string };
  readonly role: 'voter' | 'witness';
  /** `host:port` on which members and joiners are served. */
  readonly listen: string;
  /** `host:port` under which the peers reach this node. */
  readonly advertise: string;
  /** `host:port` of livez, readyz and metrics. */
  readonly http: { readonly listen: string };
  /** This host's interface for every VIP that `interfaces` does not name; null: by the subnet. */
  readonly interface: string | null;
  /** This host's interface for a VIP, by its canonical address. */
  readonly interfaces: Readonly<Record<string, string>>;
  /**
   * How long a preferred host must be able to lead before this node, leading, hands over to it, s.
   */
  readonly preemptDelaySeconds: number;
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error';
    readonly format: 'text' | 'json';
  };
}

export const apiVersion = 'holdfast/v1';
/** Longer than a host that restarts in a loop lives, by default. */
export const defaultPreemptDelaySeconds = 30;
const text = (rule: RegExp, words: string) => z.string().regex(rule, { error: `must be ${words}` });
const id = text(/^[a-zA-Z0-9-]{1,64}$/, 'an id that init or join wrote');
const name = text(namePattern, nameRule);
const interfaceName = z.string().transform((value, context) => {
  const parsed = parseInterfaceSelector(value);
  if ('selector' in parsed) return formatInterfaceSelector(parsed.selector);
  context.addIssue({ code: 'custom', message: parsed.problem, input: value });
  return z.NEVER;
});

function endpoint(defaultPort: number) {
  return z.string().transform((value, context) => {
    const parsed = parseEndpoint(value, defaultPort);
    if (parsed !== null) return formatEndpoint(parsed);
    context.addIssue({ code: 'custom', message: 'must be HOST:PORT', input: value });
    return z.NEVER;
  });
}

const schema = z.strictObject({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('Agent'),
  node: z.strictObject({ id, name }),
  cluster: z.strictObject({ id, name }),
  role: z.enum(['voter', 'witness']).default('voter'),
  listen: endpoint(defaultGrpcPort).default(defaultListen),
  advertise: endpoint(defaultGrpcPort),
  http: z
    .strictObject({ listen: endpoint(defaultHttpPort).default(defaultHttpListen) })
    .prefault({}),
  interface: interfaceName.nullable().default(null),
  interfaces: z.record(z.string(), interfaceName).default({}),
  preemptDelaySeconds: z
    .int({ error: 'must be a whole number of seconds' })
    .min(1, { error: 'must be at least 1' })
    .max(3600, { error: 'must be at most 3600' })
    .default(defaultPreemptDelaySeconds),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['text', 'json']).default('text'),
    })
    .prefault({}),
});

/**
 * @param document what the YAML parser made of the file at `path`
 * @throws OperatingError `config-invalid` with `facts.problems`, one line each
 */
export function parseAgentConfig(document: unknown, path: string): AgentConfig {
  const parsed = schema.safeParse(document, { reportInput: true });
  const problems = parsed.success
    ? contradictions(parsed.data)
    : parsed.error.issues.flatMap(explain);
  if (!parsed.success || problems.length > 0) throw invalid(path, problems);
  const interfaces = Object.fromEntries(
    Object.entries(parsed.data.interfaces).map(([vip, link]) => [canonicalIp(vip) ?? vip, link]),
  );
  const { apiVersion: _version, kind: _kind, ...config } = parsed.data;
  return deepFreeze({ ...config, interfaces });
}

/** The document that {@link parseAgentConfig} reads as `config`. */
export function agentDocument(config: AgentConfig): Readonly<Record<string, unknown>> {
  const { interface: link, interfaces, preemptDelaySeconds, ...rest } = config;
  return {
    apiVersion,
    kind: 'Agent',
    ...rest,
    ...(link === null ? {} : { interface: link }),
    ...(Object.keys(interfaces).length === 0 ? {} : { interfaces }),
    ...(preemptDelaySeconds === defaultPreemptDelaySeconds ? {} : { preemptDelaySeconds }),
  };
}

/** What the fields say against each other, each problem naming both. */
function contradictions(config: z.output<typeof schema>): string[] {
  const problems: string[] = [];
  const seen = new Map<string, string>();
  for (const vip of Object.keys(config.interfaces)) {
    const canonical = canonicalIp(vip);
    if (canonical === null) problems.push(`interfaces.${vip}: must be named by an IP address`);
    const before = canonical === null ? undefined : seen.get(canonical);
    if (before !== undefined) problems.push(`interfaces.${vip}: repeats interfaces.${before}`);
    if (canonical !== null) seen.set(canonical, vip);
  }
  const grpc = parseEndpoint(config.listen, defaultGrpcPort);
  const http = parseEndpoint(config.http.listen, defaultHttpPort);
  if (grpc?.port === http?.port) {
    problems.push(`http.listen: has the port of listen (both are ${grpc?.port})`);
  }
  if (config.role === 'witness' && config.interface !== null) {
    problems.push('interface: contradicts role: witness, which never holds a VIP');
  }
  if (config.role === 'witness' && Object.keys(config.interfaces).length > 0) {
    problems.push('interfaces: contradicts role: witness, which never holds a VIP');
  }
  return problems;
}

function invalid(path: string, problems: readonly string[]): OperatingError {
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return new OperatingError({
    code: 'config-invalid',
    message: `${path} is not valid: ${problems[0]}${more}`,
    hint: 'correct it and start the agent again',
    facts: { path, problems },
  });
}

function explain(issue: z.core.$ZodIssue): string[] {
  const at = issue.path.length === 0 ? 'the document' : issue.path.join('.');
  const missing = 'input' in issue && issue.input === undefined;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => `${[...issue.path, key].join('.')}: unknown key`);
    case 'invalid_type':
      return [missing ? `${at}: is missing` : `${at}: must be ${kindWord(issue.expected)}`];
    case 'invalid_value':
      return [
        missing
          ? `${at}: is missing`
          : `${at}: must be ${issue.values.join(' or ')}${is(issue.input)}`,
      ];
    default:
      return [`${at}: ${issue.message}${is(issue.input)}`];
  }
}

function kindWord(expected: string): string {
  return expected === 'object' || expected === 'record' ? 'a mapping' : `a ${expected}`;
}

function is(input: unknown): string {
  return typeof input === 'string' || typeof input === 'number' ? ` (is ${input})` : '';
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  }
  return Object.freeze(value);
}
