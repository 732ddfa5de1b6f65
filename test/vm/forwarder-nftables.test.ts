/** Forwarding by nftables: the whole suite, on Debian's own kernel. */
import { slotsOf } from '../../src/lb/forwarding-slots.ts';
import { createNftForwarder } from '../../src/linux/nft-forwarder.ts';
import { forwarderSuite } from '../conformance/forwarder-suite.ts';
import { createNetwork, type Network } from '../conformance/forwarder-world.ts';
import { assertInside, atOnce, many, patienceMs } from './inside.ts';

assertInside();
let network: Network;

forwarderSuite({
  name: 'nftables',
  schedulers: ['round-robin', 'weighted', 'source-hash'],
  protocols: ['tcp', 'udp'],
  keepsPorts: true,
  many,
  world: (family) => network.world(family),
  open: async () => {
    network = await createNetwork(() => createNftForwarder(slotsOf), { atOnce, patienceMs });
  },
  close: () => network.close(),
});
