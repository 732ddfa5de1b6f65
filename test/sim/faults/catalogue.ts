/** Every fault that a seed may choose, by name. */
import type { FaultKind } from '../options.ts';
import { diskFaults } from './disks.ts';
import type { Catalogue } from './fault.ts';
import { hostFaults } from './hosts.ts';
import { kernelFaults } from './kernels.ts';
import { linkFaults } from './links.ts';
import { memberFaults } from './members.ts';
import { operatorFaults } from './operators.ts';

export const catalogue: Catalogue<FaultKind> = {
  ...hostFaults,
  ...linkFaults,
  ...diskFaults,
  ...kernelFaults,
  ...memberFaults,
  ...operatorFaults,
};
