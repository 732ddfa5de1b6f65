/** Forwarding by virtual servers: the whole suite, on a kernel that has them. */
import { createIpvsForwarder } from '../../src/linux/ipvs-forwarder.ts';
import { forwarderSuite } from '../conformance/forwarder-suite.ts';
import { createNetwork, type Network } from '../conformance/forwarder-world.ts';
import { run } from '../conformance/netns.ts';
import { assertInside, atOnce, many, patienceMs } from './inside.ts';

assertInside();
let network: Network;

forwarderSuite({
  name: 'ipvs',
  schedulers: ['round-robin', 'weighted', 'least-connections', 'source-hash'],
  protocols: ['tcp', 'udp'],
  keepsPorts: true,
  // The kernel adds up what its processors have counted every 2 s.
  countsLateMs: 4_000,
  many,
  world: (family) => network.world(family),
  open: async () => {
    run('modprobe ip_vs');
    network = await createNetwork(createIpvsForwarder, { atOnce, patienceMs });
  },
  close: () => network.close(),
});
