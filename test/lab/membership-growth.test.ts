/** A cluster grows from one host to five and shrinks back to one, while clients use it. */
import assert from 'node:assert/strict';
import { lasting, until } from './clock.ts';
import type { Host } from './host.ts';
import { Writes } from './membership-writes.ts';
import { type Scene, scenarios } from './scene.ts';
import { clientGap } from './traffic.ts';

const scenario = scenarios({ hosts: 5, members: 1 });

async function voters(scene: Scene, count: number) {
  return until(
    async () => {
      const status = await scene.cluster.settled();
      const voting = status.members.filter(({ role }) => role === 'voter').length;
      return voting === count && status.members.length === count ? status : undefined;
    },
    { timeoutMs: 20_000, everyMs: 100, what: `${count} voters` },
  );
}

async function remove({ cluster, lab }: Scene, victim: Host): Promise<void> {
  const asked = cluster.running().find((host) => host !== victim);
  assert.ok(asked !== undefined);
  await asked.must(['member', 'remove', victim.name]);
  cluster.forget(victim);
  const { stdout } = await victim.exec(['ip', '-j', 'addr', 'show', 'dev', 'eth0']);
  assert.ok(!stdout.includes(`"${lab.vip}"`), `${victim.name} let go`);
  await victim.killAgent();
  // Clients and writers go on for a while on what is left.
  await lasting(700);
}

scenario('1 → 3 → 5: nobody notices, and the VIP stays where it is', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const before = await cluster.settled();
  const traffic = await scene.traffic();
  const writes = Writes.start(cluster);

  for (const name of ['n2', 'n3']) await cluster.join(lab.host(name));
  const three = await voters(scene, 3);
  for (const name of ['n4', 'n5']) await cluster.join(lab.host(name));
  const five = await voters(scene, 5);
  const report = await traffic.stop();
  await writes.stop();

  assert.deepEqual([three.cluster.failuresLeft, five.cluster.failuresLeft], [1, 2]);
  assert.equal(five.cluster.term, before.cluster.term, 'no election');
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  assert.deepEqual(report.failures, []);
  const gap = clientGap(report).lengthMs;
  assert.ok(gap < 500, `gap of ${gap.toFixed(0)} ms`);
});

scenario('5 → 3: two followers go, and the VIP stays where it is', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const before = await cluster.settled();
  const traffic = await scene.traffic();
  const writes = Writes.start(cluster);

  const followers = cluster.running().filter((host) => host !== holder);
  for (const victim of followers.slice(0, 2)) await remove(scene, victim);
  const three = await voters(scene, 3);
  const report = await traffic.stop();
  await writes.stop();

  assert.equal(three.cluster.term, before.cluster.term, 'no election');
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  assert.deepEqual(report.failures, []);
});

scenario('3 → 1: the leader goes first, then its successor', async (scene) => {
  const { lab, cluster, observer } = scene;
  const traffic = await scene.traffic();
  const writes = Writes.start(cluster);

  for (const left of [2, 1]) {
    const leader = await scene.holder();
    await remove(scene, leader);
    await observer.waitForHolder(lab.vip, 5_000, (host) => host !== leader.name);
    await voters(scene, left);
  }
  const report = await traffic.stop();
  await writes.stop();

  const [last] = cluster.running();
  assert.equal((await scene.holder()).name, last?.name);
  const gap = clientGap(report).lengthMs;
  assert.ok(gap < 1_000, `gap of ${gap.toFixed(0)} ms`);
});
