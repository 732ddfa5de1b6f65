/**
 * How a person names the interface of a VIP where one name does not fit all hosts: by its name, its
 * MAC, a subnet of its addresses, or as the one of the default route. Interface names hold no colon
 * (Linux), so a prefix before a colon is always one of these words.
 */
import { canonicalIp, ipFamily } from './ip.ts';

export type InterfaceSelector =
  | { readonly by: 'name'; readonly name: string }
  | { readonly by: 'mac'; readonly mac: string }
  | { readonly by: 'subnet'; readonly network: string; readonly prefixLength: number }
  | { readonly by: 'default-route' };

/** What may be written, for messages and help. */
export const selectorForms = 'a name, mac:ADDRESS, subnet:NETWORK/LENGTH or route:default';

export function parseInterfaceSelector(
  text: string,
): { readonly selector: InterfaceSelector } | { readonly problem: string } {
  const colon = text.indexOf(':');
  if (colon < 0) {
    // Linux: 15 bytes, no slash, no space.
    if (!/^[^\s/]{1,15}$/.test(text)) return { problem: 'must be an interface name' };
    return { selector: { by: 'name', name: text } };
  }
  const word = text.slice(0, colon);
  const value = text.slice(colon + 1);
  if (word === 'mac') return macSelector(value);
  if (word === 'subnet') return subnetSelector(value);
  if (word === 'route' && value === 'default') return { selector: { by: 'default-route' } };
  return { problem: `must be ${selectorForms}` };
}

/** The one text for a selector. */
export function formatInterfaceSelector(selector: InterfaceSelector): string {
  switch (selector.by) {
    case 'name':
      return selector.name;
    case 'mac':
      return `mac:${selector.mac}`;
    case 'subnet':
      return `subnet:${selector.network}/${selector.prefixLength}`;
    default:
      return 'route:default';
  }
}

function macSelector(value: string): ReturnType<typeof parseInterfaceSelector> {
  const mac = value.toLowerCase().replaceAll('-', ':');
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) {
    return { problem: 'must be a MAC address like mac:02:00:00:00:00:01' };
  }
  return { selector: { by: 'mac', mac } };
}

function subnetSelector(value: string): ReturnType<typeof parseInterfaceSelector> {
  const [address = '', length = '', ...rest] = value.split('/');
  const network = canonicalIp(address);
  const family = network === null ? null : ipFamily(network);
  const prefixLength = /^\d{1,3}$/.test(length) ? Number(length) : -1;
  const bits = family === 4 ? 32 : 128;
  if (network === null || rest.length > 0 || prefixLength < 0 || prefixLength > bits) {
    return { problem: 'must be a subnet like subnet:10.0.0.0/24' };
  }
  return { selector: { by: 'subnet', network, prefixLength } };
}
