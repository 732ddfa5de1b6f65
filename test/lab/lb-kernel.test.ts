/** Real agents that forward in the kernel: what clients see of it, and what `status` says. */
import assert from 'node:assert/strict';
import { until } from './clock.ts';
import { unevenness } from './gaps.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { perServer } from './traffic.ts';

const scenario = scenarios({});
const member = 'kube-apiserver';

interface Path {
  readonly dataPath: string;
  readonly reason: string;
  readonly connections: readonly number[];
  readonly states: readonly string[];
}

async function pathOn(scene: Scene, host: Host): Promise<Path> {
  const { frontends } = await scene.cluster.status(host);
  const frontend = frontends.find(({ name }) => name === member);
  assert.ok(frontend !== undefined);
  const { dataPath, dataPathReason: reason, backends } = frontend;
  return {
    dataPath,
    reason: reason ?? '',
    connections: backends.map(({ connections }) => connections ?? 0),
    states: backends.map(({ state }) => state ?? ''),
  };
}

/** Waits until a host says that traffic goes this way, and why. */
function waitForPath(scene: Scene, host: Host, wanted: string, why: RegExp): Promise<void> {
  return until(
    async () => {
      const { dataPath, reason } = await pathOn(scene, host);
      return dataPath === wanted && why.test(reason);
    },
    { timeoutMs: 25_000, everyMs: 200, what: `${host.name} to balance by ${wanted}: ${why}` },
  ).then(() => undefined);
}

const TRUSTED = /auto: a connection through the kernel to n\d, n\d succeeded/;

scenario('auto takes the kernel on every host, spreads evenly, and says so', async (scene) => {
  for (const host of scene.lab.hosts) await waitForPath(scene, host, 'nftables', TRUSTED);
  const holder = await scene.holder();
  const traffic = await scene.traffic({ streams: 6 });
  await until(async () => (await traffic.report()).successes.length >= 600, {
    timeoutMs: 20_000,
    what: '600 connections',
  });
  await until(
    async () => {
      const { connections } = await pathOn(scene, holder);
      return connections.reduce((sum, each) => sum + each, 0) >= 6;
    },
    { timeoutMs: 5_000, what: 'the six streams in status' },
  );
  const report = await traffic.stop();

  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.streamEnds, []);
  const shares = [...perServer(report).values()];
  assert.equal(shares.length, 3);
  assert.ok(unevenness(shares) <= 0.1, `${shares}`);
});

scenario(
  'a firewall that drops what is passed on: the proxy takes over, and back',
  async (scene) => {
    const holder = await scene.holder();
    await waitForPath(scene, holder, 'nftables', TRUSTED);
    const nft = async (...args: readonly string[]): Promise<void> => {
      const outcome = await holder.exec(['nft', ...args]);
      assert.equal(outcome.code, 0, outcome.stderr);
    };

    await nft('add', 'table', 'inet', 'firewall');
    const drop = '{ type filter hook forward priority 0; policy drop; }';
    await nft('add', 'chain', 'inet', 'firewall', 'forward', drop);
    await waitForPath(
      scene,
      holder,
      'proxy',
      /auto: a firewall .* drops what the kernel passes on/,
    );
    const traffic = await scene.traffic({ streams: 3 });
    const { states } = await pathOn(scene, holder);
    await nft('delete', 'table', 'inet', 'firewall');
    await waitForPath(scene, holder, 'nftables', TRUSTED);
    const report = await traffic.stop();

    assert.deepEqual(states, ['up', 'up', 'up']);
    assert.equal(perServer(report).size, 3, 'remote backends were served all the time');
    assert.deepEqual(report.failures, [], 'and nobody noticed the way back');
    assert.deepEqual(report.streamEnds, []);
  },
);
