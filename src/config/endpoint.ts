/** `HOST[:PORT]` as people write it: names, IPv4, and IPv6 bare or in brackets. */
import { canonicalIp } from '../base/ip.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export const defaultGrpcPort = 7443;
export const defaultHttpPort = 7444;
export const defaultListen = `[::]:${defaultGrpcPort}`;
export const defaultHttpListen = `127.0.0.1:${defaultHttpPort}`;

const hostName = /^(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*\.?$/;
const maxNameLength = 253;

/** What `text` means, with `defaultPort` where it names none; null where it is no endpoint. */
export function parseEndpoint(text: string, defaultPort: number): Endpoint | null {
  const bare = canonicalIp(text);
  if (bare !== null) return { host: bare, port: defaultPort };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return null;
  const host = match[1] === undefined ? parseHost(match[2] ?? '') : parseBracketed(match[1]);
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (host === null || port < 1 || port > 65535) return null;
  return { host, port };
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseBracketed(text: string): string | null {
  return text.includes(':') ? canonicalIp(text) : null;
}

function parseHost(text: string): string | null {
  const ip = canonicalIp(text);
  if (ip !== null) return ip;
  // Digits and dots that are no address are a mistyped one, not a name.
  if (/^[\d.]+$/.test(text) || text.length > maxNameLength || !hostName.test(text)) return null;
  return text;
}
