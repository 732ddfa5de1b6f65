/** Values of flags and arguments: text in, value out, or a usage error that says what was wrong. */
import { formatInterfaceSelector, parseInterfaceSelector } from '../base/interface-selector.ts';
import { canonicalIp } from '../base/ip.ts';
import { parseDuration } from '../cluster/duration.ts';
import { type Endpoint, parseEndpoint } from '../config/endpoint.ts';
import { namePattern } from '../config/names.ts';
import { UsageError } from './usage.ts';

export function portValue(flag: string, text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 1 && port <= 65535) return port;
  throw new UsageError(`${flag} must be a port from 1 to 65535, and is ${quoted(text)}`);
}

export function countValue(flag: string, text: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= most) return value;
  throw new UsageError(`${flag} must be a number from 1 to ${most}, and is ${quoted(text)}`);
}

export function integerValue(flag: string, text: string, least: number, most: number): number {
  const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${flag} must be a number from ${least} to ${most}, and is ${quoted(text)}`);
}

/** The canonical form of an IP address. */
export function addressValue(flag: string, text: string): string {
  const address = canonicalIp(text);
  if (address !== null) return address;
  throw new UsageError(`${flag} must be an IP address, and is ${quoted(text)}`);
}

/** Names with commas between, none twice. */
export function namesValue(flag: string, text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => namePattern.test(name)) && new Set(names).size === names.length) {
    return names;
  }
  throw new UsageError(`${flag} must be names with commas between, and is ${quoted(text)}`);
}

export function endpointValue(flag: string, text: string, defaultPort: number): Endpoint {
  const endpoint = parseEndpoint(text, defaultPort);
  if (endpoint !== null) return endpoint;
  throw new UsageError(`${flag} must be HOST[:PORT], and is ${quoted(text)}`);
}

/** A duration like `24h`, in ms. */
export function durationValue(flag: string, text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms > 0) return ms;
  throw new UsageError(`${flag} must be a duration like 90m or 24h, and is ${quoted(text)}`);
}

export function choiceValue<T extends string>(
  flag: string,
  text: string,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`${flag} must be ${choices.join(' or ')}, and is ${quoted(text)}`);
}

export function matchingValue(flag: string, text: string, rule: RegExp, words: string): string {
  if (rule.test(text)) return text;
  throw new UsageError(`${flag} must be ${words}, and is ${quoted(text)}`);
}

/** An interface by name or by what tells which one it is; in its one spelling. */
export function interfaceValue(flag: string, text: string): string {
  const parsed = parseInterfaceSelector(text);
  if ('selector' in parsed) return formatInterfaceSelector(parsed.selector);
  throw new UsageError(`${flag} ${parsed.problem}, and is ${quoted(text)}`);
}

/** Long or odd input is shown short and on one line. */
function quoted(text: string): string {
  const shown = JSON.stringify(text);
  return shown.length <= 60 ? shown : `${shown.slice(0, 57)}…"`;
}
