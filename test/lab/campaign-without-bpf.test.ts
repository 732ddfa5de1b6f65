/** The campaign's faults of the fence where the kernel refuses bpf(2): nftables guards alone. */
import assert from 'node:assert/strict';
import { faults } from './campaign-faults.ts';
import { seedOf } from './campaign-record.ts';
import { playFault } from './campaign-run.ts';
import { scenarios } from './scene.ts';

const scenario = scenarios({ ipv6: true, bpf: false });

for (const fault of faults.filter(({ alsoWithoutBpf }) => alsoWithoutBpf === true)) {
  scenario(`never two holders without eBPF: ${fault.name}`, async (scene) => {
    const { self } = await scene.cluster.status(await scene.holder());
    assert.deepEqual(self.fences, ['nft', 'lifetime']);
    await playFault(scene, fault, { seed: seedOf('test without eBPF', fault.name, 1) });
  });
}
