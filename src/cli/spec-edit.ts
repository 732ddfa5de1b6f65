/**
 * Small edits of the spec, as pure functions: what `vip add` and its kin do between reading the
 * spec and applying it again. Each refuses what it cannot do and says what there is instead.
 */
import { OperatingError } from '../base/errors.ts';
import { canonicalIp } from '../base/ip.ts';
import type { FrontendSpec, HealthCheckSpec, Spec, StaticBackend } from '../cluster/spec.ts';

export type SpecEdit = (spec: Spec) => Spec;

export interface NewFrontend {
  readonly name: string;
  /** Null: the only VIP there is. */
  readonly vip: string | null;
  readonly port: number;
  readonly protocol: FrontendSpec['protocol'];
  readonly dataPath: FrontendSpec['dataPath'];
  readonly scheduler: FrontendSpec['scheduler'];
  readonly prefer: FrontendSpec['prefer'];
  /** Port of every member; null for no member backends. */
  readonly memberPort: number | null;
  readonly healthCheck: HealthCheckSpec;
}

/** A backend outside the cluster's members, by address and port. */
export interface BackendAddress {
  readonly address: string;
  readonly port: number;
}

export function addVip(address: string, interfaceName: string | null): SpecEdit {
  return (spec) => {
    const known = spec.vips.find((vip) => vip.address === address);
    if (known !== undefined && (interfaceName ?? known.interface) !== known.interface) {
      const now = known.interface ?? 'that of its subnet';
      throw refusal('vip-exists', `the VIP ${address} is there already, on interface ${now}`, {
        hint: 'change it with `holdfast get spec` and `holdfast apply`',
      });
    }
    if (known !== undefined) return spec;
    const vip = { address, interface: interfaceName, onConflict: 'defend' as const };
    return { ...spec, vips: [...spec.vips, vip] };
  };
}

/** Removes the VIP and the frontends on it. */
export function removeVip(address: string): SpecEdit {
  return (spec) => {
    if (!spec.vips.some((vip) => vip.address === address)) {
      throw unknown('VIP', address, listed(spec.vips.map((vip) => vip.address)));
    }
    return {
      ...spec,
      vips: spec.vips.filter((vip) => vip.address !== address),
      frontends: spec.frontends.filter((frontend) => frontend.vip !== address),
    };
  };
}

export function addFrontend(wanted: NewFrontend): SpecEdit {
  return (spec) => {
    const vip = wanted.vip ?? onlyVip(spec);
    const { name, port, protocol, dataPath, scheduler, prefer, healthCheck } = wanted;
    const frontend: FrontendSpec = {
      ...{ name, vip, port, protocol, dataPath, scheduler, prefer },
      backends: {
        members: wanted.memberPort === null ? null : { port: wanted.memberPort },
        drainedMembers: [],
        static: [],
      },
      healthCheck,
      http: null,
    };
    const known = spec.frontends.find((each) => each.name === name);
    if (known !== undefined && JSON.stringify(known) === JSON.stringify(frontend)) return spec;
    if (known !== undefined) {
      throw refusal('frontend-exists', `a frontend ${name} is there already`, {
        hint: 'choose another name, or change it with `holdfast get spec` and `holdfast apply`',
      });
    }
    return { ...spec, frontends: [...spec.frontends, frontend] };
  };
}

export function removeFrontend(name: string): SpecEdit {
  return (spec) => {
    frontendNamed(spec, name);
    return { ...spec, frontends: spec.frontends.filter((each) => each.name !== name) };
  };
}

/** Adds a static backend, or gives the one that is there the new weight. */
export function addBackend(
  frontendName: string | null,
  backend: BackendAddress & Pick<StaticBackend, 'weight' | 'mode'>,
): SpecEdit {
  return (spec) => {
    const frontend = frontendName === null ? onlyFrontend(spec) : frontendNamed(spec, frontendName);
    const known = frontend.backends.static.find((each) => isAt(each, backend));
    const others = frontend.backends.static.filter((each) => each !== known);
    const added = { draining: false, ...known, ...backend };
    return withStatic(spec, [frontend.name], () => [...others, added]);
  };
}

/** Removes a static backend, from one frontend or from all that have it. */
export function removeBackend(frontendName: string | null, wanted: string): SpecEdit {
  return (spec) => {
    const names = scope(spec, frontendName)
      .filter((frontend) => frontend.backends.static.some((each) => isNamed(each, wanted)))
      .map((frontend) => frontend.name);
    if (names.length === 0) throw unknownBackend(spec, wanted);
    return withStatic(spec, names, (all) => all.filter((each) => !isNamed(each, wanted)));
  };
}

/**
 * Lets a backend take no new connection, or again some: a member by its name, a static backend by
 * its address, with or without the port.
 *
 * @param memberNames who is a member now, so that a mistyped name is refused
 */
export function drainBackend(options: {
  readonly frontend: string | null;
  readonly backend: string;
  readonly draining: boolean;
  readonly memberNames: readonly string[];
}): SpecEdit {
  const { backend, draining } = options;
  return (spec) => {
    let found = false;
    const names = new Set(scope(spec, options.frontend).map((frontend) => frontend.name));
    const frontends = spec.frontends.map((frontend) => {
      if (!names.has(frontend.name)) return frontend;
      const { drainedMembers, members } = frontend.backends;
      const isMember = members !== null && options.memberNames.includes(backend);
      const isDrained = drainedMembers.includes(backend);
      const isStatic = frontend.backends.static.some((each) => isNamed(each, backend));
      found ||= isMember || isDrained || isStatic;
      const others = drainedMembers.filter((name) => name !== backend);
      return {
        ...frontend,
        backends: {
          members,
          drainedMembers: draining && isMember ? [...others, backend].sort() : others,
          static: frontend.backends.static.map((each) =>
            isNamed(each, backend) ? { ...each, draining } : each,
          ),
        },
      };
    });
    if (!found) throw unknownBackend(spec, backend, options.memberNames);
    return { ...spec, frontends };
  };
}

function withStatic(
  spec: Spec,
  names: readonly string[],
  change: (all: readonly StaticBackend[]) => readonly StaticBackend[],
): Spec {
  return {
    ...spec,
    frontends: spec.frontends.map((frontend) =>
      names.includes(frontend.name)
        ? {
            ...frontend,
            backends: { ...frontend.backends, static: change(frontend.backends.static) },
          }
        : frontend,
    ),
  };
}

function scope(spec: Spec, frontendName: string | null): readonly FrontendSpec[] {
  return frontendName === null ? spec.frontends : [frontendNamed(spec, frontendName)];
}

function frontendNamed(spec: Spec, name: string): FrontendSpec {
  const found = spec.frontends.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw unknown('frontend', name, listed(spec.frontends.map((each) => each.name)));
}

function onlyFrontend(spec: Spec): FrontendSpec {
  const [first, ...more] = spec.frontends;
  if (first !== undefined && more.length === 0) return first;
  throw refusal('frontend-ambiguous', 'which frontend is meant is not clear', {
    hint: `name it with --frontend: ${listed(spec.frontends.map((each) => each.name))}`,
  });
}

function onlyVip(spec: Spec): string {
  const [first, ...more] = spec.vips;
  if (first !== undefined && more.length === 0) return first.address;
  throw refusal('vip-ambiguous', 'which VIP is meant is not clear', {
    hint: `name it with --vip: ${listed(spec.vips.map((vip) => vip.address))}`,
  });
}

function isAt(backend: BackendAddress, other: BackendAddress): boolean {
  return backend.address === other.address && backend.port === other.port;
}

/** By address, or by address and port as `endpoint` of the same form writes them. */
function isNamed(backend: StaticBackend, wanted: string): boolean {
  const { address, port } = backend;
  const shown = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return wanted === shown || canonicalIp(wanted) === address;
}

function unknownBackend(
  spec: Spec,
  wanted: string,
  memberNames: readonly string[] = [],
): OperatingError {
  const fixed = spec.frontends.flatMap((each) => each.backends.static.map((one) => one.address));
  return unknown('backend', wanted, listed([...memberNames, ...new Set(fixed)]));
}

function unknown(kind: string, name: string, there: string): OperatingError {
  return refusal(`${kind.toLowerCase()}-unknown`, `there is no ${kind} ${name}`, {
    hint: `there is: ${there}`,
  });
}

function refusal(code: string, message: string, more: { readonly hint: string }): OperatingError {
  return new OperatingError({ code, message, ...more });
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ');
}
