/**
 * What a request says of the client on its way to a backend. Each proxy on the way adds its client
 * to the end of X-Forwarded-For, so that the last address is the one that was really seen.
 */
import type { IncomingMessage } from 'node:http';

export interface Arrival {
  /** Of the client, as the socket knows it. */
  readonly address: string;
  readonly encrypted: boolean;
}

/** By lower-case name; they replace what the request itself says. */
export function forwardedHeaders(
  { headers }: Pick<IncomingMessage, 'headers'>,
  { address, encrypted }: Arrival,
): Readonly<Record<string, string>> {
  const before = headers['x-forwarded-for'];
  const earlier = typeof before === 'string' ? before : before?.join(', ');
  const client = plainAddress(address);
  return {
    'x-forwarded-for': earlier ? `${earlier}, ${client}` : client,
    'x-forwarded-proto': encrypted ? 'https' : 'http',
    ...(headers.host !== undefined && { 'x-forwarded-host': headers.host }),
  };
}

/** IPv4 in dots, also where it came in over an IPv6 socket. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** The head of a request as it goes on to a backend, word for word but for what is forwarded. */
export function requestHead(request: IncomingMessage, arrival: Arrival): string {
  const forwarded = forwardedHeaders(request, arrival);
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? '';
    if (!(name.toLowerCase() in forwarded)) lines.push(`${name}: ${rawHeaders[at + 1]}`);
  }
  for (const [name, value] of Object.entries(forwarded)) lines.push(`${name}: ${value}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}
