/** Forwarding in user space, steered by the real kernel: the whole suite. Needs root. */
import { forwarderSuite } from './forwarder-suite.ts';
import { createNetwork, type Network } from './forwarder-world.ts';
import { ProxyForwarder } from './proxy-forwarder.ts';

let network: Network;
let proxy: ProxyForwarder;

forwarderSuite({
  name: 'proxy',
  schedulers: ['round-robin', 'weighted', 'source-hash', 'least-connections'],
  protocols: ['tcp', 'udp'],
  world: (family) => network.world(family),
  open: async () => {
    network = await createNetwork(() => {
      proxy = new ProxyForwarder();
      return proxy;
    });
  },
  close: async () => {
    await network.close();
    proxy.close();
  },
});
