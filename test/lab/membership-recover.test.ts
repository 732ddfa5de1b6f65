/** The quorum is lost for good: one survivor goes on alone, or a saved state begins anew. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { failure } from './shell.ts';

const scenario = scenarios({});

/** An agent that starts on what it had before, does nobody any harm, and is stopped again. */
async function comesBackInVain(scene: Scene, former: Host): Promise<void> {
  const { lab, cluster, observer } = scene;
  const before = await cluster.settled();
  await former.startAgent();
  await lasting(2_000);
  const own = await cluster.status(former);
  const after = await cluster.settled();
  await former.killAgent();

  assert.equal(own.cluster.quorum, false, `${former.name} has no quorum`);
  assert.notEqual(own.self.role, 'leader');
  assert.equal(after.cluster.term, before.cluster.term, `${former.name} disturbs nobody`);
  assert.deepEqual(
    after.members.map(({ id }) => id),
    before.members.map(({ id }) => id),
  );
  assert.equal(observer.holder(lab.vip), after.cluster.leader);
}

async function joinsAnew(scene: Scene, host: Host, via: Host, caHash: string): Promise<void> {
  const { token } = (await via.json(['token', 'create'])) as { readonly token: string };
  await host.must(['reset', '--yes']);
  const peer = `${via.address}:7443`;
  const secret = ['--token', token, '--ca-hash', caHash];
  await host.must(['join', peer, ...secret, '--name', host.name]);
  await host.startAgent();
  scene.cluster.count(host);
}

async function threeVoters({ cluster }: Scene): Promise<StatusDocument> {
  return until(
    async () => {
      const status = await cluster.settled();
      return status.members.every(({ role }) => role === 'voter') ? status : undefined;
    },
    { timeoutMs: 20_000, everyMs: 100, what: 'three voters' },
  );
}

scenario('two of three are lost for good: the third goes on alone, and grows', async (scene) => {
  const { lab, cluster, observer } = scene;
  const spec = await lab.hosts[0]?.must(['get', 'spec']);
  const before = await cluster.settled();
  const holder = await scene.holder();
  const [survivor, other] = lab.hosts.filter((host) => host !== holder);
  assert.ok(survivor !== undefined && other !== undefined);
  const lost = [holder, other];
  const fenced = lost.map(({ name }) => name).sort();
  const recover = (...names: readonly string[]) => {
    const args = ['recover', '--force-new-cluster', '--fenced', names.join(','), '--yes'];
    return survivor.cli([...args, '-o', 'json']);
  };

  await other.killAgent();
  await survivor.stopAgent();
  const living = await recover(...fenced);
  await survivor.startAgent();
  cluster.forget(other);
  await holder.killAgent();
  cluster.forget(holder);
  const told = await until(
    async () => {
      const { stdout } = await survivor.cli(['status']);
      return stdout.includes('holdfast recover') ? stdout : undefined;
    },
    { timeoutMs: 5_000, what: 'status to name the last resort' },
  );
  const running = await recover(...fenced);
  await survivor.stopAgent();
  const tooFew = await recover(fenced[0] ?? '');
  const strangers = await recover(...fenced, 'n9');
  const done = await recover(...fenced);
  assert.equal(done.code, 0, failure(done));
  const { waitMs } = JSON.parse(done.stdout) as { readonly waitMs: number };
  const startedAt = monotonicMs();
  await survivor.startAgent();
  await observer.waitForHolder(lab.vip, 5_000, (host) => host === survivor.name);
  const tookMs = monotonicMs() - startedAt;
  const alone = await cluster.settled();

  assert.ok(waitMs >= 400 && tookMs >= waitMs, `claimed after ${tookMs} ms, not ${waitMs} ms`);
  assert.match(living.stderr, /is alive: it answers at/);
  assert.match(told, /--force-new-cluster --fenced n\d,n\d --yes.*two hosts may hold the VIP/);
  assert.match(running.stderr, /an agent runs/);
  assert.match(tooFew.stderr, /it leaves out/);
  assert.match(strangers.stderr, /n9 is no other member/);
  for (const { code } of [living, running, tooFew, strangers]) assert.equal(code, 1);
  assert.deepEqual(
    alone.members.map(({ name, role }) => [name, role]),
    [[survivor.name, 'voter']],
  );
  assert.ok((alone.cluster.term ?? 0) > (before.cluster.term ?? 0));
  const kept = await survivor.must(['get', 'spec']);
  assert.equal(kept.replace(/revision: \d+/, ''), spec?.replace(/revision: \d+/, ''));

  for (const former of lost) await comesBackInVain(scene, former);
  for (const former of lost) await joinsAnew(scene, former, survivor, cluster.init.caHash);
  await threeVoters(scene);
});

scenario('a saved state begins a new cluster on a stopped member', async (scene) => {
  const { lab, cluster, observer } = scene;
  const before = await cluster.settled();
  const file = join(lab.directory, 'saved');
  const [first, second, third] = lab.hosts;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  await second.must(['snapshot', 'save', file]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const spec = await first.must(['get', 'spec']);
  await first.must(['backend', 'add', '10.77.0.77:6443']);

  await Promise.all(lab.hosts.map((host) => host.stopAgent()));
  const offline = await first.must(['snapshot', 'save', '-']);
  const unfenced = await first.cli(['snapshot', 'restore', file, '--yes']);
  const restore = ['snapshot', 'restore', file, '--fenced', 'n2,n3', '--yes'];
  await first.must(restore);
  for (const host of [second, third]) cluster.forget(host);
  await first.startAgent();
  await observer.waitForHolder(lab.vip, 10_000, (host) => host === 'n1');
  const after = await cluster.settled();

  assert.match(offline, /^-----BEGIN HOLDFAST SNAPSHOT-----/);
  assert.match(unfenced.stderr, /it leaves out n\d, n\d/);
  assert.notEqual(after.cluster.id, before.cluster.id);
  assert.equal(after.cluster.name, before.cluster.name);
  const restored = await first.must(['get', 'spec']);
  assert.equal(restored.replace(/revision: \d+/, ''), spec.replace(/revision: \d+/, ''));
  await comesBackInVain(scene, second);
  for (const host of [second, third]) await joinsAnew(scene, host, first, cluster.init.caHash);
  await threeVoters(scene);
});

scenario('a saved state begins a new cluster on an empty host', async (scene) => {
  const { lab, cluster, observer } = scene;
  const file = join(lab.directory, 'saved-again');
  const [first, second, third] = lab.hosts;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  await first.must(['snapshot', 'save', file]);
  const alive = await third.cli(['snapshot', 'restore', file, '--fenced', 'n1,n2', '--yes']);
  assert.match(alive.stderr, /agent/);
  await Promise.all(lab.hosts.map((host) => host.stopAgent()));
  await third.must(['reset', '--yes']);

  const args = ['snapshot', 'restore', file, '--name', 'n3', '--fenced', 'n1,n2', '--yes'];
  const { caHash } = (await third.json(args)) as { readonly caHash: string };
  assert.ok(existsSync(join(third.dataDir, 'pki', 'ca.key')));
  for (const host of [first, second]) cluster.forget(host);
  await third.startAgent();
  await observer.waitForHolder(lab.vip, 10_000, (host) => host === 'n3');
  assert.notEqual(caHash, cluster.init.caHash, 'with a CA of its own');
  for (const host of [first, second]) await joinsAnew(scene, host, third, caHash);
  await threeVoters(scene);
});
