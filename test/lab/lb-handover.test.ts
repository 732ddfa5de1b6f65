/** Established connections: when they are let go, and that nothing else ends them. */
import assert from 'node:assert/strict';
import { lasting, monotonicMs, until } from './clock.ts';
import {
  allUp,
  aside,
  balancedScene,
  Clients,
  fallMs,
  onEachPath,
  probing,
  waitForStates,
} from './data-paths.ts';
import { Held } from './held.ts';
import type { Host } from './host.ts';
import { residentKb, workersOf } from './processes.ts';
import { type Scene, scenarios } from './scene.ts';
import { Station } from './station.ts';

const scenario = scenarios(balancedScene);

/** The client hears of it with its next packet: a line of a stream's keepalive, each second. */
const nextPacketMs = 1_500;

function hold(scene: Scene, port: number, count: number): Promise<Held> {
  return Held.open(scene.lab.client, { address: scene.lab.vip, port, count });
}

async function movedFrom(scene: Scene, former: Host): Promise<void> {
  await scene.observer.waitForHolder(scene.lab.vip, 10_000, (host) => host !== former.name);
}

scenario(
  'one that refuses TCP loses its connections within seconds, the others none',
  async (s) => {
    await allUp(s);
    const clients = await Clients.start(s, { everyMs: 0, streams: 12 });
    const held = await onEachPath(({ port }) => hold(s, port, 12));
    const since = monotonicMs();

    // It serves those that it has: whoever ends them, it is not the server.
    await s.server(aside).setMode('deaf');
    await lasting(fallMs + nextPacketMs + 500);

    await clients.stop((report) => {
      const ends = report.streamEnds.map(({ server, at }) => ({ server, afterMs: at - since }));
      const wrong = ends.filter(
        ({ server, afterMs }) => server !== aside || afterMs > fallMs + nextPacketMs,
      );
      assert.deepEqual(wrong, []);
      assert.ok(ends.length > 0, 'its own were ended');
      assert.ok(!report.streamServers.includes(aside), 'all of them');
    });
    for (const silent of held) {
      const spoken = await silent.speak(1_000);
      const { ends } = await silent.report();
      await silent.stop();
      const ended = Object.keys(ends);
      assert.equal(spoken.silent, 0, 'with its next packet everybody knows');
      assert.ok(ended.length > 0 && ended.every((end) => end.startsWith(aside)), ended.join());
    }
  },
);

scenario('one that nobody reaches any more loses its connections within seconds', async (s) => {
  await allUp(s);
  const clients = await Clients.start(s, { everyMs: 0, streams: 12 });
  const since = monotonicMs();
  // Silence takes the whole timeout to be noticed.
  const limitMs = fallMs + probing.fall * probing.timeoutMs + nextPacketMs;

  await s.lab.switch.cut(aside);
  await lasting(limitMs + 500);

  await clients.stop((report) => {
    const ends = report.streamEnds.map(({ server, at }) => ({ server, afterMs: at - since }));
    const wrong = ends.filter(({ server, afterMs }) => server !== aside || afterMs > limitMs);
    assert.deepEqual(wrong, []);
    assert.ok(ends.length > 0, 'its own were ended');
    assert.ok(!report.streamServers.includes(aside), 'all of them');
  });
});

for (const { how, count, leave } of [
  {
    how: 'is handed over',
    count: 1_000,
    leave: async (holder: Host) => void (await holder.must(['transfer'])),
  },
  { how: 'loses its holder', count: 200, leave: (holder: Host) => holder.killAgent() },
]) {
  scenario(`the VIP ${how}: ${count} clients know with their next packet`, async (scene) => {
    await allUp(scene);
    const former = await scene.holder();
    const held = await onEachPath(({ port }) => hold(scene, port, count));

    await leave(former);
    await movedFrom(scene, former);

    const spoken = await onEachPath(async ({ dataPath }) => {
      const each = held[dataPath === 'proxy' ? 0 : 1];
      assert.ok(each !== undefined);
      const said = await each.speak(3_000);
      const { open } = await each.report();
      await each.stop();
      return { ...said, open };
    });
    for (const { silent, answered, slowestMs, open } of spoken) {
      assert.deepEqual({ silent, answered, open }, { silent: 0, answered: 0, open: 0 });
      assert.ok(slowestMs < 1_000, `the last of them knew after ${slowestMs.toFixed(0)} ms`);
    }
    if (!former.agentRuns) await former.startAgent();
  });
}

scenario('who does not read holds the server back, and costs the holder nothing', async (scene) => {
  await allUp(scene);
  const holder = await scene.holder();
  const flooded = async (): Promise<number> => {
    const all = await Promise.all(scene.servers.map((server) => server.floodedBytes()));
    return all.reduce((sum, bytes) => sum + bytes, 0);
  };
  const workers = workersOf(holder);
  const before = residentKb(workers);
  const readers = await onEachPath(({ port }) =>
    Station.start({
      namespace: scene.lab.client.namespace,
      program: 'slow-reader-child.ts',
      config: { address: scene.lab.vip, port, count: 10 },
      logFile: scene.lab.logFile(`slow-reader-${port}`),
    }),
  );
  for (const { child } of readers) scene.lab.client.adopt(child);

  let last = -1;
  await until(
    async () => {
      const now = await flooded();
      const isStill = now === last;
      last = now;
      return isStill && now > 0;
    },
    { timeoutMs: 10_000, everyMs: 500, what: 'the floods to stand still' },
  );
  const after = residentKb(workers);
  const read = await Promise.all(readers.map((reader) => reader.request('read', 20 << 20)));
  await Promise.all(readers.map((reader) => reader.stop()));

  assert.ok(after - before < 30_000, `the workers grew from ${before} to ${after} KB`);
  for (const bytes of read) assert.ok((bytes as number) >= 20 << 20, 'and it flows again');
});

scenario('silent connections outlive the flaps, as long as the kernel lets them', async (scene) => {
  await allUp(scene);
  const held = await onEachPath(({ port }) => hold(scene, port, 40));

  for (let turn = 0; turn < 2; turn++) {
    await scene.server(aside).setMode(500);
    await waitForStates(scene, { [aside]: 'down' });
    await scene.server(aside).setMode('ok');
    await allUp(scene);
  }

  for (const each of held) {
    const { ended, silent, answered } = await each.speak(2_000);
    await each.stop();
    assert.deepEqual({ ended, silent, answered }, { ended: {}, silent: 0, answered: 40 });
  }
  const name = 'net.netfilter.nf_conntrack_tcp_timeout_established';
  const { stdout } = await (await scene.holder()).exec(['sysctl', '-n', name]);
  assert.ok(Number(stdout) > 2 * 3_600, `${name} is ${stdout}`);
});
