/**
 * Whether a cluster leaves its leader in office while life around it is hard: every core kept busy,
 * frames lost, a follower restarted again and again. Told are the elections that nobody needed.
 *
 *     node bench/stability.ts               a quarter of a minute each, to see that it runs
 *     MINUTES=15 ONLY=busy node …           what is promised, one hardship at a time
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { ApiServer } from '../test/lab/api-server.ts';
import { lasting, monotonicMs } from '../test/lab/clock.ts';
import { Cluster } from '../test/lab/cluster.ts';
import { createLab, type Lab } from '../test/lab/lab.ts';
import { Observer } from '../test/lab/observer.ts';
import { table } from '../test/lab/story.ts';

const minutes = Number(process.env.MINUTES ?? 0.25);
const only = process.env.ONLY ?? '';
const hogsPerCore = 2;
const restarts = 20;

interface Scene {
  readonly lab: Lab;
  readonly cluster: Cluster;
}

interface Hardship {
  readonly name: string;
  /** Elections that are forgiven. */
  readonly allowed: number;
  readonly endure: (scene: Scene) => Promise<void>;
}

const hardships: readonly Hardship[] = [
  { name: 'busy cores', allowed: 0, endure: busyCores },
  { name: '1 % of frames lost', allowed: 0, endure: ({ lab }) => loss(lab, 1) },
  { name: '5 % of frames lost', allowed: 1, endure: ({ lab }) => loss(lab, 5) },
  { name: `follower restarted ${restarts} times`, allowed: 0, endure: restartFollower },
];

function theTime(): Promise<void> {
  return lasting(minutes * 60_000);
}

async function busyCores(): Promise<void> {
  const hogs = Array.from({ length: hogsPerCore * availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  try {
    await theTime();
  } finally {
    for (const hog of hogs) hog.kill('SIGKILL');
  }
}

async function loss(lab: Lab, percent: number): Promise<void> {
  await lab.switch.loss(percent);
  await theTime();
  await lab.switch.heal();
}

async function restartFollower({ lab, cluster }: Scene): Promise<void> {
  const leader = await cluster.leader();
  const follower = lab.hosts.find((host) => host !== leader);
  for (let i = 0; i < restarts; i++) {
    await follower?.stopAgent();
    await follower?.startAgent();
  }
}

interface Account {
  readonly elections: number;
  /** The VIP left its holder, if only for a moment. */
  readonly holders: number;
  readonly timing: string;
  readonly seconds: number;
}

async function undergo({ endure }: Hardship): Promise<Account> {
  await using lab = await createLab();
  await ApiServer.startAll(lab.hosts);
  const observer = await Observer.start(lab);
  const cluster = await Cluster.form(lab);
  const before = await cluster.settled();
  const seen = observer.changes.length;
  const began = monotonicMs();
  await endure({ lab, cluster });
  const seconds = (monotonicMs() - began) / 1_000;
  const after = await cluster.settled(60_000);
  return {
    elections: (after.cluster.term ?? 0) - (before.cluster.term ?? 0),
    holders: observer.changes.length - seen,
    timing: `${after.cluster.timing?.profile}: ${after.cluster.timing?.reason}`,
    seconds,
  };
}

const rows: string[][] = [];
let broken = false;
for (const hardship of hardships.filter(({ name }) => name.startsWith(only))) {
  const { elections, holders, timing, seconds } = await undergo(hardship);
  broken ||= elections > hardship.allowed;
  rows.push([
    hardship.name,
    `${seconds.toFixed(0)} s`,
    `${elections}`,
    `${hardship.allowed}`,
    `${holders}`,
    timing,
  ]);
  console.error(rows.at(-1)?.join(' | '));
}
const head = [
  'hardship',
  'for',
  'elections',
  'allowed',
  'changes of holder seen',
  'timing at last',
];
console.log(table([head, ...rows]));
if (broken) process.exitCode = 1;
