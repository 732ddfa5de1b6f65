/**
 * A thousand TLS handshakes a second and a port scan on the peers' port, and a saturated proxy: no
 * leader change and no second holder. Two minutes by the letter: HOLDFAST_STRESS_SECONDS=120; 20 s
 * otherwise, because the load leaves nothing of a small machine to anybody else.
 */
import assert from 'node:assert/strict';
import { apiServerPort } from './api-server.ts';
import { lasting } from './clock.ts';
import { scenarios } from './scene.ts';
import { Station } from './station.ts';
import type { StressConfig, StressCounts } from './stress-child.ts';
import { balanceInUserSpace } from './user-space.ts';

const seconds = Number(process.env.HOLDFAST_STRESS_SECONDS ?? 20);
const scenario = scenarios({});

scenario(`${seconds} s of handshakes, scans and bulk: the leader stays`, async (scene) => {
  const { lab, cluster, observer } = scene;
  await balanceInUserSpace(scene);
  const before = await cluster.settled();
  const holder = await scene.holder();
  const config: StressConfig = {
    targets: lab.hosts.map(({ address }) => address),
    port: 7443,
    handshakesPerSecond: 1_000,
    scansPerSecond: 200,
    vip: lab.vip,
    vipPort: apiServerPort,
    bulkConnections: 2,
  };
  const stress = await Station.start({
    namespace: lab.client.namespace,
    program: 'stress-child.ts',
    config,
    logFile: lab.logFile('stress'),
  });
  lab.client.adopt(stress.child);

  await lasting(seconds * 1_000);
  const counts = (await stress.request('counts', null)) as StressCounts;
  const during = await cluster.status(holder);
  await stress.stop();

  const said = JSON.stringify(counts);
  console.log(`# ${said}`);
  assert.ok(counts.handshakes > seconds * 900, `the load was there: ${said}`);
  assert.ok(counts.bulkBytes > seconds * 10e6, `the proxy was busy: ${said}`);
  assert.equal(during.cluster.term, before.cluster.term, 'no election');
  assert.equal(during.cluster.leader, holder.name);
  assert.deepEqual([...new Set(observer.changes.map(({ host }) => host))], [holder.name]);
});
