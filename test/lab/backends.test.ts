/** API servers come, go, fail and stall; the balancer never makes it worse. */
import assert from 'node:assert/strict';
import { apiServerPort } from './api-server.ts';
import type { ApiServerMode } from './api-server-child.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import { metric, metricsOf } from './endpoints.ts';
import { unevenness } from './gaps.ts';
import { type Scene, scenarios } from './scene.ts';
import { changeSpec } from './spec.ts';
import { clientGap, perFailure, perServer } from './traffic.ts';

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

function ask(scene: Scene): ReturnType<Scene['lab']['client']['fetch']> {
  return scene.lab.client.fetch(`line://${scene.lab.vip}:${apiServerPort}/whoami`);
}

/** Has the API's frontend take this path, and waits until the holder says that it does. */
async function take(scene: Scene, path: 'proxy' | 'auto'): Promise<void> {
  await changeSpec(scene, ({ frontends }) => {
    for (const frontend of frontends as { dataPath?: string }[]) frontend.dataPath = path;
  });
  const wanted = path === 'auto' ? 'nftables' : path;
  await until(
    async () => {
      const status = await scene.cluster.status(await scene.holder());
      return status.frontends.every(({ dataPath }) => dataPath === wanted);
    },
    { timeoutMs: 10_000, everyMs: 100, what: `traffic to go by ${wanted}` },
  );
}

scenario('one backend dies and comes back: no client notices', async (scene) => {
  const traffic = await scene.traffic();
  const victim = scene.server('n2');

  await victim.setMode('refuse');
  await waitForStates(scene, ['up', 'down', 'up']);
  await traffic.forget();
  await lasting(1_000);
  const without = await traffic.report();
  await victim.setMode('ok');
  await waitForStates(scene, ['up', 'up', 'up']);
  await traffic.forget();
  await lasting(2_000);
  const after = await traffic.stop();

  assert.deepEqual([...perServer(without).keys()].sort(), ['n1', 'n3']);
  assert.deepEqual(without.failures, []);
  assert.deepEqual(after.failures, []);
  assert.ok(unevenness([...perServer(after).values()]) <= 0.1, 'even again');
});

scenario(
  'by the proxy, a connection is tried on the next backend before anybody knows of the death',
  async (scene) => {
    await take(scene, 'proxy');
    const traffic = await scene.traffic();

    await scene.server('n3').setMode('refuse');
    await lasting(500);
    const report = await traffic.stop();
    await scene.server('n3').setMode('ok');
    await waitForStates(scene, ['up', 'up', 'up']);

    const refused = perFailure(report).get('ECONNREFUSED') ?? 0;
    assert.equal(refused, 0, 'nothing is refused while somebody serves');
    // What was inside the dying server itself is lost with it.
    assert.ok(report.failures.length <= 3, JSON.stringify(report.failures));
    await take(scene, 'auto');
  },
);

scenario(
  'all backends down: refused at once, and served again when they are back',
  async (scene) => {
    await setAll(scene, 'refuse');
    await waitForStates(scene, ['down', 'down', 'down']);
    const holder = await scene.holder();

    const metrics = await metricsOf(holder);
    const outside = await ask(scene);
    const inside = await holder.fetch(`line://${scene.lab.vip}:${apiServerPort}/whoami`);

    assert.equal(metric(metrics, 'holdfast_backend_up'), 0, 'and the metrics say so');
    assert.equal(outside.error, 'ECONNREFUSED');
    assert.ok(outside.tookMs < 300, `refused after ${outside.tookMs} ms`);
    assert.equal(inside.error, 'ECONNREFUSED');
    await setAll(scene, 'ok');
    await waitForStates(scene, ['up', 'up', 'up']);
    assert.equal((await ask(scene)).status, 200);
    assert.equal((await scene.holder()).name, holder.name, 'the VIP did not move for it');
  },
);

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

scenario('401 and 403 count as up: anonymous requests are refused, no more', async (scene) => {
  await scene.server('n1').setMode(401);
  await scene.server('n2').setMode(403);
  await lasting(3_500);
  await waitForStates(scene, ['up', 'up', 'up']);

  const status = await scene.cluster.status(await scene.holder());
  const reasons = status.frontends[0]?.backends.map(({ reason }) => reason) ?? [];
  assert.equal(reasons.filter((reason) => reason.includes('anonymous refused')).length, 2);
  await setAll(scene, 'ok');
});

scenario('a backend that takes connections and never answers is left out', async (scene) => {
  await scene.server('n2').setMode('hang');
  await waitForStates(scene, ['up', 'down', 'up']);
  const traffic = await scene.traffic();
  await lasting(1_000);
  const report = await traffic.stop();

  assert.deepEqual([...perServer(report).keys()].sort(), ['n1', 'n3']);
  assert.deepEqual(report.failures, []);
  await scene.server('n2').setMode('ok');
  await waitForStates(scene, ['up', 'up', 'up']);
});

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
