/** The rights that the agent needs of the kernel, and which of them this process lacks. */
import { readFileSync } from 'node:fs';

/** linux/capability.h */
const CAP_NET_ADMIN = 12;
const CAP_NET_RAW = 13;
const CAP_SYS_ADMIN = 21;
const CAP_BPF = 39;

/** Any one of the numbers is enough: before Linux 5.8 CAP_BPF was part of CAP_SYS_ADMIN. */
const NEEDED: readonly { readonly name: string; readonly anyOf: readonly number[] }[] = [
  { name: 'CAP_NET_ADMIN', anyOf: [CAP_NET_ADMIN] },
  { name: 'CAP_NET_RAW', anyOf: [CAP_NET_RAW] },
  { name: 'CAP_BPF', anyOf: [CAP_BPF, CAP_SYS_ADMIN] },
];

/** The names of the capabilities that are missing, for a person. */
export function missingCapabilities(status = readFileSync('/proc/self/status', 'utf8')): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (capability: number): boolean => ((effective >> BigInt(capability)) & 1n) === 1n;
  return NEEDED.filter(({ anyOf }) => !anyOf.some(has)).map(({ name }) => name);
}
