/** Two hosts and a witness: one of the hosts may fail, and a preferred one comes back with care. */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { lasting } from './clock.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';

const scenario = scenarios({ members: 1 });

/** Lets a preferred host come back after a second, as a person would set it. */
function hurry(host: Host): void {
  appendFileSync(join(host.dataDir, 'agent.yaml'), 'preemptDelaySeconds: 1\n');
}

/** Hosts that were seen to hold the VIP, in order, the former holder first. */
async function holdersSeen({ lab, observer }: Scene): Promise<readonly string[]> {
  return (await observer.report(lab.vip)).tenures.map(({ host }) => host);
}

scenario('two voters are worse than one, and the advice to join a witness works', async (scene) => {
  const { lab, cluster } = scene;
  const [first, second, third] = [lab.host('n1'), lab.host('n2'), lab.host('n3')];
  hurry(first);
  await first.stopAgent();
  await first.startAgent();
  await second.must(cluster.joinArgs(second));
  hurry(second);
  await second.startAgent();
  cluster.count(second);
  const alone = await cluster.settled();
  assert.match(alone.warnings.join('\n'), /n2 will vote once .*`holdfast join --role witness`/);

  await cluster.join(third, first, ['--role', 'witness']);
  const whole = await cluster.settled();

  const roles = whole.members.map(({ name, role }) => [name, role]);
  assert.deepEqual(roles, [
    ['n1', 'voter'],
    ['n2', 'voter'],
    ['n3', 'witness'],
  ]);
  assert.equal(whole.cluster.failuresLeft, 1);
  assert.deepEqual(whole.warnings, []);
  const refused = await first.cli(['transfer', 'n3']);
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(refused.stderr, /n3|witness/);
});

scenario('when the holder dies the other host holds the VIP, never the witness', async (scene) => {
  const { lab, observer, cluster } = scene;
  const holder = await scene.holder();
  const heir = holder.name === 'n1' ? 'n2' : 'n1';

  await holder.killAgent();
  await observer.waitForHolder(lab.vip, 5_000, (host) => host !== holder.name);

  const { warnings } = await cluster.status(lab.host(heir));
  assert.ok(
    warnings.some((each) => each.includes('the next failure of a voter stops the VIP')),
    warnings.join('\n'),
  );
  await holder.startAgent();
  await cluster.settled();
  assert.deepEqual([...new Set(await holdersSeen(scene))].toSorted(), ['n1', 'n2']);
});

scenario('a preferred host that restarts in a loop takes the VIP back once', async (scene) => {
  const { lab, observer, cluster } = scene;
  const [preferred, other] = [lab.host('n1'), lab.host('n2')];
  await other.must(['member', 'set', 'n1', '--priority', '5']);
  await observer.waitForHolder(lab.vip, 15_000, (host) => host === 'n1');
  await observer.forget();

  await preferred.killAgent();
  await observer.waitForHolder(lab.vip, 5_000, (host) => host === 'n2');
  await preferred.startAgent();
  await observer.waitForHolder(lab.vip, 15_000, (host) => host === 'n1');
  for (let life = 0; life < 2; life++) {
    await preferred.killAgent();
    await observer.waitForHolder(lab.vip, 5_000, (host) => host === 'n2');
    await preferred.startAgent();
    // Longer than the plain hold-down, shorter than what it has grown to.
    await lasting(2_500);
  }
  assert.deepEqual(await holdersSeen(scene), ['n1', 'n2', 'n1', 'n2']);

  await observer.waitForHolder(lab.vip, 20_000, (host) => host === 'n1');
  await cluster.settled();
});
