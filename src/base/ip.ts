/**
 * IP addresses as text and as bytes: a total codec with one canonical text per address (RFC 5952
 * for IPv6), so that two texts are the same address exactly when they are equal. No zones, no
 * prefixes.
 */

export type IpFamily = 4 | 6;

/** 4 or 16 bytes in network order; null where `text` is no address. */
export function parseIp(text: string): Uint8Array | null {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** The canonical text of 4 or 16 bytes in network order. */
export function formatIp(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join('.') : formatIpv6(bytes);
}

/** The canonical text of the address that `text` writes, or null where it is none. */
export function canonicalIp(text: string): string | null {
  const bytes = parseIp(text);
  return bytes === null ? null : formatIp(bytes);
}

/** The family of an address in text; null where `text` is no address. */
export function ipFamily(text: string): IpFamily | null {
  const bytes = parseIp(text);
  if (bytes === null) return null;
  return bytes.length === 4 ? 4 : 6;
}

/**
 * Whether `address` lies in the subnet of `network` with the first `prefixLength` bits in common.
 */
export function inSubnet(address: string, network: string, prefixLength: number): boolean {
  const left = parseIp(address);
  const right = parseIp(network);
  if (left === null || right === null || left.length !== right.length) return false;
  for (let bit = 0; bit < prefixLength; bit += 8) {
    const mask = 0xff & (0xff << Math.max(0, bit + 8 - prefixLength));
    const difference = (left[bit / 8] ?? 0) ^ (right[bit / 8] ?? 0);
    if ((difference & mask) !== 0) return false;
  }
  return true;
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [index, part] of parts.entries()) {
    // A leading zero is refused: some programs read it as octal, so it means two addresses.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[index] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = words(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? words(halves[1] ?? '', true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const bytes = new Uint8Array(16);
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  for (const [index, word] of all.entries()) {
    bytes[index * 2] = word >> 8;
    bytes[index * 2 + 1] = word & 0xff;
  }
  return bytes;
}

/** The 16-bit words of one side of `::`; the last may be an IPv4 tail where `mayEndInIpv4`. */
function words(text: string, mayEndInIpv4: boolean): number[] | null {
  if (text === '') return [];
  const parts = text.split(':');
  const result: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes('.')) {
      const tail = parseIpv4(part);
      if (tail === null) return null;
      const [a = 0, b = 0, c = 0, d = 0] = tail;
      result.push((a << 8) | b, (c << 8) | d);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) result.push(Number.parseInt(part, 16));
    else return null;
  }
  return result;
}

function formatIpv6(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    parts.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  }
  // IPv4-mapped addresses are written with dots (RFC 5952 section 5).
  if (parts.slice(0, 5).every((part) => part === '0') && parts[5] === 'ffff') {
    return `::ffff:${bytes.slice(12).join('.')}`;
  }
  const { start, length } = longestZeroRun(parts);
  if (length < 2) return parts.join(':');
  return `${parts.slice(0, start).join(':')}::${parts.slice(start + length).join(':')}`;
}

/** The first of the longest runs of zero words (RFC 5952 section 4.2.3). */
function longestZeroRun(parts: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < parts.length; start++) {
    let length = 0;
    while (parts[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
