/** On five nodes: each fault of the campaign once that takes another course there than on three. */
import { faults } from './campaign-faults.ts';
import { seedOf } from './campaign-record.ts';
import { playFault } from './campaign-run.ts';
import { scenarios } from './scene.ts';

/** The campaign has 500 on three nodes and on five. */
const pauses = 3;
const scenario = scenarios({ hosts: 5, ipv6: true });

for (const fault of faults.filter(({ alsoOnFive }) => alsoOnFive === true)) {
  scenario(`never two holders of five nodes: ${fault.name}`, async (scene) => {
    await playFault(scene, fault, { seed: seedOf('test of five', fault.name, 1), pauses });
  });
}
