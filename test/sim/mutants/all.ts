/** Every mutant that the gate tries. */
import { elections } from './elections.ts';
import { faulty } from './faults.ts';
import type { Mutant } from './hunt.ts';
import { leases } from './leases.ts';
import { logs } from './logs.ts';
import { members } from './members.ts';

export const mutants: readonly Mutant[] = [...elections, ...logs, ...leases, ...members, ...faulty];
