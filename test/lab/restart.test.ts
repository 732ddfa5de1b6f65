/** Hosts are restarted: one after the other, and all at once. */
import assert from 'node:assert/strict';
import { until } from './clock.ts';
import { endpoint } from './endpoints.ts';
import { scenarios } from './scene.ts';
import { clientGap } from './traffic.ts';

const scenario = scenarios({});

scenario('a follower that is restarted disturbs nobody', async (scene) => {
  const { lab, cluster } = scene;
  const holder = await scene.holder();
  const before = await cluster.settled();
  const traffic = await scene.traffic({ streams: 3 });

  for (const host of lab.hosts.filter((candidate) => candidate !== holder)) {
    await host.stopAgent();
    await host.startAgent();
    await cluster.settled();
    await host.killAgent();
    await host.startAgent();
    await cluster.settled();
  }
  const report = await traffic.stop();

  const after = await cluster.settled();
  assert.equal(after.cluster.term, before.cluster.term, 'no election');
  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.streamEnds, []);
});

scenario('every host is restarted in turn, the holder included', async (scene) => {
  const { lab, cluster } = scene;
  const traffic = await scene.traffic();

  for (const host of lab.hosts) {
    await host.stopAgent();
    await host.startAgent();
    await cluster.settled();
  }

  const gap = clientGap(await traffic.stop());
  assert.ok(gap.lengthMs < 1_000, `gap of ${gap.lengthMs.toFixed(0)} ms`);
});

for (const how of ['stopped', 'killed'] as const) {
  scenario(`all hosts ${how} at once come back with all they knew`, async (scene) => {
    const { lab, cluster } = scene;
    const before = await cluster.settled();
    const spec = await lab.hosts[0]?.must(['get', 'spec']);

    const end = how === 'stopped' ? 'stopAgent' : 'killAgent';
    await Promise.all(lab.hosts.map((host) => host[end]()));
    await Promise.all(lab.hosts.map((host) => host.startAgent()));
    const after = await cluster.settled();

    assert.equal(after.cluster.id, before.cluster.id);
    assert.ok((after.cluster.term ?? 0) > (before.cluster.term ?? 0));
    assert.equal(await lab.hosts[0]?.must(['get', 'spec']), spec);
  });
}

scenario('a cluster of which only one host is back serves nothing and says so', async (scene) => {
  const { lab, cluster } = scene;
  await Promise.all(lab.hosts.map((host) => host.killAgent()));
  const [first, ...others] = lab.hosts;
  assert.ok(first !== undefined);

  await first.startAgent();
  const status = await until(
    async () => {
      const answer = await cluster.status(first);
      // A busy host may need longer for its first answer than status waits for it.
      return answer.view.kind === 'offline' ? false : answer;
    },
    { timeoutMs: 10_000, everyMs: 100, what: 'the lone agent to answer' },
  );
  const check = await first.cli(['status', '--check']);
  const ready = await endpoint(first, '/readyz');
  await Promise.all(others.map((host) => host.startAgent()));
  await cluster.settled();

  assert.equal(status.cluster.leader, null);
  assert.equal(status.cluster.quorum, false);
  assert.equal(check.code, 1);
  assert.notEqual(ready.status, 200, 'alive, but of no use alone');
  assert.equal((await first.cli(['status', '--check'])).code, 0);
});
