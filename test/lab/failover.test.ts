/** The holder goes, in each way it can go: who holds next, how long nobody did, never two. */
import assert from 'node:assert/strict';
import { lasting, monotonicMs, until } from './clock.ts';
import { endpoint, metric, metricsOf } from './endpoints.ts';
import { quantile } from './gaps.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { clientGap } from './traffic.ts';

const scenario = scenarios({ ipv6: true });
const runs = 3;

/** Strikes the holder `runs` times and returns the client's longest gaps. */
async function gapsOf(
  scene: Scene,
  strike: (holder: Host) => Promise<void> | void,
  recover: (former: Host) => Promise<void> | void,
): Promise<readonly number[]> {
  const { lab, observer, cluster } = scene;
  const gaps: number[] = [];
  for (let run = 0; run < runs; run++) {
    const holder = await scene.holder();
    const traffic = await scene.traffic({ streams: 2 });
    const struckAt = monotonicMs();
    await strike(holder);
    for (const vip of lab.vips) {
      await observer.waitForHolder(vip, 10_000, (host) => host !== holder.name);
    }
    await lasting(500);
    gaps.push(clientGap(await traffic.stop(), struckAt).lengthMs);
    await recover(holder);
    await cluster.settled();
  }
  return gaps;
}

function assertMedian(gaps: readonly number[], limitMs: number): void {
  const said = gaps.map((gap) => gap.toFixed(0)).join(', ');
  assert.ok(quantile(gaps, 0.5) <= limitMs, `gaps of ${said} ms; the limit is ${limitMs}`);
}

scenario('SIGTERM of the holder costs the client at most 100 ms', async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => holder.agent.signal('SIGTERM'),
    async (former) => {
      const { code } = await former.agent.ended;
      assert.equal(code, 0, 'an orderly end');
      const left = await former.exec(['ip', '-j', 'addr', 'show', 'dev', 'eth0']);
      assert.ok(!left.stdout.includes(scene.lab.vip), 'no address is left behind');
      await former.startAgent();
    },
  );

  assertMedian(gaps, 100);
});

scenario('SIGKILL of the holder costs the client at most 1 s', async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => holder.killAgent(),
    async (former) => {
      await former.startAgent();
    },
  );

  assertMedian(gaps, 1_000);
});

scenario(
  'SIGSTOP of the holder costs at most 1 s, and SIGCONT takes nothing back',
  async (scene) => {
    const gaps = await gapsOf(
      scene,
      (holder) => holder.pauseAgent(),
      async (former) => {
        const heir = await scene.holder();
        former.resumeAgent();
        await lasting(1_500);
        assert.equal((await scene.holder()).name, heir.name, 'it stays where it went');
      },
    );

    assertMedian(gaps, 1_000);
  },
);

scenario("pulling the holder's cable costs the client at most 1 s", async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => scene.lab.switch.unplug(holder.name),
    () => scene.lab.switch.heal(),
  );

  assertMedian(gaps, 1_000);
});

scenario('cutting the holder off in the switch costs the client at most 1 s', async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => scene.lab.switch.cut(holder.name),
    () => scene.lab.switch.heal(),
  );

  assertMedian(gaps, 1_000);
});

scenario('a holder that hears nobody gives the VIP up', async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => scene.lab.switch.oneWay(holder.name, 'in'),
    () => scene.lab.switch.heal(),
  );

  assertMedian(gaps, 2_000);
});

scenario('a holder that nobody hears gives the VIP up', async (scene) => {
  const gaps = await gapsOf(
    scene,
    (holder) => scene.lab.switch.oneWay(holder.name, 'out'),
    () => scene.lab.switch.heal(),
  );

  assertMedian(gaps, 2_000);
});

scenario(
  'a majority without the holder goes on; the holder in the minority is mute',
  async (scene) => {
    const holder = await scene.holder();
    const others = scene.lab.hosts.filter((host) => host !== holder);
    await scene.lab.switch.partition([
      [holder.name],
      [...others.map(({ name }) => name), scene.lab.client.name],
    ]);

    await scene.observer.waitForHolder(scene.lab.vip, 5_000, (host) => host !== holder.name);
    await lasting(1_000);
    const ready = await endpoint(holder, '/readyz');
    const live = await endpoint(holder, '/livez');

    assert.equal(live.status, 200, 'the cut-off agent is alive');
    assert.notEqual(ready.status, 200, 'and says that it cannot serve');
  },
);

scenario('a partition in which nobody has a majority leaves nobody holding', async (scene) => {
  await scene.lab.switch.partition(scene.lab.hosts.map(({ name }) => [name]));
  await lasting(2_000);

  assert.equal(scene.observer.holder(scene.lab.vip), null);
  for (const host of scene.lab.hosts) {
    const status = await scene.cluster.status(host);
    assert.equal(status.cluster.quorum, false, `${host.name} knows that it has no quorum`);
    assert.equal((await endpoint(host, '/livez')).status, 200);
    assert.notEqual((await endpoint(host, '/readyz')).status, 200, 'and serves no purpose');
    assert.equal(metric(await metricsOf(host), 'holdfast_vip_held', [scene.lab.vip]), 0);
  }
});

scenario('transfer moves the VIP within 200 ms', async (scene) => {
  const holder = await scene.holder();
  const traffic = await scene.traffic();

  await holder.must(['transfer']);
  await scene.observer.waitForHolder(scene.lab.vip, 5_000, (host) => host !== holder.name);
  await lasting(500);

  assertMedian([clientGap(await traffic.stop()).lengthMs], 200);
});

for (const how of ['stopAgent', 'killAgent'] as const) {
  scenario(`long-lived connections break within seconds of ${how}`, async (scene) => {
    const holder = await scene.holder();
    const traffic = await scene.traffic({ everyMs: 0, streams: 5 });

    await holder[how]();
    await scene.observer.waitForHolder(scene.lab.vip, 5_000, (host) => host !== holder.name);
    await until(
      async () => {
        const { openStreams, streamEnds } = await traffic.report();
        return openStreams === 5 && streamEnds.length === 5;
      },
      { timeoutMs: 6_000, everyMs: 100, what: 'five ends and five new streams' },
    );
    await traffic.stop();
    await holder.startAgent();
  });
}
