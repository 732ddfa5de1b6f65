/** What the probes find, and what follows from it, on every data path at once. */
import assert from 'node:assert/strict';
import { statusOf } from './agent-view.ts';
import { apiServerPort } from './api-server.ts';
import type { ApiServerMode } from './api-server-child.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import {
  allUp,
  aside,
  backendName,
  balancedScene,
  Clients,
  fallMs,
  type LabFrontend,
  members,
  onEachPath,
  ports,
  probing,
  servers,
  silentFallMs,
  statesOn,
  waitForStates,
} from './data-paths.ts';
import { metric, metricsOf } from './endpoints.ts';
import { unevenness } from './gaps.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { changeSpec } from './spec.ts';
import { perServer } from './traffic.ts';
import type { TrafficReport } from './traffic-child.ts';

const scenario = scenarios(balancedScene);

async function setAll(scene: Scene, mode: ApiServerMode): Promise<void> {
  await Promise.all(scene.servers.map((server) => server.setMode(mode)));
}

/** What the client began at `since` or later and had no answer to, or from `server`. */
function ill(report: TrafficReport, since: number, server = ''): readonly unknown[] {
  return [
    ...report.failures.filter(({ started }) => started >= since),
    ...report.successes.filter((each) => each.server === server && each.started >= since),
  ];
}

async function reasonOn(host: Host, backend: string): Promise<readonly string[]> {
  const { frontends } = await statusOf(host);
  return frontends.flatMap(({ backends }) =>
    backends.filter(({ name }) => name === backend).map(({ reason }) => reason),
  );
}

scenario('a backend that dies gets no connection after one fall, and is back', async (scene) => {
  await allUp(scene);
  const holder = await scene.holder();
  const clients = await Clients.start(scene);
  const diedAt = monotonicMs();

  await scene.server(aside).setMode('refuse');
  await lasting(fallMs + 500);

  await clients.stop((report, dataPath) => {
    assert.deepEqual(ill(report, diedAt + fallMs, aside), []);
    const refused = report.failures.filter(({ reason }) => reason === 'ECONNREFUSED');
    if (dataPath === 'proxy') assert.deepEqual(refused, [], 'the next backend was tried');
  });
  await waitForStates(scene, { [aside]: 'down' });
  const metrics = await metricsOf(holder);
  for (const reason of await reasonOn(holder, backendName(scene, aside))) {
    assert.match(reason, /refused/);
    assert.ok(holder.agentLog.includes(reason), `the log says ${reason}`);
  }
  for (const { dataPath } of ports) {
    const labels = [`frontend="${dataPath}"`, `backend="${backendName(scene, aside)}"`];
    assert.equal(metric(metrics, 'holdfast_backend_up', labels), 0);
    assert.equal(metric(metrics, 'holdfast_backend_state', [...labels, 'state="down"']), 1);
  }
  await scene.server(aside).setMode('ok');
  await allUp(scene);
  const again = await Clients.start(scene);
  await lasting(1_500);
  await again.stop((report) => {
    assert.deepEqual(report.failures, []);
    assert.ok(unevenness([...perServer(report).values()]) <= 0.1, 'even again');
    assert.equal(perServer(report).size, 4);
  });
});

scenario('one that answers 500 gets no new connection, and keeps those it has', async (scene) => {
  await allUp(scene);
  const holder = await scene.holder();
  const clients = await Clients.start(scene, { streams: 8 });
  const since = monotonicMs();

  await scene.server(aside).setMode(500);
  await waitForStates(scene, { [aside]: 'down' });
  await lasting(Math.max(0, since + fallMs + 500 - monotonicMs()));

  const [reason = ''] = await reasonOn(holder, backendName(scene, aside));
  assert.match(reason, /500/);
  assert.ok(holder.agentLog.includes(reason), 'the log says why');
  await clients.stop((report) => {
    assert.deepEqual(report.failures, []);
    assert.deepEqual(report.streamEnds, []);
    assert.ok(report.streamServers.includes(aside), 'one of the streams was its own');
    assert.deepEqual(ill(report, since + fallMs, aside), []);
  });
});

scenario('401 and 403 count as up, and the reason says so', async (scene) => {
  await scene.server('n1').setMode(401);
  await scene.server(aside).setMode(403);
  await lasting((probing.fall + 1) * probing.intervalMs);
  await allUp(scene);

  const holder = await scene.holder();
  for (const backend of ['n1', backendName(scene, aside)]) {
    const reasons = await reasonOn(holder, backend);
    assert.equal(reasons.length, ports.length);
    for (const reason of reasons) assert.match(reason, /anonymous refused/);
  }
});

scenario('all are slow to say that they are ready: they go on serving, degraded', async (scene) => {
  await allUp(scene);
  const clients = await Clients.start(scene, { streams: 8 });
  const degraded = Object.fromEntries([...members, aside].map((host) => [host, 'degraded']));

  await setAll(scene, 'slow');
  await waitForStates(scene, degraded);
  await lasting(3_000);
  await waitForStates(scene, degraded);
  await setAll(scene, 'ok');
  await allUp(scene);

  await clients.stop((report) => {
    assert.deepEqual(report.failures, []);
    assert.deepEqual(report.streamEnds, []);
    assert.deepEqual(servers(report), [...members, aside]);
  });
});

scenario('all are down: refused at once from anywhere, and served again unasked', async (scene) => {
  await allUp(scene);
  const holder = await scene.holder();
  const askers = [scene.lab.client, holder, scene.lab.host(aside)];
  const down = Object.fromEntries([...members, aside].map((host) => [host, 'down']));

  await setAll(scene, 'refuse');
  await waitForStates(scene, down);
  await onEachPath(async ({ port }) => {
    for (const from of askers) {
      const { error, tookMs } = await from.fetch(`line://${scene.lab.vip}:${port}/whoami`);
      assert.equal(error, 'ECONNREFUSED', `from ${from.name}`);
      assert.ok(tookMs < 300, `${from.name} was refused after ${tookMs} ms`);
    }
  });
  await setAll(scene, 'ok');
  const backAt = monotonicMs();
  await onEachPath(async ({ port }) => {
    await until(
      async () => {
        const url = `line://${scene.lab.vip}:${port}/whoami`;
        return (await scene.lab.client.fetch(url)).status === 200;
      },
      { timeoutMs: 10_000, what: 'an answer' },
    );
    const tookMs = monotonicMs() - backAt;
    const limitMs = probing.rise * probing.intervalMs + 2_000;
    assert.ok(tookMs < limitMs, `back after ${tookMs} ms`);
  });
  assert.equal((await scene.holder()).name, holder.name, 'the VIP did not move for it');
});

scenario('one that is ready every second time does not move at all', async (scene) => {
  await allUp(scene);
  const holder = await scene.holder();
  const moves = (): number => holder.agentLog.split('lb.backend').length;
  const clients = await Clients.start(scene, { streams: 8 });
  const before = moves();

  await scene.server(aside).setMode('flap');
  await lasting(10 * probing.intervalMs);
  const states = Object.values(await statesOn([holder]));
  const [reason = ''] = await reasonOn(holder, backendName(scene, aside));

  assert.equal(moves(), before, 'not a single transition');
  assert.deepEqual([...new Set(states)], ['up']);
  assert.match(reason, /200|500/);
  await clients.stop((report) => {
    assert.deepEqual(report.failures, []);
    assert.deepEqual(report.streamEnds, []);
    assert.deepEqual(servers(report), [...members, aside]);
  });
});

scenario('a new holder knows at once whom not to choose', async (scene) => {
  await allUp(scene);
  const former = await scene.holder();
  await scene.server(aside).setMode(500);
  await waitForStates(scene, { [aside]: 'down' });
  const clients = await Clients.start(scene);

  await former.must(['transfer']);
  await scene.observer.waitForHolder(scene.lab.vip, 10_000, (host) => host !== former.name);
  await lasting(1_500);

  await clients.stop((report) => {
    assert.deepEqual(servers(report), members);
  });
});

scenario(
  'one that hangs is left in 30 s; a flapping one meanwhile loses nothing',
  async (scene) => {
    await allUp(scene);
    const clients = await Clients.start(scene, { streams: 12 });
    const hungAt = monotonicMs();

    await scene.server(aside).setMode('hang');
    await waitForStates(scene, { [aside]: 'down' });
    await clients.look((report) => {
      assert.deepEqual(report.streamEnds, [], 'it may come to itself');
      assert.ok(report.streamServers.includes(aside), 'one of the streams is its own');
    });
    for (let turn = 0; turn < 4; turn++) {
      await scene.server('n2').setMode(500);
      await waitForStates(scene, { [aside]: 'down', n2: 'down' });
      await scene.server('n2').setMode('ok');
      await waitForStates(scene, { [aside]: 'down' });
    }
    await clients.look((report) => {
      assert.deepEqual(report.streamEnds, [], 'others are nobody’s business');
      assert.deepEqual(ill(report, hungAt + silentFallMs, aside), []);
    });
    await lasting(Math.max(0, hungAt + 36_000 - monotonicMs()));

    await clients.stop((report) => {
      const ends = report.streamEnds.map(({ server, at }) => ({ server, afterMs: at - hungAt }));
      const wrong = ends.filter(({ server, afterMs }) => server !== aside || afterMs < 29_000);
      assert.deepEqual(wrong, [], 'only those of the hung one, and not sooner');
      assert.ok(ends.length > 0, 'it was left');
      assert.ok(!report.streamServers.includes(aside), 'by everybody');
    });
  },
);

async function prefer(scene: Scene, whom: 'any' | 'local'): Promise<void> {
  await changeSpec(scene, (spec) => {
    for (const frontend of spec.frontends as LabFrontend[]) frontend.prefer = whom;
  });
}

/** Waits until a host says of every frontend that it prefers its own server, and uses it. */
function prefersItself(host: Host): Promise<unknown> {
  return until(
    async () => {
      const { frontends } = await statusOf(host);
      const said = `prefer local: new connections go to ${host.name}`;
      return frontends.every(({ dataPathReason }) => dataPathReason.endsWith(said));
    },
    { timeoutMs: 10_000, everyMs: 100, what: `${host.name} to prefer itself` },
  );
}

scenario(
  'prefer local: the holder serves, while it may; its clients keep their addresses',
  async (s) => {
    await allUp(s);
    const holder = await s.holder();
    await prefer(s, 'local');
    await prefersItself(holder);
    const clients = await Clients.start(s, { streams: 4 });
    const others = [...members, aside].filter((name) => name !== holder.name);

    await lasting(500);
    await clients.look((report) => {
      assert.deepEqual(servers(report), [holder.name]);
      assert.deepEqual([...new Set(report.streamServers)], [holder.name]);
    });
    const { stdout } = await holder.exec(['ss', '-Htn', `sport = :${apiServerPort}`]);
    const himself = new RegExp(`${s.lab.client.address}\\]?:\\d+ *$`, 'm');
    assert.match(stdout, himself, 'nobody came as himself');

    const illAt = monotonicMs();
    await s.server(holder.name).setMode(500);
    await waitForStates(s, { [holder.name]: 'down' });
    await lasting(Math.max(0, illAt + fallMs + 500 - monotonicMs()));
    await clients.look((report) => {
      assert.deepEqual(report.failures, []);
      assert.deepEqual(report.streamEnds, [], 'established connections stay');
      assert.deepEqual(ill(report, illAt + fallMs, holder.name), []);
      assert.deepEqual(servers(report), [...others, holder.name].sort(), 'all others serve');
    });

    await s.server(holder.name).setMode('ok');
    await allUp(s);
    await clients.forget();
    await lasting(500);
    await clients.look((report) => assert.deepEqual(servers(report), [holder.name], 'again'));

    await holder.must(['transfer']);
    await s.observer.waitForHolder(s.lab.vip, 10_000, (host) => host !== holder.name);
    const next = await s.holder();
    await prefersItself(next);
    await clients.forget();
    await lasting(500);
    await clients.stop((report) => assert.deepEqual(servers(report), [next.name], 'the next one'));
    await prefer(s, 'any');
  },
);
