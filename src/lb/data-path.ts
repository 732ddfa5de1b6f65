/**
 * Which way a frontend's traffic takes: what `auto` means on this host, and what is refused with a
 * reason instead of being silently ignored.
 */
import { unreachable } from '../base/assert.ts';
import type { DataPath, DesiredFrontend, Protocol } from './ports.ts';

/** The path in force, and why it is this one. */
export interface ResolvedDataPath {
  readonly dataPath: DataPath;
  readonly reason: string;
}

/** Why a spec may not ask for `path`, or null where it may. */
export function unsupportedDataPath(path: DataPath): string | null {
  switch (path) {
    case 'auto':
    case 'proxy':
    case 'none':
      return null;
    case 'nftables':
    case 'ipvs':
      return `dataPath ${path} is not built yet: use proxy, or auto, which picks the best there is`;
    case 'http':
      return 'dataPath http is not built yet: use proxy, which passes TLS through unopened';
    default:
      return unreachable(path);
  }
}

/** Why a spec may not ask to balance `protocol`, or null where it may. */
export function unsupportedProtocol(protocol: Protocol): string | null {
  switch (protocol) {
    case 'tcp':
      return null;
    case 'udp':
      return 'protocol udp is not built yet: only tcp is balanced';
    default:
      return unreachable(protocol);
  }
}

/**
 * The path that carries `frontend` on this host. A request that cannot be met resolves to `none`
 * with the refusal as its reason, so that a spec written for a newer version does no harm.
 */
export function resolveDataPath(
  frontend: Pick<DesiredFrontend, 'dataPath' | 'protocol'>,
): ResolvedDataPath {
  if (frontend.dataPath === 'none') {
    return { dataPath: 'none', reason: 'as asked: the VIP only, nothing is balanced' };
  }
  const refusal = unsupportedProtocol(frontend.protocol) ?? unsupportedDataPath(frontend.dataPath);
  if (refusal !== null) return { dataPath: 'none', reason: refusal };
  if (frontend.dataPath === 'proxy') return { dataPath: 'proxy', reason: 'as asked' };
  return { dataPath: 'proxy', reason: 'auto: kernel data paths are not built yet' };
}

/** `10.0.0.1:6443` or `[fd00::1]:6443`. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
