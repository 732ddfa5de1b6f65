/** Hosts that are lost are replaced under traffic: by their like, and by others. */
import assert from 'node:assert/strict';
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import { lasting, until } from './clock.ts';
import type { Host } from './host.ts';
import { Writes } from './membership-writes.ts';
import { type Scene, scenarios } from './scene.ts';
import { failure } from './shell.ts';

const scenario = scenarios({ hosts: 4, members: 3 });

/** Resolves once exactly these hosts are members, and all of them vote. */
async function voting(scene: Scene, names: readonly string[]): Promise<StatusDocument> {
  return until(
    async () => {
      const status = await scene.cluster.settled();
      const members = status.members.map(({ name, role }) => `${name} ${role}`).sort();
      return members.join() === names.map((name) => `${name} voter`).join() ? status : undefined;
    },
    { timeoutMs: 20_000, everyMs: 100, what: `${names.join()} to vote` },
  );
}

async function follower(scene: Scene): Promise<Host> {
  const holder = await scene.holder();
  const found = scene.cluster.running().find((host) => host !== holder && host.name !== 'n1');
  assert.ok(found !== undefined);
  return found;
}

/** Its disk is lost with it. */
async function lose(host: Host): Promise<void> {
  await host.killAgent();
  await host.must(['reset', '--yes']);
}

/** A member counts as alive for one promise after its last word. */
async function joinOnceDead(scene: Scene, host: Host, replaced: string): Promise<void> {
  const via = scene.cluster.running().find((each) => each.name !== replaced && each !== host);
  await until(
    async () => {
      const args = [...scene.cluster.joinArgs(host, via), '--replace', replaced];
      const outcome = await host.cli(args);
      if (outcome.code !== 0) throw new Error(failure(outcome));
      return true;
    },
    { timeoutMs: 5_000, everyMs: 100, what: `${host.name} to replace ${replaced}` },
  );
  await host.startAgent();
  scene.cluster.count(host);
}

scenario('a living member is not replaced', async (scene) => {
  const { lab, cluster } = scene;
  const before = await cluster.settled();
  const stranger = lab.host('n4');
  const victim = await follower(scene);

  const alive = await stranger.cli([...cluster.joinArgs(stranger), '--replace', victim.name]);
  const nobody = await stranger.cli([...cluster.joinArgs(stranger), '--replace', 'n9']);
  const holder = await scene.holder();
  const leads = await stranger.cli([...cluster.joinArgs(stranger), '--replace', holder.name]);
  await stranger.must(['reset', '--yes']);

  assert.match(alive.stderr, new RegExp(`${victim.name} is alive at`));
  assert.match(nobody.stderr, /no member named n9 to replace/);
  assert.match(leads.stderr, new RegExp(`${holder.name} leads the cluster`));
  assert.deepEqual([alive.code, nobody.code, leads.code], [1, 1, 1]);
  const after = await cluster.settled();
  assert.deepEqual(
    after.members.map(({ id }) => id),
    before.members.map(({ id }) => id),
  );
});

scenario('a follower is replaced by a new host of its name and address', async (scene) => {
  const { lab, observer } = scene;
  const before = await scene.cluster.settled();
  const holder = await scene.holder();
  const victim = await follower(scene);
  const traffic = await scene.traffic();
  const writes = Writes.start(scene.cluster);

  await lose(victim);
  await joinOnceDead(scene, victim, victim.name);
  const after = await voting(scene, ['n1', 'n2', 'n3']);
  const report = await traffic.stop();
  await writes.stop();

  const idOf = (status: StatusDocument) =>
    status.members.find(({ name }) => name === victim.name)?.id;
  assert.notEqual(idOf(after), idOf(before), 'an identity is never used twice');
  assert.equal(after.cluster.term, before.cluster.term, 'no election');
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );
  assert.deepEqual(report.failures, []);
});

scenario('a dead leader is replaced by a host of another name and address', async (scene) => {
  const { lab, cluster, observer } = scene;
  const dead = await scene.holder();
  const fresh = lab.host('n4');
  const writes = Writes.start(cluster);

  await dead.killAgent();
  cluster.forget(dead);
  await observer.waitForHolder(lab.vip, 5_000, (host) => host !== dead.name);
  await joinOnceDead(scene, fresh, dead.name);
  const names = ['n1', 'n2', 'n3', 'n4'].filter((name) => name !== dead.name);
  const status = await voting(scene, names);
  await writes.stop();

  await dead.startAgent().catch(() => undefined);
  await lasting(1_500);
  const after = await cluster.settled();
  assert.equal(after.cluster.term, status.cluster.term, 'who was replaced disturbs nobody');
  assert.deepEqual(
    after.members.map(({ id }) => id),
    status.members.map(({ id }) => id),
  );
  if (dead.agentRuns) await dead.killAgent();
});
