/** Forwarding by nftables, on the real kernel: the whole suite. Needs root. */
import { slotsOf } from '../../src/lb/forwarding-slots.ts';
import { createNftForwarder } from '../../src/linux/nft-forwarder.ts';
import { forwarderSuite } from './forwarder-suite.ts';
import { createNetwork, type Network } from './forwarder-world.ts';

let network: Network;

forwarderSuite({
  name: 'nftables',
  schedulers: ['round-robin', 'weighted', 'source-hash'],
  protocols: ['tcp', 'udp'],
  nudges: true,
  keepsPorts: true,
  world: (family) => network.world(family),
  open: async () => {
    network = await createNetwork(() => createNftForwarder(slotsOf));
  },
  close: () => network.close(),
});
