/**
 * The VIP's interface is changed under the agent's feet: addresses deleted and flushed, the link
 * bounced, unplugged, taken away. The members hear each other on another network throughout.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import { assertNeverTwo } from './observer.ts';
import { createPeerScene, type PeerScene } from './peer-network.ts';
import { logTails } from './scene.ts';
import { must } from './shell.ts';

let made: PeerScene | null = null;
before(async () => {
  made = await createPeerScene();
});
after(() => made?.lab.close());

function scenario(name: string, play: (scene: PeerScene) => Promise<void>): void {
  test(name, { timeout: 120_000 }, async () => {
    if (made === null) throw new Error('there is no scene');
    const { lab, observer, cluster } = made;
    await observer.forget();
    try {
      await play(made);
      await lab.switch.heal();
      await cluster.settled();
      assertNeverTwo(await observer.report(lab.vip));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${logTails(lab)}`, {
        cause: error,
      });
    }
  });
}

const holderOf = async ({ lab, observer }: PeerScene): Promise<Host> =>
  lab.host(await observer.waitForHolder(lab.vip, 10_000));

function ip(host: Host, ...lines: readonly string[]): Promise<string> {
  const input = `${lines.join('\n')}\n`;
  return must(['ip', '-n', host.namespace, '-batch', '-'], { input });
}

/** The longest time after `since` in which nobody claimed the VIP on the wire. */
async function silenceMs({ lab, observer }: PeerScene, since: number): Promise<number> {
  const { records } = await observer.report(lab.vip);
  const instants = records.map(({ at }) => at).filter((at) => at >= since - 20);
  const gaps = instants.slice(1).map((at, index) => at - (instants[index] ?? at));
  return Math.max(...gaps);
}

for (const [what, undo] of [
  ['ip addr del', (scene: PeerScene) => [`addr del ${scene.lab.vip}/32 dev eth0`]],
  [
    'ip addr flush and the own address put back, as by a restarted network daemon',
    (_scene: PeerScene, holder: Host) => [
      'addr flush dev eth0',
      `addr add ${holder.address}/24 dev eth0`,
    ],
  ],
  ['ip addr flush', () => ['addr flush dev eth0']],
] as const) {
  scenario(`after ${what} the VIP is back within 100 ms, announced`, async (scene) => {
    const holder = await holderOf(scene);
    const at = monotonicMs();
    await ip(holder, ...undo(scene, holder));
    await lasting(500);

    const silent = await silenceMs(scene, at);
    assert.ok(silent <= 100, `nobody answered for ${silent} ms`);
    assert.equal(scene.observer.holder(scene.lab.vip), holder.name, 'where it was');
    const { records } = await scene.observer.report(scene.lab.vip);
    assert.ok(records.some((record) => record.kind === 'announce' && record.at > at));
    if (what === 'ip addr flush') await ip(holder, `addr add ${holder.address}/24 dev eth0`);
  });
}

scenario('after a bounce of the link the VIP answers again at once, announced', async (scene) => {
  const holder = await holderOf(scene);
  await ip(holder, 'link set eth0 down', 'link set eth0 up');
  const at = monotonicMs();
  const next = await scene.observer.waitForHolder(scene.lab.vip, 2_000);
  await lasting(500);

  const silent = await silenceMs(scene, at);
  assert.ok(silent <= 200, `nobody answered for ${silent} ms`);
  const { records } = await scene.observer.report(scene.lab.vip);
  const announced = records.find((record) => record.kind === 'announce' && record.at > at - 50);
  assert.ok(announced !== undefined, `${next} holds it, and has not announced it`);
});

scenario('a pulled cable moves the VIP at once, and its host waits', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await holderOf(scene);
  const at = monotonicMs();
  await lab.switch.unplug(holder.name);
  await observer.waitForHolder(lab.vip, 3_000, (host) => host !== holder.name);
  await lasting(300);

  const silent = await silenceMs(scene, at);
  assert.ok(silent <= 300, `nobody answered for ${silent} ms`);
  const away = await cluster.status(holder);
  assert.equal(away.self.eligible, false);
  assert.match(away.self.reason, /eth0 is down or has no carrier/);
  assert.equal(away.cluster.quorum, true, 'it still hears its peers');
  await lab.switch.heal();
  await until(async () => (await cluster.status(holder)).self.eligible === true, {
    timeoutMs: 1_000,
    what: 'the host to be eligible again',
  });
});

scenario('an interface that goes moves the VIP, and one that comes is used', async (scene) => {
  const { lab, cluster, observer } = scene;
  const holder = await holderOf(scene);
  const there = `link set eth0 netns ${lab.switchNamespace}`;
  await ip(holder, there);
  await observer.waitForHolder(lab.vip, 3_000, (host) => host !== holder.name);
  await holder.stopAgent();
  await holder.startAgent();
  await until(
    async () => {
      const { self } = await cluster.status(holder);
      return self.eligible === false && /no interface has a subnet/.test(self.reason);
    },
    { timeoutMs: 5_000, what: 'an agent that has started without the interface' },
  );

  const back = ['-n', lab.switchNamespace, 'link', 'set', 'eth0', 'netns', holder.namespace];
  await must(['ip', ...back]);
  await ip(holder, `addr add ${holder.address}/24 dev eth0`, 'link set eth0 up');
  await until(async () => (await cluster.status(holder)).self.eligible === true, {
    timeoutMs: 1_000,
    what: 'the host to be eligible',
  });
  await until(async () => (await holder.cli(['transfer', holder.name])).code === 0, {
    timeoutMs: 5_000,
    what: 'the transfer',
  });
  await observer.waitForHolder(lab.vip, 2_000, (host) => host === holder.name);
});

scenario('a holder that has lost its peers has lost the VIP', async (scene) => {
  const { lab, observer } = scene;
  const holder = await holderOf(scene);
  await scene.peerLink(holder, 'down');
  await observer.waitForHolder(lab.vip, 3_000, (host) => host !== holder.name);
  await lasting(500);
  await scene.peerLink(holder, 'up');
});
