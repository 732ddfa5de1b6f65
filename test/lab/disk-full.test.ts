/**
 * Full disks: the VIP goes to a host that can write, and where there is none it stays where it is,
 * because renewing a lease needs no disk. Nothing that was acknowledged is lost, and with room
 * again everything is as before, without hands.
 */
import assert from 'node:assert/strict';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import { Writes } from './membership-writes.ts';
import { type Scene, scenarios } from './scene.ts';
import { clientGap } from './traffic.ts';

const diskMb = 24;
/** How long all of them are full; ten minutes by the letter: HOLDFAST_FULL_SECONDS=600. */
const fullMs = Number(process.env.HOLDFAST_FULL_SECONDS ?? 3) * 1_000;
/** Looked at so often meanwhile, and forgotten: it need not be kept. */
const lookEveryMs = 10_000;
const scenario = scenarios({ disks: diskMb });

const noRoom = /this host cannot write its log: there is no space left/;

/** Resolves when `host` says of its own disk what `says` wants. */
async function diskOf(scene: Scene, host: Host, says: 'full' | 'well'): Promise<void> {
  await until(
    async () => {
      const { warnings } = await scene.cluster.status(host);
      return warnings.some((sentence) => noRoom.test(sentence)) === (says === 'full');
    },
    { timeoutMs: 15_000, what: `${host.name} to say that its disk is ${says}` },
  );
}

/** How many hosts say that their disk is full. */
async function full({ lab, cluster }: Scene): Promise<number> {
  const all = await Promise.all(lab.hosts.map((host) => cluster.status(host)));
  return all.filter(({ warnings }) => warnings.some((each) => noRoom.test(each))).length;
}

scenario("the holder's disk is full: the VIP moves to a host that can write", async (scene) => {
  const { cluster, lab, observer } = scene;
  const full = await scene.holder();
  const traffic = await scene.traffic();
  await using writes = Writes.start(cluster);

  full.disk.fill();
  const holder = await observer.waitForHolder(lab.vip, 15_000, (host) => host !== full.name);
  await diskOf(scene, full, 'full');
  assert.equal(full.agentRuns, true);
  const { self } = await cluster.status(full);
  assert.equal(self.eligible, false);
  assert.match(self.reason ?? '', /no space left/);

  full.disk.makeRoom();
  await diskOf(scene, full, 'well');
  const status = await cluster.settled();
  await writes.stop();
  const gap = clientGap(await traffic.stop());
  assert.equal(status.cluster.leader, holder, 'the VIP stays where it went');
  assert.ok(gap.lengthMs < 500, `gap of ${gap.lengthMs.toFixed(0)} ms`);
});

scenario("a follower's disk is full: nobody else notices", async (scene) => {
  const { cluster, lab } = scene;
  const holder = await scene.holder();
  const before = await cluster.settled();
  const full = lab.hosts.find((host) => host !== holder);
  assert.ok(full !== undefined);
  const traffic = await scene.traffic({ streams: 3 });
  await using writes = Writes.start(cluster);

  full.disk.fill();
  await diskOf(scene, full, 'full');
  full.disk.makeRoom();
  await diskOf(scene, full, 'well');
  await writes.stop();
  const report = await traffic.stop();
  const after = await cluster.settled();
  assert.equal(after.cluster.term, before.cluster.term, 'no election');
  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.streamEnds, []);
});

scenario(
  'all disks are full: the VIP answers all the while, and changes are refused',
  async (scene) => {
    const { cluster, lab, observer } = scene;
    const holder = await scene.holder();
    const traffic = await scene.traffic({ streams: 3 });
    await using writes = Writes.start(cluster);

    for (const host of lab.hosts) host.disk.fill();
    // The third may have a few bytes left in the last page of its journal, and be asked for none.
    await until(async () => (await full(scene)) >= 2, {
      timeoutMs: 15_000,
      everyMs: 200,
      what: 'a majority to say that its disk is full',
    });
    const refused = await holder.cli(['token', 'create']);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /there is no space left.*`df`|the quorum did not answer/);
    for (const end = monotonicMs() + fullMs; monotonicMs() < end; ) {
      await lasting(Math.min(lookEveryMs, end - monotonicMs()));
      const { failures, streamEnds } = await traffic.report();
      const { tenures } = await observer.report(lab.vip);
      assert.deepEqual([failures, streamEnds], [[], []]);
      assert.deepEqual(
        tenures.map(({ host }) => host),
        [holder.name],
      );
      await traffic.forget();
      await observer.forget();
    }

    for (const host of lab.hosts) host.disk.makeRoom();
    for (const host of lab.hosts) await diskOf(scene, host, 'well');
    await holder.must(['token', 'create']);
    await writes.stop();
    // Whichever disk is well first may get the VIP by a hand-over.
    const gap = clientGap(await traffic.stop());
    await cluster.settled();
    assert.ok(gap.lengthMs < 500, `gap of ${gap.lengthMs.toFixed(0)} ms`);
  },
  fullMs + 240_000,
);
