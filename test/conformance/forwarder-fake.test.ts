/** The suite of what forwards, on the fake: that the suite itself is sound. */
import { FakeWorld } from './forwarder-fake.ts';
import { forwarderSuite } from './forwarder-suite.ts';

const worlds = { 4: new FakeWorld(4), 6: new FakeWorld(6) } as const;

forwarderSuite({
  name: 'fake',
  schedulers: ['round-robin', 'weighted', 'source-hash'],
  protocols: ['tcp', 'udp'],
  nudges: true,
  world: (family) => worlds[family],
  open: async () => undefined,
  close: async () => undefined,
});
