/**
 * Twenty VIPs of both families on three hosts that differ: one carries them on a bridge, one on a
 * macvlan, one on its plain interface; all are strict about ARP, as hosts with kube-proxy's IPVS
 * are. Their router ignores gratuitous ARP.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiServer } from './api-server.ts';
import { arping, Dump } from './client-view.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import { createLab, type Lab } from './lab.ts';
import { assertNeverTwo, Observer } from './observer.ts';
import { logTails } from './scene.ts';
import { must } from './shell.ts';
import { changeSpec } from './spec.ts';

const router = '10.77.0.250';
const router6 = 'fd77::250';
const macvlanMac = '02:00:00:4d:01:02';
const vips = [
  ...Array.from({ length: 14 }, (_, index) => `10.77.0.${100 + index}`),
  ...Array.from({ length: 6 }, (_, index) => `fd77::${100 + index}`),
];
/** As for one VIP (failover.test.ts); `make bench-failover` measures. */
const longestMs = 200;
/** What makes Linux strict: `all` and the interface's own setting are combined. */
const strict = ['all.arp_ignore=1', 'all.arp_announce=2', 'all.rp_filter=1'];

let lab: Lab;
let observer: Observer;
let cluster: Cluster;

before(async () => {
  lab = await createLab({ hosts: 3, ipv6: true });
  const [bridged, macvlan, plain] = lab.hosts as [Host, Host, Host];
  const ip = (host: Host, ...lines: readonly string[]): Promise<string> =>
    must(['ip', '-n', host.namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  await ip(
    bridged,
    `link add lan0 address ${bridged.mac} type bridge stp_state 0 forward_delay 0`,
    `addr del ${bridged.address}/24 dev eth0`,
    'link set eth0 master lan0',
    'link set lan0 up',
    `addr del ${bridged.address6}/64 dev eth0`,
    ...own(bridged, 'lan0'),
  );
  await ip(
    macvlan,
    `addr del ${macvlan.address}/24 dev eth0`,
    `link add mac0 link eth0 address ${macvlanMac} type macvlan mode bridge`,
    'link set mac0 up',
    `addr del ${macvlan.address6}/64 dev eth0`,
    ...own(macvlan, 'mac0'),
  );
  for (const host of lab.hosts) {
    await ip(host, `route add default via ${router}`, `route add default via ${router6}`);
    const settings = strict.map((setting) => `net.ipv4.conf.${setting}`);
    const { code, stderr } = await host.exec(['sysctl', '-q', '-w', ...settings]);
    assert.equal(code, 0, stderr);
  }
  const ignores = ['sysctl', '-q', '-w', 'net.ipv4.conf.br0.arp_accept=0'];
  await must(['ip', 'netns', 'exec', lab.switchNamespace, ...ignores]);
  await ApiServer.startAll(lab.hosts);
  observer = await Observer.start(lab, vips);
  cluster = await Cluster.initialise(lab, bridged, ['--interface', 'route:default']);
  await cluster.join(macvlan, bridged, ['--interface', `mac:${macvlanMac}`]);
  await cluster.join(plain, bridged, ['--interface', 'subnet:10.77.0.0/24']);
  await cluster.settled();
  await changeSpec({ lab, cluster }, (spec) => {
    spec.vips = vips.map((address) => ({ address }));
  });
  await cluster.settled();
});
after(() => lab?.close());

/** The host's own addresses, on another link. */
function own({ address, address6 }: Host, link: string): readonly string[] {
  return [`addr add ${address}/24 dev ${link}`, `addr add ${address6}/64 dev ${link} nodad`];
}

/** Where the router sends what is for `vip`. */
async function atRouter(vip: string): Promise<string | undefined> {
  const text = await must(['ip', '-n', lab.switchNamespace, 'neigh', 'show', vip]);
  return /lladdr (\S+)/.exec(text)?.[1];
}

/** For each VIP: how long nobody answered for it around the move to `to`. */
async function gapsOfMove(to: Host, since: number): Promise<readonly number[]> {
  const gaps: number[] = [];
  for (const vip of vips) {
    const { records } = await observer.report(vip);
    const first = records.find(({ host, at }) => host === to.name && at >= since);
    const last = records.findLast(({ host, at }) => host !== to.name && at < (first?.at ?? 0));
    assert.ok(first !== undefined, `${vip} has not come to ${to.name}\n${logTails(lab)}`);
    gaps.push(first.at - (last?.at ?? since));
  }
  return gaps;
}

/** Asks until the leader agrees; the instant of the question that it agreed to. */
function transferTo(to: Host): Promise<number> {
  return until(
    async () => {
      await observer.forget();
      const at = monotonicMs();
      return (await to.cli(['transfer', to.name])).code === 0 ? at : undefined;
    },
    { timeoutMs: 20_000, what: `the transfer to ${to.name}` },
  );
}

for (const [what, number, link] of [
  ['a macvlan', 2, 'mac0'],
  ['a plain interface', 3, 'eth0'],
  ['a bridge', 1, 'lan0'],
] as const) {
  test(`twenty VIPs move to ${what} in one hand-over`, { timeout: 60_000 }, async () => {
    const to = lab.host(`n${number}`);
    await using dump = await Dump.start(lab.client, 'arp');
    const at = await transferTo(to);
    for (const vip of vips) {
      await observer.waitForHolder(vip, 3_000, (host) => host === to.name);
    }
    await lasting(300);
    const gaps = await gapsOfMove(to, at);
    const worst = Math.max(...gaps);
    assert.ok(worst <= longestMs, `nobody answered for ${gaps.map(Math.round).join(', ')} ms`);

    const held = await to.exec(['ip', 'addr', 'show', 'dev', link]);
    for (const vip of vips) assert.match(held.stdout, new RegExp(` ${vip}/(32|128) `));
    assert.doesNotMatch(held.stdout, /tentative|dadfailed/);
    const [, first] = /inet (\S+)/.exec(held.stdout) ?? [];
    assert.equal(first, `${to.address}/24`, 'what kubelet takes for the address of the node');
    const route = await to.exec(['ip', 'route', 'get', lab.client.address]);
    assert.match(route.stdout, new RegExp(`src ${to.address} `), 'and the kernel as a source');
    const route6 = await to.exec(['ip', 'route', 'get', lab.client.address6 ?? '']);
    assert.match(route6.stdout, new RegExp(`src ${to.address6} `));
    const mac = number === 2 ? macvlanMac : to.mac;
    assert.deepEqual(await arping(lab.client, vips[13] ?? ''), [mac], 'one MAC answers');
    for (const vip of vips) assert.equal(await atRouter(vip), mac, `the router asks for ${vip}`);
    assert.match(dump.text, new RegExp(`who-has ${router} tell ${lab.vip}`));
    const { vips: seen } = await until(
      async () => {
        const status = await cluster.status(to);
        const all = status.vips.flatMap(({ observedBy }) => Object.values(observedBy));
        return all.length === 40 && all.every((reached) => reached === true) ? status : undefined;
      },
      { timeoutMs: 3_000, what: 'the others to see all of them' },
    );
    assert.equal(seen.length, 20);
    for (const vip of vips) assertNeverTwo(await observer.report(vip));
  });
}
