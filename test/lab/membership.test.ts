/** Members come and go under traffic. */
import assert from 'node:assert/strict';
import { lasting, until } from './clock.ts';
import { scenarios } from './scene.ts';
import { failure } from './shell.ts';
import { clientGap, perServer } from './traffic.ts';

const scenario = scenarios({ hosts: 5, members: 3 });

scenario(
  'two hosts join under traffic: no leader change, and both become backends',
  async (scene) => {
    const { lab, cluster } = scene;
    const before = await cluster.settled();
    const traffic = await scene.traffic();

    await cluster.join(lab.host('n4'));
    const four = await cluster.settled();
    await cluster.join(lab.host('n5'));
    const five = await until(
      async () => {
        const status = await cluster.settled();
        return status.members.every(({ role }) => role === 'voter') ? status : undefined;
      },
      { timeoutMs: 15_000, everyMs: 200, what: 'five voters' },
    );
    await until(async () => perServer(await traffic.report()).size === 5, {
      timeoutMs: 10_000,
      what: 'answers of five backends',
    });
    const report = await traffic.stop();

    const voters = four.members.filter(({ role }) => role === 'voter').length;
    assert.equal(voters, 3, 'four voters survive no more than three: the fourth waits');
    assert.equal(five.members.length, 5);
    assert.equal(five.cluster.term, before.cluster.term, 'the leader stayed');
    assert.deepEqual(report.failures, []);
    const gap = clientGap(report).lengthMs;
    assert.ok(gap < 500, `gap of ${gap.toFixed(0)} ms`);
  },
);

scenario('a follower is removed: it stops, and is refused from then on', async (scene) => {
  const { lab, cluster } = scene;
  const leader = await scene.holder();
  const victim = lab.hosts.find((host) => host !== leader);
  assert.ok(victim !== undefined);
  const traffic = await scene.traffic();

  await leader.must(['member', 'remove', victim.name]);
  cluster.forget(victim);
  const status = await cluster.settled();
  await lasting(1_000);
  const report = await traffic.stop();

  assert.ok(!status.members.some(({ name }) => name === victim.name));
  assert.deepEqual(report.failures, []);
  assert.equal((await scene.holder()).name, leader.name);
  if (victim.agentRuns) {
    const seen = await cluster.status(victim);
    assert.notEqual(seen.self.role, 'leader');
    await victim.stopAgent();
  }
  await victim.startAgent().catch(() => undefined);
  await lasting(1_500);
  const after = await cluster.settled();
  assert.ok(!after.members.some(({ name }) => name === victim.name), 'it stays out');
  assert.equal(after.cluster.term, status.cluster.term, 'and disturbs nobody');
  await victim.killAgent();
});

scenario('the leader is removed: the VIP moves, and the removed host lets go', async (scene) => {
  const { lab, cluster } = scene;
  const leader = await scene.holder();
  const other = cluster.running().find((host) => host !== leader);
  assert.ok(other !== undefined);

  const outcome = await other.cli(['member', 'remove', leader.name]);
  assert.equal(outcome.code, 0, failure(outcome));
  cluster.forget(leader);
  await scene.observer.waitForHolder(lab.vip, 10_000, (host) => host !== leader.name);
  const status = await cluster.settled();

  assert.ok(!status.members.some(({ name }) => name === leader.name));
  const links = await leader.exec(['ip', '-j', 'addr', 'show', 'dev', 'eth0']);
  assert.ok(!links.stdout.includes(`"${lab.vip}"`), 'the address is gone from the removed host');
  await leader.killAgent();
});

scenario('a host leaves by itself, and the last majority is not given away', async (scene) => {
  const { cluster } = scene;
  const leaver = cluster.running().find((host) => host.name !== 'n1');
  assert.ok(leaver !== undefined);

  await leaver.must(['leave']);
  cluster.forget(leaver);
  const status = await cluster.settled();
  assert.ok(!status.members.some(({ name }) => name === leaver.name));
  await leaver.killAgent();

  const [left, victim] = cluster.running();
  assert.ok(left !== undefined && victim !== undefined);
  const verdict = await left.cli(['member', 'can-stop', left.name]);
  assert.equal(verdict.code, 1, failure(verdict));
});
