/**
 * Which way a frontend's traffic takes: what `auto` means on this host, and what is refused with a
 * reason instead of being silently ignored.
 */
import { unreachable } from '../base/assert.ts';
import { ipFamily } from '../base/ip.ts';
import type { DataPath, DesiredFrontend, Forwarder } from './ports.ts';

/** The path in force, and why it is this one. */
export interface ResolvedDataPath {
  readonly dataPath: DataPath;
  readonly reason: string;
}

type Asked = Pick<DesiredFrontend, 'dataPath' | 'scheduler'>;
type Kernel = Forwarder['kind'];

/** What a real connection through the kernel showed. */
export interface Trust {
  readonly works: boolean;
  /** For people, after `auto: `. */
  readonly reason: string;
}

/** What this host offers. */
export interface HostPaths {
  /** Why this host has no such path, or null. */
  unavailable(kind: Kernel): string | null;
  /** Whether `auto` may trust the kernel with this frontend. */
  trust(frontend: DesiredFrontend): Trust;
}

/** Why a spec may not ask for this, or null where it may. */
export function unsupportedDataPath({ dataPath, scheduler }: Asked): string | null {
  switch (dataPath) {
    case 'none':
    case 'auto':
    case 'proxy':
    case 'http':
      return null;
    case 'nftables':
      if (scheduler !== 'least-connections') return null;
      return 'dataPath nftables cannot do least-connections: use auto or proxy, which can';
    case 'ipvs':
      return null;
    default:
      return unreachable(dataPath);
  }
}

/**
 * The path that carries `frontend` on this host. A request that cannot be met resolves to `none`
 * with the refusal as its reason, so that a spec written for a newer version does no harm.
 */
export function resolveDataPath(frontend: DesiredFrontend, host: HostPaths): ResolvedDataPath {
  const { dataPath } = frontend;
  if (dataPath === 'none') {
    return { dataPath, reason: 'as asked: the VIP only, nothing is balanced' };
  }
  const refusal = unsupportedDataPath(frontend);
  if (refusal !== null) return { dataPath: 'none', reason: refusal };
  if (dataPath === 'auto') return automatic(frontend, host);
  if (dataPath !== 'nftables' && dataPath !== 'ipvs') return { dataPath, reason: 'as asked' };
  const problem = host.unavailable(dataPath) ?? outOfReach(frontend);
  return problem === null
    ? { dataPath, reason: 'as asked' }
    : { dataPath: 'none', reason: `dataPath ${dataPath} cannot be used here: ${problem}` };
}

/** The kernel where it can, once it has shown that it does; user space else. */
function automatic(frontend: DesiredFrontend, host: HostPaths): ResolvedDataPath {
  const choice = kernelChoice(frontend, host);
  if ('problem' in choice) return { dataPath: 'proxy', reason: `auto: ${choice.problem}` };
  const { works, reason } = host.trust(frontend);
  return { dataPath: works ? choice.kind : 'proxy', reason: `auto: ${reason}` };
}

/** The path in the kernel that `auto` would take for `frontend`, or why there is none. */
export function kernelChoice(
  frontend: DesiredFrontend,
  host: HostPaths,
): { readonly kind: Kernel } | { readonly problem: string } {
  const unreached = outOfReach(frontend);
  if (unreached !== null) return { problem: unreached };
  const counts = frontend.scheduler === 'least-connections';
  const kinds: readonly Kernel[] = counts ? ['ipvs'] : ['nftables', 'ipvs'];
  const problems: string[] = [];
  for (const kind of kinds) {
    const problem = host.unavailable(kind);
    if (problem === null) return { kind };
    problems.push(problem);
  }
  const why = counts ? 'least-connections needs ipvs, and ' : '';
  return { problem: `${why}${problems.join('; ')}` };
}

/** Packets are translated within their family, and never to the loopback of another host. */
function outOfReach({ address, backends }: DesiredFrontend): string | null {
  const family = ipFamily(address);
  for (const backend of backends) {
    const where = `backend ${endpoint(backend.address, backend.port)}`;
    if (ipFamily(backend.address) !== family) {
      return `${where} is of another family than the VIP`;
    }
    if (backend.address === '::1' || backend.address.startsWith('127.')) {
      return `${where} is a loopback address`;
    }
  }
  return null;
}

/** `10.0.0.1:6443` or `[fd00::1]:6443`. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Whether worker processes carry the connections. */
export function isUserspace(path: DataPath): path is 'proxy' | 'http' {
  return path === 'proxy' || path === 'http';
}
