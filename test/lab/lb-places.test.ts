/**
 * From wherever a client may be, over IPv4 and IPv6, beside an API server on [::]:6443 and beside
 * kube-proxy's rules in both their forms; and changes of a live frontend, which nobody feels.
 */
import assert from 'node:assert/strict';
import { apiServerPort } from './api-server.ts';
import { until } from './clock.ts';
import {
  aside,
  frontendOf,
  type LabDataPath,
  type LabFrontend,
  members,
  ports,
  servers,
  waitForPaths,
  waitForStates,
} from './data-paths.ts';
import { Held } from './held.ts';
import type { Host } from './host.ts';
import { addKubeProxy, foreignTables, serviceAddress, servicePorts } from './kube-proxy.ts';
import { addPod, type Pod } from './pods.ts';
import { type Scene, scenarios } from './scene.ts';
import { changeSpec, SpecDraft } from './spec.ts';
import { Traffic } from './traffic.ts';

const pods: Pod[] = [];
const foreign = new Map<Host, string>();

const scenario = scenarios({
  hosts: 4,
  members: 3,
  ipv6: true,
  prepare: async (scene) => {
    for (const host of scene.lab.hosts) {
      await addKubeProxy(host, scene.lab.hosts.slice(0, 3));
      foreign.set(host, await foreignTables(host));
    }
    for (const [at, name] of ['n1', 'n2', aside].entries()) {
      pods.push(await addPod(scene.lab, scene.lab.host(name), at + 1));
    }
  },
});

/** The VIPs' own port, on each family, all on one path. */
async function balanceBy(scene: Scene, dataPath: LabDataPath): Promise<void> {
  const four = frontendOf(scene, { dataPath, port: apiServerPort });
  await changeSpec(scene, (spec) => {
    spec.frontends = scene.lab.vips.map((vip, at) =>
      at === 0 ? { ...four, name: 'four' } : { ...four, ...six(scene), name: 'six', vip },
    );
  });
  await waitForPaths(scene, { four: dataPath, six: dataPath });
  await waitForStates(scene, {}, 20_000);
}

/** Every host by its other address; the cluster's own are IPv4. */
function six({ lab }: Scene): Pick<LabFrontend, 'backends'> {
  const all = [...members, aside].map((name) => ({
    address: lab.host(name).address6 ?? '',
    port: apiServerPort,
  }));
  return { backends: { static: all } };
}

for (const { dataPath } of ports) {
  scenario(`${dataPath}: served from every place, by every server`, async (scene) => {
    await balanceBy(scene, dataPath);
    const places = [...scene.lab.hosts, scene.lab.client, ...pods];

    for (const address of scene.lab.vips) {
      await Promise.all(
        places.map(async (place, at) => {
          // At a pace of its own: in step with the others it would meet the same server each time.
          const target = { address, port: apiServerPort, everyMs: 20 + 3 * at, giveUpMs: 3_000 };
          const traffic = await Traffic.start(place, target);
          const report = await until(
            async () => {
              const soFar = await traffic.report();
              const isOver = servers(soFar).length === 4 || soFar.failures.length > 0;
              return isOver && soFar.successes.length >= 20 ? soFar : undefined;
            },
            { timeoutMs: 15_000, everyMs: 200, what: `answers of ${address} in ${place.name}` },
          );
          await traffic.stop();
          assert.deepEqual(report.failures, [], `${place.name} to ${address}`);
          assert.deepEqual(servers(report), [...members, aside], `${place.name} to ${address}`);
        }),
      );
    }
  });

  scenario(`${dataPath}: kube-proxy’s rules work on, and are what they were`, async (scene) => {
    await balanceBy(scene, dataPath);
    for (const host of scene.lab.hosts) {
      assert.equal(await foreignTables(host), foreign.get(host), host.name);
      for (const port of servicePorts) {
        const { status, error } = await host.fetch(`line://${serviceAddress}:${port}/whoami`);
        assert.equal(status, 200, `the service from ${host.name}: ${error}`);
      }
    }
  });
}

scenario('a live frontend changes its mind: no connection is lost', async (scene) => {
  const { lab } = scene;
  const count = 20;
  const first = ports[0]?.dataPath ?? 'proxy';
  await balanceBy(scene, first);
  const traffic = await scene.traffic({ everyMs: 10, streams: 16 });
  const { address } = lab.host(aside);
  const held: Held[] = [];
  const draft = await SpecDraft.read(scene);
  const change = (edit: (frontend: LabFrontend) => void): Promise<void> =>
    draft.change((spec) => edit(spec.frontends[0] as LabFrontend));

  for (const { dataPath } of ports.toReversed()) {
    await change((frontend) => {
      frontend.dataPath = dataPath;
    });
    await waitForPaths(scene, { four: dataPath, six: first });
    held.push(await Held.open(lab.client, { address: lab.vip, port: apiServerPort, count }));
    for (const scheduler of ['source-hash', 'weighted', 'round-robin']) {
      await change((frontend) => {
        frontend.scheduler = scheduler;
      });
    }
    await change((frontend) => {
      frontend.backends.static = [];
    });
    await change((frontend) => {
      frontend.backends.static = [{ address, port: apiServerPort }];
    });
    await waitForStates(scene, {}, 20_000);
  }
  const report = await traffic.stop();

  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.streamEnds, []);
  for (const each of held) assert.equal((await each.speak(3_000)).answered, count);

  const former = await scene.holder();
  await former.must(['transfer']);
  await scene.observer.waitForHolder(lab.vip, 10_000, (host) => host !== former.name);
  for (const each of held) {
    const { silent, answered } = await each.speak(3_000);
    await each.stop();
    assert.deepEqual({ silent, answered }, { silent: 0, answered: 0 }, 'whichever way they came');
  }
});

scenario('what a path cannot count, it is not asked to balance by', async (scene) => {
  const draft = await SpecDraft.read(scene);
  for (const { dataPath } of ports) {
    const { code, stderr } = await draft.apply((spec) => {
      Object.assign(spec.frontends[0] ?? {}, { dataPath, scheduler: 'least-connections' });
    });
    if (dataPath === 'proxy') {
      assert.equal(code, 0, stderr);
      continue;
    }
    assert.equal(code, 1);
    assert.match(stderr, /^.*least-connections.*\n$/, 'one line');
    assert.match(stderr, /auto or proxy/, 'that says what to do');
  }
});
