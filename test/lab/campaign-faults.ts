/**
 * Every fault under which no two hosts may ever hold the VIP, as a play on a settled cluster. Each
 * takes its chances from a seed, and leaves healing and the verdict to whoever plays it.
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { intBetween, type Prng, pick } from '../../src/base/prng.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import type { Scene } from './scene.ts';

const foreignProgram = fileURLToPath(new URL('foreign-program-child.ts', import.meta.url));

export interface Stage {
  readonly scene: Scene;
  readonly random: Prng;
  /** How often a fault that consists of many pauses pauses. */
  readonly pauses: number;
  /** Notes a figure of this run under a name, in ms. */
  readonly note: (figure: string, ms: number) => void;
}

export interface Fault {
  readonly name: string;
  /** A scenario of failover.test.ts plays it in `make test`. */
  readonly testedInFailover?: true;
  /** Takes another course with more than three nodes: `make test` plays it on five as well. */
  readonly alsoOnFive?: true;
  /** Concerns the fence itself: also played where eBPF is refused. */
  readonly alsoWithoutBpf?: true;
  /** Played more often than the others, so that there are enough of its many small parts. */
  readonly runsAtLeast?: number;
  readonly play: (stage: Stage) => Promise<void>;
}

/** Waits until each VIP is held by somebody else than `former`. */
async function moved({ observer, lab }: Scene, former: Host): Promise<void> {
  for (const vip of lab.vips) {
    await observer.waitForHolder(vip, 10_000, (host) => host !== former.name);
  }
}

function others(scene: Scene, host: Host): readonly Host[] {
  return scene.cluster.running().filter((each) => each !== host);
}

async function flush(host: Host): Promise<void> {
  const { code, stderr } = await host.exec(['nft', 'flush', 'ruleset']);
  assert.equal(code, 0, stderr);
}

async function foreign(host: Host, verb: 'attach' | 'detach'): Promise<void> {
  const { code, stderr } = await host.exec([process.execPath, foreignProgram, verb]);
  assert.equal(code, 0, stderr);
}

/** Stops the agent, lets `meddle` work, waits for the heir, and continues the stopped one. */
async function stopAnd(stage: Stage, meddle: (host: Host) => Promise<void>): Promise<void> {
  const { scene, note } = stage;
  const holder = await scene.holder();
  const at = monotonicMs();
  holder.pauseAgent();
  try {
    await meddle(holder);
    await moved(scene, holder);
    await lasting(intBetween(stage.random, 200, 1_000));
    await noteMute(scene, holder, at, note);
  } finally {
    holder.resumeAgent();
  }
  await lasting(500);
}

/** Kills the agent, lets `meddle` work, waits for the heir, and starts it again. */
async function killAnd(stage: Stage, meddle: (host: Host) => Promise<void>): Promise<void> {
  const { scene, note } = stage;
  const holder = await scene.holder();
  const at = monotonicMs();
  await holder.killAgent();
  await meddle(holder);
  await moved(scene, holder);
  await lasting(intBetween(stage.random, 200, 1_000));
  await noteMute(scene, holder, at, note);
  await holder.startAgent();
}

/** How long after `at` the host went on to claim a VIP. */
async function noteMute(
  { observer, lab }: Scene,
  host: Host,
  at: number,
  note: Stage['note'],
): Promise<void> {
  for (const vip of lab.vips) {
    const { records } = await observer.report(vip);
    const claims = records.filter((record) => record.host === host.name && record.at > at);
    note('mute after', claims.length === 0 ? 0 : Math.max(...claims.map((each) => each.at)) - at);
  }
}

const nothing = (): Promise<void> => Promise.resolve();

const fenceFaults: readonly Fault[] = [
  {
    name: 'flush of all nft rules while holding',
    alsoWithoutBpf: true,
    play: async ({ scene }) => {
      const holder = await scene.holder();
      await flush(holder);
      await lasting(1_000);
      await scene.holder();
    },
  },
  {
    name: 'flush of all nft rules, then SIGSTOP',
    alsoWithoutBpf: true,
    play: async (stage) => {
      await flush(await stage.scene.holder());
      await stopAnd(stage, nothing);
    },
  },
  {
    name: 'SIGSTOP, then flush of all nft rules',
    alsoWithoutBpf: true,
    play: (stage) => stopAnd(stage, flush),
  },
  {
    name: 'SIGKILL, then flush of all nft rules',
    alsoWithoutBpf: true,
    play: (stage) => killAnd(stage, flush),
  },
  {
    name: 'clsact removed, then SIGSTOP',
    play: (stage) =>
      stopAnd(stage, async (host) => {
        await host.exec(['tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact']);
      }),
  },
  {
    name: 'a foreign TCX program first, while holding',
    play: async ({ scene }) => {
      const holder = await scene.holder();
      await foreign(holder, 'attach');
      await lasting(1_000);
      await foreign(holder, 'detach');
    },
  },
  {
    name: 'a foreign TCX program first, with SIGSTOP',
    play: async (stage) => {
      const holder = await stage.scene.holder();
      await stopAnd(stage, (host) => foreign(host, 'attach'));
      await foreign(holder, 'detach');
    },
  },
];

/** Applies faults of the switch until the VIP has moved and some time longer. */
async function severed(stage: Stage, strike: (holder: Host) => Promise<void>): Promise<void> {
  const { scene, random } = stage;
  const holder = await scene.holder();
  await strike(holder);
  await moved(scene, holder);
  await lasting(intBetween(random, 500, 2_000));
}

const linkFaults: readonly Fault[] = [
  {
    name: 'link of the holder loses its carrier',
    testedInFailover: true,
    play: (stage) => severed(stage, ({ name }) => stage.scene.lab.switch.unplug(name)),
  },
  {
    name: 'holder cut off in the switch',
    testedInFailover: true,
    play: (stage) => severed(stage, ({ name }) => stage.scene.lab.switch.cut(name)),
  },
  {
    name: 'holder hears nobody',
    testedInFailover: true,
    play: (stage) => severed(stage, ({ name }) => stage.scene.lab.switch.oneWay(name, 'in')),
  },
  {
    name: 'nobody hears the holder',
    testedInFailover: true,
    play: (stage) => severed(stage, ({ name }) => stage.scene.lab.switch.oneWay(name, 'out')),
  },
  {
    name: 'bridge: one node sees both sides',
    alsoOnFive: true,
    play: async ({ scene, random }) => {
      const holder = await scene.holder();
      const rest = others(scene, holder);
      const middle = pick(random, [holder, ...rest]);
      const sides = [holder, ...rest].filter((host) => host !== middle);
      const half = Math.ceil(sides.length / 2);
      const names = sides.map(({ name }) => name);
      await scene.lab.switch.partition([names.slice(0, half), names.slice(half)]);
      await lasting(intBetween(random, 2_000, 4_000));
    },
  },
  {
    name: 'leader isolated from a majority',
    alsoOnFive: true,
    testedInFailover: true,
    play: (stage) =>
      severed(stage, (holder) => {
        const rest = others(stage.scene, holder).map(({ name }) => name);
        const kept = rest.length > 2 ? rest.slice(0, 1) : [];
        const majority = rest.filter((name) => !kept.includes(name));
        return stage.scene.lab.switch.partition([[holder.name, ...kept], majority]);
      }),
  },
  {
    name: 'leader isolated from one peer',
    alsoOnFive: true,
    play: async ({ scene, random }) => {
      const holder = await scene.holder();
      const peer = pick(random, others(scene, holder));
      await scene.lab.switch.partition([[holder.name], [peer.name]]);
      await lasting(intBetween(random, 2_000, 3_000));
    },
  },
  {
    name: '20 % loss, and SIGKILL of the holder in it',
    alsoOnFive: true,
    play: async (stage) => {
      await stage.scene.lab.switch.loss(20);
      await lasting(intBetween(stage.random, 2_000, 4_000));
      await killAnd(stage, nothing);
      await lasting(1_000);
    },
  },
];

const processFaults: readonly Fault[] = [
  { name: 'SIGKILL', testedInFailover: true, play: (stage) => killAnd(stage, nothing) },
  {
    name: 'SIGSTOP for 0.2 to 5 s, then SIGCONT',
    alsoWithoutBpf: true,
    play: async ({ scene, random, note }) => {
      const holder = await scene.holder();
      const at = monotonicMs();
      holder.pauseAgent();
      await lasting(intBetween(random, 200, 5_000));
      await noteMute(scene, holder, at, note);
      holder.resumeAgent();
      await lasting(1_000);
    },
  },
  {
    name: 'SIGSTOP at random moments, 25 times',
    alsoOnFive: true,
    runsAtLeast: 20,
    play: async (stage) => {
      for (let pause = 0; pause < stage.pauses; pause++) await shortPause(stage);
    },
  },
  {
    name: 'all nodes killed and started, three rounds',
    alsoOnFive: true,
    play: async ({ scene, random }) => {
      for (let round = 0; round < 3; round++) {
        await Promise.all(
          scene.cluster.hosts.map(async (host) => {
            await lasting(intBetween(random, 0, 1_500));
            await host.killAgent();
            await lasting(intBetween(random, 0, 500));
            await host.startAgent();
          }),
        );
      }
    },
  },
  {
    name: 'CPU starvation, and SIGSTOP of the holder in it',
    play: async (stage) => {
      const spin = ['sh', '-c', 'while :; do :; done'];
      const count = 2 * availableParallelism();
      const spinners = Array.from({ length: count }, () =>
        stage.scene.lab.client.spawn(spin, { log: 'spin' }),
      );
      try {
        await lasting(intBetween(stage.random, 1_500, 3_000));
        await stopAnd(stage, nothing);
      } finally {
        await Promise.all(spinners.map((spinner) => spinner.stop(0)));
      }
    },
  },
];

/** At a random moment of the renewal; longer than what the lease lasts, or not. */
async function shortPause({ scene, random, note }: Stage): Promise<void> {
  const holder = await scene.holder();
  await lasting(random() * 60);
  const at = monotonicMs();
  holder.pauseAgent();
  await lasting(intBetween(random, 300, 600));
  await noteMute(scene, holder, at, note);
  holder.resumeAgent();
  await lasting(intBetween(random, 100, 300));
}

/** A short disturbance somewhere. */
async function disturb({ scene, random }: Stage): Promise<void> {
  const victim = pick(random, scene.cluster.running());
  const { switch: net } = scene.lab;
  const kind = pick(random, ['loss', 'in', 'out', 'pause'] as const);
  if (kind === 'pause') victim.pauseAgent();
  else if (kind === 'loss') await net.loss(10);
  else await net.oneWay(victim.name, kind);
  await lasting(intBetween(random, 200, 1_000));
  if (kind === 'pause') victim.resumeAgent();
  else await net.heal();
}

const orderedFaults: readonly Fault[] = [
  {
    name: 'transfer under faults, four times',
    alsoOnFive: true,
    play: async (stage) => {
      const { scene, random } = stage;
      for (let round = 0; round < 4; round++) {
        const holder = await scene.holder();
        const trouble = disturb(stage);
        await lasting(intBetween(random, 0, 200));
        // Refused is as good as done: what counts is who holds meanwhile.
        await holder.cli(['transfer'], { timeoutMs: 10_000 });
        await trouble;
      }
    },
  },
  {
    name: 'membership change under faults',
    alsoOnFive: true,
    play: async (stage) => {
      const { scene } = stage;
      const { cluster } = scene;
      const victim = pick(stage.random, others(scene, await scene.holder()));
      const trouble = disturb(stage);
      await asked(scene, ['member', 'remove', victim.name], /no member/);
      await trouble;
      cluster.forget(victim);
      await victim.killAgent();
      await victim.must(['reset', '--yes']);
      const more = disturb(stage);
      await until(
        async () => {
          const via = pick(stage.random, cluster.running());
          const { code, stderr } = await victim.cli([...cluster.joinArgs(victim, via)]);
          return code === 0 || /already/.test(stderr);
        },
        { timeoutMs: 20_000, everyMs: 200, what: `${victim.name} to join again` },
      );
      await victim.startAgent();
      cluster.count(victim);
      await more;
    },
  },
];

/** Asks whoever answers until it is done, or was done by an attempt whose answer was lost. */
async function asked(scene: Scene, args: readonly string[], done: RegExp): Promise<void> {
  await until(
    async () => {
      for (const host of scene.cluster.running()) {
        const { code, stderr } = await host.cli(args, { timeoutMs: 8_000 });
        if (code === 0 || done.test(stderr)) return true;
      }
      return false;
    },
    { timeoutMs: 30_000, everyMs: 200, what: args.join(' ') },
  );
}

export const faults: readonly Fault[] = [
  ...fenceFaults,
  ...linkFaults,
  ...processFaults,
  ...orderedFaults,
];
