/**
 * Both families at once: the hand-over of a pair of VIPs as clients see it, and what becomes of
 * them when somebody else claims the IPv6 one. n4 is no member; it is the client that is lied to.
 */
import assert from 'node:assert/strict';
import { cached, Dump } from './client-view.ts';
import { lasting, until } from './clock.ts';
import { metric, metricsOf } from './endpoints.ts';
import { Forger } from './forger.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { must } from './shell.ts';
import { changeSpec } from './spec.ts';
import { clientGap } from './traffic.ts';

const stranger = '02:aa:00:00:00:01';
const scenario = scenarios({ hosts: 4, members: 3, ipv6: true });

function vips({ lab }: Scene): readonly [v4: string, v6: string] {
  const [v4, v6] = lab.vips;
  assert.ok(v4 !== undefined && v6 !== undefined);
  return [v4, v6];
}

async function withForger(scene: Scene, play: (forger: Forger) => Promise<void>): Promise<void> {
  const forger = new Forger(scene.lab.client);
  try {
    await play(forger);
  } finally {
    forger.stop();
  }
}

/** Waits until whoever leads says all of it in its warnings. */
async function leaderWarns({ cluster }: Scene, says: RegExp): Promise<void> {
  await until(
    async () => {
      const leader = await cluster.leader();
      return leader !== null && says.test((await cluster.status(leader)).warnings.join('\n'));
    },
    { timeoutMs: 4_000, what: String(says) },
  );
}

/** Both VIPs at a host other than `former`. */
async function moved({ lab, observer }: Scene, former: Host): Promise<void> {
  for (const vip of lab.vips) {
    await observer.waitForHolder(vip, 3_000, (host) => host !== former.name);
  }
}

scenario('both VIPs move in one hand-over, as a client’s own tools see it', async (scene) => {
  const { lab, observer } = scene;
  const [v4, v6] = vips(scene);
  const victim = lab.host('n4');
  const former = await scene.holder();
  await using dump = await Dump.start(victim, 'arp or icmp6');
  const traffic4 = await scene.traffic({}, victim);
  const traffic6 = await scene.traffic({ address: v6 }, victim);
  assert.equal(await cached(victim, v6), former.mac);

  await former.must(['transfer']);
  await moved(scene, former);
  await lasting(300);
  const gaps = [await traffic4.stop(), await traffic6.stop()].map((report) => clientGap(report));

  const heir = await scene.holder();
  assert.equal(observer.holder(v6), heir.name, 'both are with one host');
  for (const { lengthMs } of gaps) assert.ok(lengthMs <= 200, `a client waited ${lengthMs} ms`);
  for (const vip of [v4, v6]) {
    await dump.sees(vip, heir.mac);
    assert.equal(
      await cached(victim, vip),
      heir.mac,
      `where ${victim.name} sends what is for ${vip}`,
    );
  }
  const flags = await heir.exec(['ip', '-6', 'addr', 'show', 'dev', 'eth0']);
  assert.match(flags.stdout, new RegExp(`${v6}/128 .*scope global nodad deprecated`));
  assert.doesNotMatch(flags.stdout, /tentative|dadfailed/);
  const route = await heir.exec(['ip', 'route', 'get', lab.client.address6 ?? '']);
  assert.match(route.stdout, new RegExp(`src ${heir.address6} `), 'it is no source address');
});

scenario('one forged advertisement costs a client a moment, and the VIPs stay', async (scene) => {
  const { lab } = scene;
  const [, v6] = vips(scene);
  const victim = lab.host('n4');
  const holder = await scene.holder();
  const before = metric(await metricsOf(holder), 'holdfast_vip_conflicts_total') ?? 0;
  await using dump = await Dump.start(victim, 'icmp6');
  const traffic = await scene.traffic({ address: v6 }, victim);
  await withForger(scene, async (forger) => {
    forger.claim(v6, stranger);
    await lasting(1_000);
  });
  const { lengthMs } = clientGap(await traffic.stop());

  assert.ok(lengthMs <= 200, `the client waited ${lengthMs} ms`);
  assert.equal((await scene.holder()).name, holder.name, 'it stays where it was');
  assert.equal(await cached(victim, v6), holder.mac);
  const claimed = dump.announcement(v6, stranger);
  assert.ok(claimed >= 0, dump.text);
  await dump.sees(v6, holder.mac, claimed);
  await leaderWarns(scene, new RegExp(`${v6} was claimed by ${stranger}.* and defended`));
  assert.equal(metric(await metricsOf(holder), 'holdfast_vip_conflicts_total'), before + 1);
});

scenario(
  'an IPv6 VIP that another member claims makes its holder let go of both',
  async (scene) => {
    const { lab } = scene;
    const [, v6] = vips(scene);
    const holder = await scene.holder();
    const rival = lab.hosts.find(({ name }) => name !== holder.name && name !== 'n4');
    assert.ok(rival !== undefined);
    await withForger(scene, async (forger) => {
      forger.claim(v6, rival.mac);
      await moved(scene, holder);
    });

    const { self } = await scene.cluster.status(holder);
    assert.match(self.reason, new RegExp(`${rival.name} \\(${rival.mac}\\) claims ${v6}`));
    const told = new RegExp(
      `vip\\.conflict .*address=${v6} .*member=${rival.name} .*term=\\d+ forMs=0`,
    );
    assert.match(holder.agentLog, told);
  },
);

scenario(
  'an IPv6 VIP that is yielded is nobody’s for ten seconds; the other stays',
  async (scene) => {
    const { observer, cluster } = scene;
    const [v4, v6] = vips(scene);
    const holder = await scene.holder();
    const policy = (onConflict: string): Promise<void> =>
      changeSpec(scene, (spec) => {
        for (const vip of spec.vips) vip.onConflict = onConflict;
      });
    await policy('yield');
    await withForger(scene, async (forger) => {
      forger.claim(v6, stranger);
      await until(() => observer.holder(v6) === null, { timeoutMs: 500, what: 'nobody' });
      const { vips: said } = await cluster.status(holder);
      assert.match(said.find(({ address }) => address === v6)?.reason ?? '', /yielded to 02:aa/);
      await lasting(8_500);
      assert.equal(observer.holder(v6), null);
      assert.equal(observer.holder(v4), holder.name);
      await observer.waitForHolder(v6, 3_000);
    });
    await policy('defend');
  },
);

scenario('a switch that advertises a dead holder keeps nobody from claiming', async (scene) => {
  const [, v6] = vips(scene);
  const holder = await scene.holder();
  await withForger(scene, async (forger) => {
    forger.answer(v6, holder.mac);
    await holder.killAgent();
    await moved(scene, holder);
    await leaderWarns(scene, new RegExp(`${v6}: ND answered by ${holder.mac}, expected`));
  });
  await holder.startAgent();
});

scenario('a stranger that has the IPv6 address for good is defended against', async (scene) => {
  const { lab, observer } = scene;
  const [v4, v6] = vips(scene);
  const holder = await scene.holder();
  const atStranger = ['ip', '-n', lab.client.namespace, 'addr'];
  await must([...atStranger, 'add', `${v6}/64`, 'dev', 'eth0', 'nodad']);
  await withForger(scene, async (forger) => {
    forger.claim(v6, lab.client.mac);
    await leaderWarns(scene, new RegExp(`${v6} was claimed by ${lab.client.mac}.* and defended`));
  });
  assert.equal((await scene.holder()).name, holder.name);
  assert.equal(observer.holder(v6), holder.name);

  // Whoever comes next does not know who was first, so it claims nothing until the stranger goes.
  await holder.killAgent();
  await leaderWarns(scene, new RegExp(`${v6} is also answered for by ${lab.client.mac}`));
  await lasting(1_000);
  for (const vip of [v4, v6]) assert.equal(observer.holder(vip), null);
  await must([...atStranger, 'del', `${v6}/64`, 'dev', 'eth0']);
  for (const vip of [v4, v6]) await observer.waitForHolder(vip, 5_000);
  await holder.startAgent();
});
