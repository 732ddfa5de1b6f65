/** API servers come, go, fail and stall; the balancer never makes it worse. */
import assert from 'node:assert/strict';
import { apiServerPort } from './api-server.ts';
import type { ApiServerMode } from './api-server-child.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import { type Scene, scenarios } from './scene.ts';
import { clientGap, perServer } from './traffic.ts';

const scenario = scenarios({});

async function setAll(scene: Scene, mode: ApiServerMode): Promise<void> {
  await Promise.all(scene.servers.map((server) => server.setMode(mode)));
}

type State = string | null;

/** Waits until the holder's status says these states, in the order of the members' names. */
async function waitForStates(scene: Scene, wanted: readonly State[]): Promise<void> {
  let last: readonly State[] = [];
  await until(
    async () => {
      const status = await scene.cluster.status(await scene.holder());
      last = (status.frontends[0]?.backends ?? [])
        .toSorted((a, b) => a.name.localeCompare(b.name))
        .map(({ state }) => state);
      return last.join() === wanted.join();
    },
    { timeoutMs: 10_000, everyMs: 200, what: `backends ${wanted.join()}` },
  ).catch((cause: unknown) => {
    throw new Error(`backends are ${last.join()}, not ${wanted.join()}`, { cause });
  });
}

scenario(
  'every backend answers 500 for 5 s but takes TCP: nothing is refused or reset',
  async (scene) => {
    const traffic = await scene.traffic({ streams: 5 });
    const holder = await scene.holder();

    await setAll(scene, 500);
    const sinceMs = monotonicMs();
    await waitForStates(scene, ['degraded', 'degraded', 'degraded']);
    await lasting(5_000 - (monotonicMs() - sinceMs));
    await setAll(scene, 'ok');
    await waitForStates(scene, ['up', 'up', 'up']);
    const report = await traffic.stop();

    assert.deepEqual(report.failures, []);
    assert.deepEqual(report.streamEnds, []);
    assert.ok(clientGap(report).lengthMs < 200, 'and nobody waited');
    assert.equal((await scene.holder()).name, holder.name);
  },
);

scenario('a drained backend keeps its connections and gets no new one', async (scene) => {
  const holder = await scene.holder();
  const streams = await scene.traffic({ everyMs: 0, streams: 6 });

  await holder.must(['backend', 'drain', 'n2']);
  await waitForStates(scene, ['up', 'draining', 'up']);
  const traffic = await scene.traffic();
  await lasting(1_000);
  const report = await traffic.stop();
  await holder.must(['backend', 'undrain', 'n2']);
  await waitForStates(scene, ['up', 'up', 'up']);
  const kept = await streams.stop();

  assert.deepEqual([...perServer(report).keys()].sort(), ['n1', 'n3']);
  assert.deepEqual(kept.streamEnds, []);
});

scenario('a half-closed connection delivers its answer', async (scene) => {
  const { lab } = scene;
  const program = `
    const { connect } = require('node:net');
    const s = connect({ host: '${lab.vip}', port: ${apiServerPort}, allowHalfOpen: true });
    s.on('data', (d) => process.stdout.write(d)).on('error', (e) => console.log(e.code));
    s.write('sum\\n');
    s.end(Buffer.alloc(1 << 20));`;

  const outcome = await lab.client.exec([process.execPath, '-e', program]);

  assert.equal(outcome.stdout, `${1 << 20}\n`, outcome.stderr);
});
