/** A cluster of one on a real store and a real clock: a log that grows as fast as a disk takes. */
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { bootstrapSnapshot } from '../../../src/cluster/bootstrap.ts';
import type { Command } from '../../../src/cluster/command.ts';
import { ClusterNode } from '../../../src/cluster/node.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { createDataDir } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'a' };

export function makeLoneNode(dir: string): Promise<void> {
  const first = bootstrapSnapshot({
    clusterId: 'c1',
    clusterName: 'test',
    spec: defaultSpec({
      vips: [{ address: '10.0.0.100', interface: null }],
      vipPort: 6443,
      backendPort: 6443,
      frontends: [],
    }),
    founder: {
      id: 'a',
      name: 'a',
      address: 'a:7443',
      publicKeyHash: 'key',
      version: '1.0.0',
      certExpires: '',
    },
    tokens: [],
  });
  return createDataDir(dir, identity, first);
}

export interface LoneNode extends AsyncDisposable {
  readonly node: ClusterNode;
  /** Resolves with why the node could not go on. */
  readonly failed: Promise<unknown>;
}

/** Starts the node of `dir`; resolves when it leads. It waits for room as the agent does. */
export async function startLoneNode(dir: string): Promise<LoneNode> {
  const clock = systemClock();
  const storage = await openLogStorage(dir, { expected: identity, roomWait: clock });
  const { promise: failed, resolve: onFatal } = Promise.withResolvers<unknown>();
  const node = new ClusterNode(
    { selfId: 'a' },
    {
      clock,
      storage,
      transport: { send: () => undefined, setPeers: () => undefined },
      sink: { update: () => undefined },
      log: silentLogger,
      rng: prng(1),
      yieldToIo: (callback) => void setImmediate(() => setImmediate(callback)),
      onFatal,
    },
  );
  const { promise: leads, resolve } = Promise.withResolvers<void>();
  const unwatch = node.onView(({ ownTermApplied }) => ownTermApplied && resolve());
  node.start();
  await Promise.race([leads, failed]);
  unwatch();
  return { node, failed, [Symbol.asyncDispose]: () => node.stop() };
}

/** A small change of the state, another one for each number. */
export function smallChange(number: number): Command {
  return {
    type: 'update-member',
    id: 'a',
    address: 'a:7443',
    version: `1.0.${number}`,
    formatVersion: 1,
    certExpires: '',
    macs: [],
  };
}
