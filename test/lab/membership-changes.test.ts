/** Learners that never arrive, removals that cost too much, hosts that move, members set aside. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MemberStatus } from '../../src/cluster/status-document.ts';
import { lasting, until } from './clock.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { failure } from './shell.ts';
import { clientGap } from './traffic.ts';

const scenario = scenarios({ hosts: 4, members: 3 });

async function followers(scene: Scene): Promise<readonly [Host, Host]> {
  const holder = await scene.holder();
  const [one, two] = scene.cluster.running().filter((host) => host !== holder);
  assert.ok(one !== undefined && two !== undefined);
  return [one, two];
}

/** As the leader sees it, whether or not everybody is there. */
async function member(scene: Scene, name: string): Promise<MemberStatus | undefined> {
  const leader = await scene.cluster.leader();
  if (leader === null) throw new Error('nobody leads');
  const { members } = await scene.cluster.status(leader);
  return members.find((each) => each.name === name);
}

scenario('a learner that never catches up hurts nobody and can be removed', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const before = await cluster.settled();
  const late = lab.host('n4');
  const traffic = await scene.traffic();

  await late.must(cluster.joinArgs(late));
  await lab.switch.cut(late.name);
  await late.startAgent();
  await lasting(2_000);
  const promote = await holder.cli(['member', 'promote', late.name]);
  const during = await cluster.settled();
  await holder.must(['member', 'remove', late.name]);
  await late.killAgent();
  const after = await cluster.settled();
  const report = await traffic.stop();
  await lab.switch.heal();
  await late.must(['reset', '--yes']);

  assert.match(promote.stderr, /does not have the whole log yet/);
  assert.equal(during.members.find(({ name }) => name === late.name)?.role, 'learner');
  assert.equal(during.cluster.failuresLeft, 1, 'it counts for nothing');
  assert.deepEqual(
    after.members.map(({ id }) => id),
    before.members.map(({ id }) => id),
  );
  assert.equal(after.cluster.term, before.cluster.term);
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  const lostToN4 = report.failures.length / (report.failures.length + report.successes.length);
  assert.ok(lostToN4 < 0.3, `${report.failures.length} failures while its backend was cut off`);
});

scenario('a follower is removed while it is cut off, and returns in vain', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const [victim] = await followers(scene);
  const before = await cluster.settled();

  await lab.switch.cut(victim.name);
  await until(async () => (await member(scene, victim.name))?.reachable === false, {
    timeoutMs: 5_000,
    what: `${victim.name} to be missed`,
  });
  await holder.must(['member', 'remove', victim.name]);
  cluster.forget(victim);
  await lasting(1_500);
  await lab.switch.heal();
  await lasting(2_000);
  const own = await cluster.status(victim);
  const after = await cluster.settled();

  assert.equal(own.cluster.quorum, false);
  assert.equal(after.cluster.term, before.cluster.term, 'no election');
  assert.equal(after.members.length, 2);
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  await victim.killAgent();
  await victim.must(['reset', '--yes']);
  await cluster.join(victim, holder);
  await until(async () => (await member(scene, victim.name))?.role === 'voter', {
    timeoutMs: 10_000,
    what: `${victim.name} to vote again`,
  });
});

scenario('a learner is promoted to an even number only by hand, with a warning', async (scene) => {
  const { lab, cluster } = scene;
  const fourth = lab.host('n4');
  await cluster.join(fourth);
  await cluster.settled();
  await lasting(1_000);
  const waiting = await member(scene, 'n4');

  const outcome = await fourth.cli(['member', 'promote', 'n4']);
  assert.equal(outcome.code, 0, failure(outcome));
  const promoted = await member(scene, 'n4');
  await fourth.must(['leave']);
  cluster.forget(fourth);
  await fourth.killAgent();
  await fourth.must(['reset', '--yes']);

  assert.equal(waiting?.role, 'learner', 'four voters survive no more than three');
  assert.match(outcome.stderr, /warning: 4 voters survive no more failures than 3/);
  assert.equal(promoted?.role, 'voter');
});

scenario('a drained leader hands the VIP over and keeps out until undrained', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const traffic = await scene.traffic();

  await holder.must(['member', 'drain', holder.name]);
  const next = await observer.waitForHolder(lab.vip, 5_000, (host) => host !== holder.name);
  await cluster.settled();
  const report = await traffic.stop();
  const drained = await member(scene, holder.name);
  const back = await holder.cli(['transfer', holder.name]);
  await holder.must(['member', 'undrain', holder.name]);
  await until(async () => (await holder.cli(['transfer', holder.name])).code === 0, {
    timeoutMs: 3_000,
    what: 'the VIP to come back',
  });

  assert.deepEqual([drained?.draining, drained?.role], [true, 'voter']);
  assert.equal(back.code, 1);
  assert.match(back.stderr, /drained/);
  const gap = clientGap(report).lengthMs;
  assert.ok(gap < 500, `gap of ${gap.toFixed(0)} ms until ${next} had it`);
  await observer.waitForHolder(lab.vip, 5_000, (host) => host === holder.name);
});

scenario('a member that is preferred is chosen', async (scene) => {
  const [, wanted] = await followers(scene);

  await wanted.must(['member', 'set', wanted.name, '--priority', '5']);
  await wanted.must(['transfer']);
  await scene.observer.waitForHolder(scene.lab.vip, 5_000, (host) => host === wanted.name);

  assert.equal((await member(scene, wanted.name))?.priority, 5);
  await wanted.must(['member', 'set', wanted.name, '--priority', '0']);
});

scenario('a host moves to another address', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const [mover] = await followers(scene);
  const before = await cluster.settled();
  const address = '10.77.0.63';
  const set = ['member', 'set', mover.name, '--address', address];
  const early = await holder.cli(set);
  const traffic = await scene.traffic();

  await mover.stopAgent();
  await mover.exec(['ip', 'addr', 'add', `${address}/24`, 'dev', 'eth0']);
  const file = join(mover.dataDir, 'agent.yaml');
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace(`${mover.address}:7443`, `${address}:7443`),
  );
  await mover.startAgent();
  await until(async () => (await holder.cli(set)).code === 0, {
    timeoutMs: 5_000,
    what: 'the member to count as silent',
  });
  await until(async () => (await member(scene, mover.name))?.reachable === true, {
    timeoutMs: 10_000,
    what: `${mover.name} at its new address`,
  });
  const after = await cluster.settled();
  const report = await traffic.stop();

  assert.match(early.stderr, /is alive at/);
  assert.equal((await member(scene, mover.name))?.address, `${address}:7443`);
  assert.equal(after.cluster.term, before.cluster.term);
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  assert.deepEqual(report.failures, []);
});

scenario('a removal that would cost the quorum is refused unless forced', async (scene) => {
  const { cluster } = scene;
  const holder = await scene.holder();
  const [dead, victim] = await followers(scene);
  await dead.killAgent();
  await until(async () => (await member(scene, dead.name))?.reachable === false, {
    timeoutMs: 3_000,
    what: `${dead.name} to be missed`,
  });
  const refused = await holder.cli(['member', 'remove', victim.name]);
  const canStop = await holder.cli(['member', 'can-stop', victim.name]);

  await holder.must(['member', 'remove', victim.name, '--force']);
  cluster.forget(victim);
  await until(async () => (await cluster.status(holder)).cluster.quorum === false, {
    timeoutMs: 3_000,
    what: 'the quorum to be lost, as was asked for',
  });
  await dead.startAgent();
  await cluster.settled();
  await victim.killAgent();
  await victim.must(['reset', '--yes']);
  await cluster.join(victim, holder);

  assert.match(refused.stderr, /without n\d too few voters would be up.*--force/);
  assert.deepEqual([refused.code, canStop.code], [1, 1]);
});
