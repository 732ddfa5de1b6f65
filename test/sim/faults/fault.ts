/** What a fault is to those who choose one: something that befalls the world, if it can at all. */

import type { Faults } from '../faults.ts';
import type { SimHost } from '../host.ts';
import type { FaultKind } from '../options.ts';

/**
 * Does it; false if the world is such that it would have been nothing. Whoever only asks somebody
 * for something returns `asked`: then the answer tells whether it was anything.
 */
export type Fault = (faults: Faults) => boolean | 'asked';

export type Catalogue<Kind extends FaultKind> = Readonly<Record<Kind, Fault>>;

/** For the trace. */
export function names(hosts: readonly SimHost[]): string {
  return hosts.map((host) => host.id).join(',');
}
