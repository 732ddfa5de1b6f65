/** Each fault of the campaign once, but for those that failover.test.ts plays. */
import { faults } from './campaign-faults.ts';
import { seedOf } from './campaign-record.ts';
import { playFault } from './campaign-run.ts';
import { scenarios } from './scene.ts';

/** Enough to land in each part of the renewal; the campaign has 500. */
const pauses = 5;
const scenario = scenarios({ ipv6: true });

for (const fault of faults.filter(({ testedInFailover }) => testedInFailover !== true)) {
  scenario(`never two holders: ${fault.name}`, async (scene) => {
    await playFault(scene, fault, { seed: seedOf('test', fault.name, 1), pauses });
  });
}
