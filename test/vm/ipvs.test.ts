/**
 * Forwarding by virtual servers on a kernel that has them, with ipvsadm as the witness. Runs in the
 * test VM alone.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import type { ForwardBackend } from '../../src/lb/ports.ts';
import { sweep } from '../../src/linux/cleanup.ts';
import { createIpvsForwarder } from '../../src/linux/ipvs-forwarder.ts';
import { inNamespace, run } from '../conformance/netns.ts';
import { assertInside } from './inside.ts';
import { createScene, type IpvsScene, type Net, nets, port, vipOn } from './ipvs-scene.ts';
import { dial, line } from './sockets.ts';

assertInside();
run('modprobe ip_vs');

let scene: IpvsScene;
const forwarder = createIpvsForwarder();

before(() => {
  scene = createScene();
});
beforeEach(() => {
  run('ipvsadm -C');
  return forwarder.clear();
});
after(() => scene.close());

const remote = (net: Net): readonly ForwardBackend[] =>
  (['b1', 'b2', 'b3'] as const).map((host) => scene.backend(net, host));

const who = (answer: string): string => answer.split(' ')[0] ?? '';

async function tally(net: Net, connections: number): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < connections; i++) {
    const answer = who(await scene.ask('client', net));
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
  return counts;
}

/** A connection that stays, and its server. */
async function open(net: Net, from: 'client' | 'b1' = 'client') {
  const connection = dial(scene.places[from], net.vip, port);
  assert.ok(typeof connection === 'object', `the connection is ${String(connection)}`);
  const server = who(await line(connection));
  return {
    server,
    async echo(text: string): Promise<string> {
      connection.write(`${text}\n`);
      return line(connection);
    },
    close: () => connection.destroy(),
  };
}

const listed = (): string => run('ipvsadm -Ln');

test('is available where the kernel has it, and says why not beside kube-proxy', () => {
  assert.equal(forwarder.unavailable(), null);
  run('ip link add kube-ipvs0 type dummy');
  assert.match(forwarder.unavailable() ?? '', /kube-proxy runs in IPVS mode/);
  run('ip link del kube-ipvs0');
});

for (const net of nets) {
  suite(`IPv${net.family}`, () => {
    test('round-robin is even, and backends see the holder', async () => {
      await forwarder.set([scene.plan(net, remote(net))]);

      assert.deepEqual(await tally(net, 12), { b1: 4, b2: 4, b3: 4 });
      const saw = (await scene.ask('client', net)).split(' ')[2];
      assert.equal(saw, scene.address(net, 'holder'));
      assert.match(listed(), /FWM +\d+ (?:IPv6 )?rr/);
    });

    test('reaches a backend from everywhere, and the local one too', async () => {
      const everybody = [...remote(net), scene.backend(net, 'holder')];
      for (const from of ['client', 'holder', 'b1', 'pod'] as const) {
        for (const backend of everybody) {
          await forwarder.set([scene.plan(net, [backend])]);
          const answer = await scene.ask(from, net);
          assert.equal(who(answer), backend.name, `from ${from}: ${answer}`);
        }
      }
    });

    test('acts only while the VIP is here', async () => {
      await forwarder.set([scene.plan(net, remote(net))]);
      run(`ip addr del ${vipOn(net, 'eth0')}`);
      inNamespace(scene.places.b2 ?? '', () => run(`ip addr add ${vipOn(net, 'eth0')}`));

      const answer = await scene.ask('holder', net);
      inNamespace(scene.places.b2 ?? '', () => run(`ip addr del ${vipOn(net, 'eth0')}`));
      run(`ip addr add ${vipOn(net, 'eth0')}`);
      run('ip neigh flush all');
      inNamespace(scene.places.client ?? '', () => run('ip neigh flush all'));

      assert.equal(who(answer), 'b2', 'the other holder');
    });

    test('established connections outlive every change', async () => {
      await forwarder.set([scene.plan(net, remote(net))]);
      const kept = [await open(net), await open(net), await open(net)];

      await forwarder.set([scene.plan(net, [scene.backend(net, 'b1')])]);
      assert.deepEqual(await tally(net, 3), { b1: 3 });
      await forwarder.set([scene.plan(net, remote(net), { scheduler: 'weighted' })]);
      await forwarder.set([scene.plan(net, remote(net), { scheduler: 'source-hash' })]);
      assert.match(listed(), / mh /);
      await forwarder.set([scene.plan(net, [])]);
      await forwarder.set([]);

      for (const connection of kept) assert.equal(await connection.echo('still'), 'still');
      for (const connection of kept) connection.close();
    });

    test('what has drained is removed', async () => {
      await forwarder.set([scene.plan(net, [scene.backend(net, 'b1')])]);
      const kept = await open(net);
      await forwarder.set([scene.plan(net, [scene.backend(net, 'b2')])]);
      assert.match(listed(), new RegExp(`${net.prefix}11\\S*:6443 +Masq +0`));

      const counts = await forwarder.counts();
      assert.deepEqual(
        counts.map(({ frontend, backend, connections }) => [frontend, backend, connections]),
        [[`api${net.family}`, 'b2', 0]],
      );
      assert.equal(await kept.echo('on'), 'on');
      kept.close();
    });

    test('without backends connections are refused at once', async () => {
      await forwarder.set([scene.plan(net, [])]);
      const since = process.hrtime.bigint();
      assert.equal(await scene.ask('client', net), 'refused');
      assert.equal(await scene.ask('holder', net), 'refused');
      assert.ok(process.hrtime.bigint() - since < 2_000_000_000n);

      await forwarder.set([scene.plan(net, [scene.backend(net, 'b3')])]);
      assert.equal(who(await scene.ask('client', net)), 'b3');
    });

    test('sever() ends the connections to one backend and no other', async () => {
      const [first, second] = remote(net) as [ForwardBackend, ForwardBackend];
      const plan = scene.plan(net, [first, second]);
      await forwarder.set([plan]);
      const kept = [await open(net), await open(net)];
      assert.deepEqual(kept.map(({ server }) => server).sort(), ['b1', 'b2']);
      const counts = await forwarder.counts();
      assert.deepEqual(
        counts.map(({ connections }) => connections),
        [1, 1],
      );

      await forwarder.set([scene.plan(net, [second])]);
      assert.equal(await forwarder.sever(plan, first), 1);

      for (const { server, echo, close } of kept) {
        assert.equal(await echo('there?'), server === 'b1' ? 'reset' : 'there?');
        close();
      }
    });

    test('release() ends all connections of a VIP', async () => {
      await forwarder.set([scene.plan(net, remote(net))]);
      const kept = [await open(net), await open(net)];

      assert.equal(await forwarder.release(net.vip), 2);

      for (const { echo, close } of kept) {
        assert.equal(await echo('there?'), 'reset');
        close();
      }
      assert.match(who(await scene.ask('client', net)), /^b\d$/, 'new ones are served');
    });

    test('weights count', async () => {
      const [first, second] = remote(net) as [ForwardBackend, ForwardBackend];
      const backends = [{ ...first, weight: 3 }, second];
      await forwarder.set([scene.plan(net, backends, { scheduler: 'weighted' })]);
      assert.deepEqual(await tally(net, 8), { b1: 6, b2: 2 });
    });

    test('leaves virtual servers of others alone', async () => {
      const theirs = net.family === 4 ? '10.79.0.77:80' : '[fd79::77]:80';
      run(`ipvsadm -A -t ${theirs} -s rr`);
      run(`ipvsadm -A -f 7${net.family === 4 ? '' : ' -6'} -s rr`);
      await forwarder.set([scene.plan(net, remote(net))]);
      await forwarder.set([]);
      await forwarder.clear();

      const left = listed();
      assert.match(left, /10\.79\.0\.77:80|\[fd79::77\]:80/);
      assert.match(left, /FWM +7/);
      assert.equal([...left.matchAll(/FWM/g)].length, 1);
      assert.doesNotMatch(run('nft list tables'), /holdfast/);
    });

    test('cleanup finds what an agent that was killed left behind', async () => {
      await forwarder.set([scene.plan(net, remote(net))]);
      const found = sweep().join('\n');
      assert.match(found, /holdfast_ipvs/);
      assert.match(found, new RegExp(`IPv${net.family} virtual server`));
      assert.doesNotMatch(listed(), /FWM/);
      assert.doesNotMatch(run('nft list tables'), /holdfast/);
    });

    for (const mode of ['direct', 'tunnel'] as const) {
      test(`${mode} routing keeps the client's address`, async () => {
        acceptUntranslated(net, mode);
        await forwarder.set([scene.plan(net, [scene.backend(net, 'b3', { mode })])]);
        const answer = await scene.ask('client', net);
        assert.equal(answer, `b3 saw ${scene.address(net, 'client')}`);
      });
    }
  });
}

/** Sets b3 up as a real server of direct routing or tunnelling: the VIP, and no ARP for it. */
function acceptUntranslated(net: Net, mode: 'direct' | 'tunnel'): void {
  inNamespace(scene.places.b3 ?? '', () => {
    run('sysctl -q -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2');
    run('sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0');
    run(`ip addr replace ${vipOn(net, 'lo')}`);
    if (mode === 'direct') return;
    const [type, name] = net.family === 4 ? ['ipip', 'tunl1'] : ['ip6tnl', 'tnl1'];
    const ends = `local ${scene.address(net, 'b3')} remote ${scene.address(net, 'holder')}`;
    run(`ip link add ${name} type ${type} ${net.family === 4 ? '' : 'mode ip6ip6 '}${ends}`);
    run(`ip link set ${name} up`);
    run(`sysctl -q -w net.ipv4.conf.${name}.rp_filter=0`);
  });
}
