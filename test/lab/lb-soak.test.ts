/**
 * Full load and a fault every ten seconds, and no leak of memory, descriptors, tracked connections
 * or rules. HOLDFAST_SOAK_MINUTES=10 is the whole of it; half a minute otherwise.
 */
import assert from 'node:assert/strict';
import { lasting, monotonicMs, until } from './clock.ts';
import {
  allUp,
  aside,
  balancedScene,
  Clients,
  type LabFrontend,
  onEachPath,
} from './data-paths.ts';
import { Held } from './held.ts';
import { workersOf } from './processes.ts';
import { type Scene, scenarios } from './scene.ts';
import { type Footing, footings, forgetEndedSoon, soakMs } from './soak.ts';
import { changeSpec } from './spec.ts';
import { kill } from './teardown.ts';
import { clientGap, perFailure } from './traffic.ts';

const faultEveryMs = 10_000;
/** The longest that a client of a path may be without any answer, whatever the fault. */
const longestGapMs = 3_000;
const durationMs = soakMs();

const scenario = scenarios(balancedScene);

async function edit(scene: Scene, change: (frontend: LabFrontend) => void): Promise<void> {
  await changeSpec(scene, (spec) => {
    for (const frontend of spec.frontends) change(frontend as LabFrontend);
  });
}

/** Each leaves things as they were, sooner or later. */
const faults: readonly [string, (scene: Scene) => Promise<void>][] = [
  [
    'a worker is killed',
    async (scene) => {
      const [pid] = workersOf(await scene.holder());
      assert.ok(pid !== undefined);
      kill(pid, 'SIGKILL');
    },
  ],
  [
    'a backend dies and comes back',
    async ({ servers }) => {
      await servers.at(-1)?.setMode('refuse');
      await lasting(3_000);
      await servers.at(-1)?.setMode('ok');
    },
  ],
  [
    'the VIP is handed over',
    async (scene) => void (await (await scene.holder()).must(['transfer'])),
  ],
  [
    'a backend hangs for a while',
    async (scene) => {
      await scene.server(aside).setMode('hang');
      await lasting(4_000);
      await scene.server(aside).setMode('ok');
    },
  ],
  [
    'the spec changes, and changes back',
    async (scene) => {
      let fixed: LabFrontend['backends']['static'] = [];
      await edit(scene, (frontend) => {
        fixed = frontend.backends.static;
        frontend.backends.static = [];
        frontend.scheduler = 'source-hash';
      });
      await lasting(2_000);
      await edit(scene, (frontend) => {
        frontend.backends.static = fixed;
        frontend.scheduler = 'round-robin';
      });
    },
  ],
  [
    'the holder is killed',
    async (scene) => {
      const holder = await scene.holder();
      await holder.killAgent();
      await lasting(2_000);
      await holder.startAgent();
    },
  ],
  [
    'a backend answers 500 for a while',
    async (scene) => {
      await scene.server('n1').setMode(500);
      await lasting(3_000);
      await scene.server('n1').setMode('ok');
    },
  ],
];

async function underLoad(scene: Scene, play: () => Promise<void>): Promise<Clients> {
  const clients = await Clients.start(scene, { everyMs: 5, streams: 20 });
  const held = await onEachPath(({ port }) =>
    Held.open(scene.lab.client, { address: scene.lab.vip, port, count: 100 }),
  );
  await play();
  await Promise.all(held.map((each) => each.stop()));
  return clients;
}

/** Once the clients have gone, and the kernel has forgotten them. */
async function quiet(scene: Scene): Promise<readonly Footing[]> {
  await allUp(scene);
  let last: readonly Footing[] = [];
  return until(
    async () => {
      last = await footings(scene);
      return last.every(({ tracked }) => openOf(tracked) <= 3) ? last : undefined;
    },
    { timeoutMs: 30_000, everyMs: 500, what: 'the connections to be forgotten' },
  ).catch((cause: unknown) => {
    const said = last.map(({ host, tracked }) => `${host} ${JSON.stringify(tracked)}`).join(', ');
    throw new Error(`connections are tracked that have ended: ${said}`, { cause });
  });
}

/** Those that the kernel would keep for days. */
function openOf(tracked: Footing['tracked']): number {
  const open = Object.entries(tracked).filter(([kind]) => kind.endsWith(' ESTABLISHED'));
  return open.reduce((sum, [, count]) => sum + count, 0);
}

scenario(`${durationMs / 1_000} s of load and faults leave nothing behind`, async (scene) => {
  await forgetEndedSoon([...scene.lab.hosts, scene.lab.client]);
  const warm = await underLoad(scene, () => lasting(2_000));
  await warm.stop(() => undefined);
  const before = await quiet(scene);

  const clients = await underLoad(scene, async () => {
    const began = monotonicMs();
    for (let turn = 0; monotonicMs() - began < durationMs; turn++) {
      const [what, strike] = faults[turn % faults.length] ?? [];
      assert.ok(what !== undefined && strike !== undefined);
      console.log(`# ${what}`);
      await strike(scene);
      const nextAt = began + (turn + 1) * faultEveryMs;
      await lasting(Math.max(0, nextAt - monotonicMs()));
    }
  });
  await clients.stop((report, dataPath) => {
    const failures = Object.fromEntries(perFailure(report));
    const { successes } = report;
    console.log(`# ${dataPath}: ${successes.length} answers, not: ${JSON.stringify(failures)}`);
    const gap = clientGap(report);
    assert.ok(gap.lengthMs < longestGapMs, `nobody was served for ${gap.lengthMs.toFixed(0)} ms`);
    assert.equal(report.openStreams, 20, 'every stream found its way back');
  });
  const after = await quiet(scene);

  for (const [at, now] of after.entries()) {
    const then = before[at];
    assert.ok(then !== undefined);
    console.log(`# before ${JSON.stringify(then)}\n# after  ${JSON.stringify(now)}`);
    assert.equal(now.rules, then.rules, 'rules');
    assert.ok(now.agentDescriptors <= then.agentDescriptors + 5, 'descriptors of the agent');
    assert.ok(now.workerDescriptors <= then.workerDescriptors + 5, 'descriptors of the workers');
    assert.ok(now.agentKb <= then.agentKb * 1.3 + 30_000, 'memory of the agent');
    assert.ok(now.workersKb <= then.workersKb * 1.3 + 30_000, 'memory of the workers');
  }
});
