/**
 * Two builds in one cluster: an older one is replaced host by host under traffic. What only the
 * newer one knows is refused while an older member is there, and accepted afterwards; from then on
 * the older one is refused instead, with its directory untouched.
 */
import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { formatVersion } from '../../src/cluster/state.ts';
import { until } from './clock.ts';
import { type Host, launcher } from './host.ts';
import { Writes } from './membership-writes.ts';
import { assertNeverTwo } from './observer.ts';
import { buildOlder, olderFormat, olderVersion } from './older-build.ts';
import { logTails, Scene } from './scene.ts';
import { failure } from './shell.ts';
import { clientGap } from './traffic.ts';

/** A command that the older build does not know. */
const newer = ['member', 'set', 'n1', '--priority', '1'];

const refused = new RegExp(
  `set-member needs a newer version on every member \\(the oldest is at ${olderFormat}\\)`,
);

async function upgrade(scene: Scene, host: Host): Promise<void> {
  await host.stopAgent();
  host.program = launcher;
  await host.startAgent();
  await scene.cluster.settled();
}

async function assertRefused(host: Host): Promise<void> {
  const outcome = await host.cli(newer);
  assert.equal(outcome.code, 1, failure(outcome));
  assert.match(outcome.stderr, refused);
}

async function rollOn(scene: Scene): Promise<void> {
  const { lab, cluster, observer } = scene;
  const holder = await scene.holder();
  const followers = cluster.hosts.filter((host) => host !== holder);
  const before = await cluster.settled();
  assert.deepEqual(new Set(before.members.map(({ version }) => version)), new Set([olderVersion]));
  const traffic = await scene.traffic({ streams: 3 });
  const writes = Writes.start(cluster);

  for (const host of followers) {
    await assertRefused(host);
    await upgrade(scene, host);
    await assertRefused(host);
  }
  const quiet = await traffic.report();
  const after = await cluster.settled();
  assert.equal(after.cluster.term, before.cluster.term, "no election for a follower's upgrade");
  assert.deepEqual(quiet.failures, []);
  assert.deepEqual(quiet.streamEnds, []);
  const { tenures } = await observer.report(lab.vip);
  assert.deepEqual(
    tenures.map(({ host }) => host),
    [holder.name],
  );

  await upgrade(scene, holder);
  const gap = clientGap(await traffic.stop());
  await writes.stop();
  assert.ok(gap.lengthMs < 1_000, `gap of ${gap.lengthMs.toFixed(0)} ms`);
}

/** Every member says of itself what it knows now; then the whole cluster acts on it. */
async function accepted(scene: Scene): Promise<void> {
  const [host] = scene.lab.hosts;
  await until(
    async () => {
      const outcome = await host?.cli(newer);
      if (outcome?.code !== 0) throw new Error(outcome && failure(outcome));
      return true;
    },
    { timeoutMs: 10_000, everyMs: 100, what: 'the newer command to be accepted' },
  );
  const status = await scene.cluster.settled();
  assert.ok(status.members.every(({ version }) => version !== olderVersion));
}

async function noWayBack(scene: Scene, older: string): Promise<void> {
  const { lab, cluster } = scene;
  const holder = await scene.holder();
  const host = cluster.hosts.find((each) => each !== holder);
  assert.ok(host !== undefined);
  await host.stopAgent();
  const before = host.agentLog.length;

  host.program = older;
  await host.startAgent().catch(() => undefined);
  const { code } = await host.agent.ended;
  assert.equal(code, 1);
  const says = `has format version \\d+, and this program knows ${olderFormat}`;
  assert.match(host.agentLog.slice(before), new RegExp(says));

  await upgrade(scene, host);
  const joiner = lab.host('n4');
  joiner.program = older;
  const outcome = await joiner.cli([...cluster.joinArgs(joiner, holder)]);
  assert.equal(outcome.code, 1, failure(outcome));
  const tooOld = `the cluster is at format ${formatVersion}; this version knows ${olderFormat}`;
  assert.match(outcome.stderr, new RegExp(`^holdfast: ${tooOld}`, 'm'));
}

test('an older build is replaced host by host under traffic, and there is no way back', async () => {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-older-`);
  const older = await buildOlder(temporary.path);
  const scene = await Scene.create({ hosts: 4, members: 3, program: older });
  try {
    await rollOn(scene);
    await accepted(scene);
    await noWayBack(scene, older);
    await scene.cluster.settled();
    assertNeverTwo(await scene.observer.report(scene.lab.vip));
  } catch (error) {
    throw new Error(`${String(error)}\n${logTails(scene.lab)}`, { cause: error });
  } finally {
    await scene.close();
  }
});
