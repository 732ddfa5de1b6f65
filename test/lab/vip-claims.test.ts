/**
 * Somebody else claims the VIP: one forged frame, a member's MAC, a host that has the address for
 * good, a switch that answers for the dead. n4 is no member; it is the client that is lied to.
 */
import assert from 'node:assert/strict';
import { lasting, until } from './clock.ts';
import { metric, metricsOf } from './endpoints.ts';
import { Forger } from './forger.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';
import { must } from './shell.ts';
import { changeSpec } from './spec.ts';
import { clientGap } from './traffic.ts';

const stranger = '02:aa:00:00:00:01';
const scenario = scenarios({ hosts: 4, members: 3 });

async function withForger(
  { lab }: Scene,
  play: (forger: Forger) => Promise<void> | void,
): Promise<void> {
  const forger = new Forger(lab.client);
  try {
    await play(forger);
  } finally {
    forger.stop();
  }
}

/** What the kernel of `host` has in its cache for the VIP. */
async function neighbour(host: Host, vip: string): Promise<string> {
  return (await host.exec(['ip', 'neigh', 'show', vip])).stdout;
}

/** What the leader says, once `look` is content with it. */
function leaderSays(
  { cluster }: Scene,
  what: string,
  timeoutMs: number,
  look: (status: Awaited<ReturnType<typeof cluster.status>>) => boolean,
) {
  return until(
    async () => {
      const leader = await cluster.leader();
      if (leader === null) return undefined;
      const status = await cluster.status(leader);
      return look(status) ? status : undefined;
    },
    { timeoutMs, what },
  );
}

scenario('the other members see the VIP within 2 s of a claim, and say so', async (scene) => {
  const { lab, cluster } = scene;
  const holder = await scene.holder();
  await holder.must(['transfer']);

  const status = await leaderSays(scene, 'everybody to see the VIP', 2_000, ({ vips }) => {
    const seen = Object.values(vips[0]?.observedBy ?? {});
    return seen.length === 2 && seen.every((reached) => reached === true);
  });

  assert.ok(!Object.keys(status.vips[0]?.observedBy ?? {}).includes(status.self.name));
  const follower = lab.hosts.find(({ name }) => name !== status.self.name && name !== 'n4');
  assert.ok(follower !== undefined);
  const own = await cluster.status(follower);
  assert.equal(own.vips[0]?.observedBy[follower.name], true);
});

scenario('the other members look at a VIP that is added within 2 s', async (scene) => {
  const added = '10.77.0.101';
  await changeSpec(scene, (spec) => spec.vips.push({ address: added }));
  await leaderSays(scene, 'everybody to see the new VIP', 2_000, ({ vips }) => {
    const seen = vips.find(({ address }) => address === added)?.observedBy ?? {};
    return Object.values(seen).length === 2 && Object.values(seen).every((each) => each === true);
  });
  await changeSpec(scene, (spec) => {
    spec.vips = spec.vips.filter(({ address }) => address !== added);
  });
});

scenario('a switch that swallows the questions of one member is named', async (scene) => {
  const { lab } = scene;
  const holder = await scene.holder();
  const blind = lab.hosts.find(({ name }) => name !== holder.name && name !== 'n4');
  const next = lab.hosts.find(({ name }) => ![holder.name, blind?.name, 'n4'].includes(name));
  assert.ok(blind !== undefined && next !== undefined);
  const rules =
    'table bridge deaf { chain forward { type filter hook forward priority 1; ' +
    `iifname "${blind.name}" arp daddr ip ${lab.vip} drop; }; }\n`;
  const nft = ['ip', 'netns', 'exec', lab.switchNamespace, 'nft'];
  await must([...nft, '-f', '-'], { input: rules });
  const says = `${blind.name} does not reach ${lab.vip}: no ARP answer`;
  try {
    await holder.must(['transfer', next.name]);
    const status = await leaderSays(scene, says, 2_500, ({ warnings }) => warnings.includes(says));
    assert.equal(status.vips[0]?.observedBy[blind.name], false);
    assert.equal(status.verdict, 'degraded');
  } finally {
    // What comes later must not suffer from it.
    await must([...nft, 'delete', 'table', 'bridge', 'deaf']);
  }
  await leaderSays(scene, 'the end of the warning', 3_000, ({ warnings }) => {
    return !warnings.includes(says);
  });
});

scenario('one forged frame costs a client a moment, and the VIP stays', async (scene) => {
  const { lab } = scene;
  const victim = lab.host('n4');
  const holder = await scene.holder();
  const dump = victim.spawn(['tcpdump', '-e', '-n', '-l', '-i', 'eth0', 'arp'], { log: 'tcpdump' });
  await until(() => dump.log().includes('listening'), { timeoutMs: 5_000, what: 'tcpdump' });
  const traffic = await scene.traffic({}, victim);
  await withForger(scene, async (forger) => {
    forger.claim(lab.vip, stranger);
    await lasting(1_000);
  });
  const { lengthMs } = clientGap(await traffic.stop());

  assert.ok(lengthMs <= 200, `the client waited ${lengthMs} ms`);
  assert.equal((await scene.holder()).name, holder.name, 'it stays where it was');
  assert.ok((await neighbour(victim, lab.vip)).includes(holder.mac));
  const claimed = dump.log().indexOf(`${lab.vip} is-at ${stranger}`);
  const defended = dump.log().indexOf(`${lab.vip} is-at ${holder.mac}`, claimed);
  assert.ok(claimed >= 0 && defended > claimed, dump.log());
  dump.signalGroup('SIGTERM');
  const { warnings } = await scene.cluster.status(holder);
  const says = `${lab.vip} was claimed by ${stranger}, which is no member, and defended`;
  assert.match(warnings.join('\n'), new RegExp(says));
  const told = /vip\.conflict .*mac=02:aa:00:00:00:01 .*term=\d+ forMs=0 reason="[^"]*: defended"/;
  assert.match(holder.agentLog, told);
  assert.equal(metric(await metricsOf(holder), 'holdfast_vip_conflicts_total'), 1);
});

scenario('a holder whose VIP another member claims lets go and hands over', async (scene) => {
  const { lab, observer } = scene;
  const holder = await scene.holder();
  const rival = lab.hosts.find(({ name }) => name !== holder.name && name !== 'n4');
  assert.ok(rival !== undefined);
  await withForger(scene, async (forger) => {
    forger.claim(lab.vip, rival.mac);
    await observer.waitForHolder(lab.vip, 3_000, (host) => host !== holder.name);
  });

  const { self } = await scene.cluster.status(holder);
  assert.match(self.reason, new RegExp(`${rival.name} \\(${rival.mac}\\) claims ${lab.vip}`));
});

scenario('a VIP that is to be yielded is nobody’s for ten seconds', async (scene) => {
  const { lab, observer, cluster } = scene;
  const holder = await scene.holder();
  const { term } = (await cluster.status(holder)).cluster;
  const policy = (onConflict: string): Promise<void> =>
    changeSpec(scene, (spec) => {
      for (const vip of spec.vips) vip.onConflict = onConflict;
    });
  await policy('yield');
  await withForger(scene, async (forger) => {
    forger.claim(lab.vip, stranger);
    await until(() => observer.holder(lab.vip) === null, { timeoutMs: 500, what: 'nobody' });
    const { vips, warnings } = await cluster.status(holder);
    assert.match(vips[0]?.reason ?? '', /yielded to 02:aa:00:00:00:01/);
    assert.match(warnings.join('\n'), /and yielded/);
    await lasting(8_500);
    assert.equal(observer.holder(lab.vip), null);
    await observer.waitForHolder(lab.vip, 3_000);
  });

  assert.equal((await cluster.status(holder)).cluster.term, term, 'nobody else was elected');
  await policy('defend');
});

scenario('a switch that answers for a dead holder keeps nobody from claiming', async (scene) => {
  const { lab, observer } = scene;
  const holder = await scene.holder();
  const traffic = await scene.traffic({}, lab.host('n4'));
  await withForger(scene, async (forger) => {
    forger.answer(lab.vip, holder.mac);
    await holder.killAgent();
    await observer.waitForHolder(lab.vip, 2_000, (host) => host !== holder.name);
    const says = `ARP answered by ${holder.mac}, expected`;
    await leaderSays(scene, says, 3_000, ({ warnings }) => warnings.join('\n').includes(says));
  });
  await traffic.stop();
  await leaderSays(scene, 'a clean view', 4_000, ({ vips }) => {
    return Object.values(vips[0]?.observedBy ?? {}).includes(true);
  });
  await holder.startAgent();
});

scenario('a stranger that has the address for good is defended against', async (scene) => {
  const { lab, observer, cluster } = scene;
  const holder = await scene.holder();
  const atStranger = ['ip', '-n', lab.client.namespace, 'addr'];
  await must([...atStranger, 'add', `${lab.vip}/24`, 'dev', 'eth0']);
  const shout = ['arping', '-q', '-U', '-c', '1', '-I', 'eth0', lab.vip];
  await lab.client.exec(shout);
  await leaderSays(scene, 'the alarm', 2_000, ({ warnings }) => {
    return warnings.join('\n').includes(`${lab.vip} was claimed by ${lab.client.mac}`);
  });
  assert.equal((await scene.holder()).name, holder.name);
  const asked = await lab.host('n4').exec(['arping', '-c', '2', '-I', 'eth0', lab.vip]);
  assert.match(asked.stdout.toLowerCase(), new RegExp(holder.mac), 'arping hears the holder');

  // Whoever comes next does not know who was first, so it claims nothing until the stranger goes.
  await holder.killAgent();
  await lasting(2_000);
  assert.equal(observer.holder(lab.vip), null);
  await leaderSays(scene, 'the reason', 2_000, ({ warnings }) => {
    return warnings.join('\n').includes(`also answered for by ${lab.client.mac}`);
  });
  await must([...atStranger, 'del', `${lab.vip}/24`, 'dev', 'eth0']);
  await observer.waitForHolder(lab.vip, 5_000);
  await holder.startAgent();
  await cluster.settled();
});
