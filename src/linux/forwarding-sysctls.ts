/**
 * What forwarding needs of the host beside rules: packets that are not for this host are to be
 * passed on. It is switched on where it is off, and never off again: by then, others may need it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describeError, OperatingError } from '../base/errors.ts';
import type { IpFamily } from '../base/ip.ts';

const FORWARDING: Readonly<Record<IpFamily, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
};

/**
 * Makes this host a router for `family`. One that learns its own IPv6 routes from another router
 * would stop to do so with that: there it is asked to go on.
 */
export function enableForwarding(family: IpFamily): void {
  if (family === 4) stopRedirects();
  if (read(FORWARDING[family]) === '1') return;
  if (family === 6) {
    for (const link of readdirSync('/proc/sys/net/ipv6/conf')) {
      const acceptRa = `net/ipv6/conf/${link}/accept_ra`;
      if (read(acceptRa) === '1') write(acceptRa, '2');
    }
  }
  write(FORWARDING[family], '1');
}

/**
 * A client on the backends' own link would be told of a shorter way, one that goes round the
 * translation. It takes no such advice; but what it is told in vain counts against the limit of the
 * answers that it should get.
 */
function stopRedirects(): void {
  for (const link of readdirSync('/proc/sys/net/ipv4/conf')) {
    const redirects = `net/ipv4/conf/${link}/send_redirects`;
    if (read(redirects) === '1') write(redirects, '0');
  }
}

function read(name: string): string {
  return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
}

function write(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${name}`, value);
  } catch (cause) {
    const dotted = name.replaceAll('/', '.');
    throw new OperatingError({
      code: 'sysctl-refused',
      message: `cannot set ${dotted} to ${value}: ${describeError(cause)}`,
      hint: `set it yourself: sysctl -w ${dotted}=${value}`,
      cause,
    });
  }
}
