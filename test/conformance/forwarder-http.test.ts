/** Forwarding of HTTP in user space, steered by the real kernel. Needs root. */
import { forwarderSuite } from './forwarder-suite.ts';
import { createNetwork, type Network } from './forwarder-world.ts';
import { HttpForwarder } from './http-forwarder.ts';

let network: Network;

forwarderSuite({
  name: 'http',
  schedulers: ['round-robin', 'weighted', 'source-hash', 'least-connections'],
  // HTTP has no datagrams.
  protocols: ['tcp'],
  nudges: true,
  // No client's port is kept: a backend sees a connection of the holder's own, and who asks is told
  // by a header.
  keepsPorts: false,
  // Each costs a request and its answer, read and written anew.
  many: 1_200,
  world: (family) => network.world(family),
  open: async () => {
    network = await createNetwork(() => new HttpForwarder(), { speaks: 'http' });
  },
  close: () => network.close(),
});
