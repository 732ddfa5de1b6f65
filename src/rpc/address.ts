/** `host:port` as members write it: a name, an IPv4 address, or an IPv6 address in brackets. */

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The two parts of an address, the host without brackets; null where it is none. */
export function parseHostPort(address: string): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535) return null;
  return { host, port };
}
