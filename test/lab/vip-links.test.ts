/**
 * The VIP's interface is changed under the agent's feet: addresses deleted and flushed, the link
 * bounced, unplugged, taken away. The members hear each other on another network throughout.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import { arping, Dump } from './client-view.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { assertNeverTwo } from './observer.ts';
import { createPeerScene, ownAddresses, type PeerScene } from './peer-network.ts';
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
      for (const vip of lab.vips) assertNeverTwo(await observer.report(vip));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${logTails(lab)}`, {
        cause: error,
      });
    }
  });
}

/** The host that holds both VIPs. */
async function holderOf({ lab, observer }: PeerScene): Promise<Host> {
  const name = await observer.waitForHolder(lab.vip, 10_000);
  for (const vip of lab.vips) await observer.waitForHolder(vip, 2_000, (host) => host === name);
  return lab.host(name);
}

/** Until both VIPs are with somebody else. */
async function movedFrom({ lab, observer }: PeerScene, former: Host): Promise<void> {
  for (const vip of lab.vips) {
    await observer.waitForHolder(vip, 3_000, (host) => host !== former.name);
  }
}

/** Asks until the leader agrees. */
async function transferTo(host: Host): Promise<void> {
  await until(async () => (await host.cli(['transfer', host.name])).code === 0, {
    timeoutMs: 5_000,
    what: `the transfer to ${host.name}`,
  });
}

function ip(host: Host, ...lines: readonly string[]): Promise<string> {
  const input = `${lines.join('\n')}\n`;
  return must(['ip', '-n', host.namespace, '-batch', '-'], { input });
}

/** The longest time after `since` in which nobody claimed one of the VIPs on the wire. */
async function silenceMs({ lab, observer }: PeerScene, since: number): Promise<number> {
  const gaps: number[] = [];
  for (const vip of lab.vips) {
    const { records } = await observer.report(vip);
    const instants = records.map(({ at }) => at).filter((at) => at >= since - 20);
    gaps.push(...instants.slice(1).map((at, index) => at - (instants[index] ?? at)));
  }
  return Math.max(...gaps);
}

/** Whether both VIPs were announced on the wire after `since`. */
async function announced({ lab, observer }: PeerScene, since: number): Promise<boolean> {
  for (const vip of lab.vips) {
    const { records } = await observer.report(vip);
    if (!records.some(({ kind, at }) => kind === 'announce' && at > since)) return false;
  }
  return true;
}

const removed = ({ lab: { vips } }: PeerScene): readonly string[] =>
  vips.map((vip) => `addr del ${vip}/${vip.includes(':') ? 128 : 32} dev eth0`);

for (const [what, undo] of [
  ['ip addr del', (scene: PeerScene) => removed(scene)],
  [
    'a network daemon that removes what it does not know and puts its own anew',
    (scene: PeerScene, holder: Host) => [...removed(scene), ...ownAddresses(holder)],
  ],
  [
    'ip addr flush and the own addresses put back, as by a restarted network daemon',
    (_scene: PeerScene, holder: Host) => ['addr flush dev eth0', ...ownAddresses(holder)],
  ],
  ['ip addr flush', () => ['addr flush dev eth0']],
] as const) {
  scenario(`after ${what} the VIPs are back within 100 ms, announced`, async (scene) => {
    const holder = await holderOf(scene);
    const at = monotonicMs();
    await ip(holder, ...undo(scene, holder));
    await lasting(500);

    const silent = await silenceMs(scene, at);
    assert.ok(silent <= 100, `nobody answered for ${silent} ms`);
    for (const vip of scene.lab.vips) {
      assert.equal(scene.observer.holder(vip), holder.name, 'where it was');
    }
    assert.ok(await announced(scene, at));
    if (what === 'ip addr flush') await ip(holder, ...ownAddresses(holder));
  });
}

scenario('after a bounce of the link the VIPs answer again at once, announced', async (scene) => {
  const { lab, observer } = scene;
  const holder = await holderOf(scene);
  await using dump = await Dump.start(lab.client, 'arp or icmp6');
  // What goes down loses its IPv6 addresses, and the network daemon puts its own back.
  await ip(holder, 'link set eth0 down', 'link set eth0 up', ...ownAddresses(holder));
  const at = monotonicMs();
  for (const vip of lab.vips) await observer.waitForHolder(vip, 2_000);
  await lasting(500);

  const silent = await silenceMs(scene, at);
  assert.ok(silent <= 200, `nobody answered for ${silent} ms`);
  const next = await holderOf(scene);
  assert.ok(await announced(scene, at - 50), `${next.name} holds them, and has not announced them`);
  for (const vip of lab.vips) await dump.sees(vip, next.mac);
  assert.deepEqual(await arping(lab.client, lab.vip), [next.mac]);
});

scenario('a pulled cable moves the VIP at once, and its host waits', async (scene) => {
  const { lab, cluster } = scene;
  const holder = await holderOf(scene);
  const at = monotonicMs();
  await lab.switch.unplug(holder.name);
  await movedFrom(scene, holder);
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
  await movedFrom(scene, holder);
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
  await ip(holder, 'link set eth0 up', ...ownAddresses(holder));
  await until(async () => (await cluster.status(holder)).self.eligible === true, {
    timeoutMs: 1_000,
    what: 'the host to be eligible',
  });
  await transferTo(holder);
  await observer.waitForHolder(lab.vip, 2_000, (host) => host === holder.name);
});

scenario('a holder that has lost its peers has lost the VIPs', async (scene) => {
  const holder = await holderOf(scene);
  await scene.peerLink(holder, 'down');
  await movedFrom(scene, holder);
  await lasting(500);
  await scene.peerLink(holder, 'up');
});

/** Waits until `holder` says that none of `others` sees any of its VIPs. */
async function warned(
  { lab, cluster }: PeerScene,
  holder: Host,
  others: readonly Host[],
): Promise<void> {
  let last: StatusDocument | null = null;
  const says = until(
    async () => {
      last = await cluster.status(holder);
      const said = last.warnings.join('\n');
      return others.every(
        ({ name }) =>
          last?.vips.every(({ observedBy }) => observedBy[name] === false) &&
          said.includes(`${name} does not reach ${lab.vip}: no ARP answer`),
      );
    },
    { timeoutMs: 2_000, what: 'the holder to hear that nobody sees its VIPs' },
  );
  await says.catch((cause: unknown) => {
    throw new Error(`${holder.name} says ${JSON.stringify(last)}`, { cause });
  });
}

/** What keeps a holder's network from hearing of the VIP, and how it ends. */
const deafening: readonly {
  readonly what: string;
  readonly begin: (scene: PeerScene, holder: Host) => Promise<unknown>;
  readonly end: (scene: PeerScene, holder: Host) => Promise<unknown>;
}[] = [
  {
    what: 'a switch that lets its port say nothing of the VIPs',
    begin: ({ lab }, { name }) => {
      const drops = [
        `iifname "${name}" arp saddr ip ${lab.vip} drop;`,
        `iifname "${name}" icmpv6 type nd-neighbor-advert drop;`,
      ];
      const hook = 'type filter hook prerouting priority -300;';
      const rules = `table bridge guard { chain port { ${hook} ${drops.join(' ')} }; }\n`;
      return must([...switchNft(lab), '-f', '-'], { input: rules });
    },
    end: ({ lab }) => must([...switchNft(lab), 'delete', 'table', 'bridge', 'guard']),
  },
  {
    what: 'a port in another VLAN',
    begin: ({ lab }, { name }) =>
      must(['ip', '-n', lab.switchNamespace, '-batch', '-'], {
        input: `link add br2 type bridge\nlink set br2 up\nlink set ${name} master br2\n`,
      }),
    end: ({ lab }, { name }) =>
      must(['ip', '-n', lab.switchNamespace, '-batch', '-'], {
        input: `link set ${name} master br0\nlink del br2\n`,
      }),
  },
];

for (const { what, begin, end } of deafening) {
  scenario(`${what} is seen by the others within 2 s of the claim`, async (scene) => {
    const { lab, cluster } = scene;
    const former = await holderOf(scene);
    const next = lab.hosts.find(({ name }) => name !== former.name);
    const others = lab.hosts.filter((host) => host !== next);
    assert.ok(next !== undefined);
    await begin(scene, next);
    try {
      await transferTo(next);
      await warned(scene, next, others);
    } finally {
      await end(scene, next);
    }
    await until(
      async () => (await cluster.status(next)).warnings.every((line) => !/not reach/.test(line)),
      { timeoutMs: 4_000, what: 'the end of the warning' },
    );
  });
}

const switchNft = ({ switchNamespace }: Lab): readonly string[] => [
  ...['ip', 'netns', 'exec', switchNamespace, 'nft'],
];
