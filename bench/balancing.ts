/**
 * `make bench-lb`: requests, connections and bytes through each data path, beside HAProxy and nginx
 * on the same machine in the same minutes. The contenders take turns within each round, so that
 * whatever else the machine does befalls all alike; what counts are the ratios.
 *
 *     ROUNDS=5 SECONDS=4 node bench/balancing.ts   tables, and a picture in docs/balancing.svg
 *     ONLY=proxy node bench/balancing.ts           contenders whose name contains this
 *     FRESH=1 node …                               forgets what an interrupted bench has measured
 *
 * Every measurement is written down at once: a bench that was interrupted goes on where it was.
 */
import { writeFileSync } from 'node:fs';
import { quantile } from '../test/lab/gaps.ts';
import type { Host } from '../test/lab/host.ts';
import { table } from '../test/lab/story.ts';
import {
  type Contender,
  direct,
  haproxy,
  holdfast,
  nginxStream,
  type Service,
} from './balancing/contenders.ts';
import { bulk, type Idle, idle, type Rate, requests, residentBytes } from './balancing/load.ts';
import { createScene, type Scene } from './balancing/scene.ts';
import { Ledger } from './ledger.ts';
import { picture } from './picture.ts';

interface Measurement {
  readonly contender: string;
  readonly round: number;
  readonly keepAlive: Rate;
  readonly anew: Rate;
  readonly oneStream: number;
  readonly eightStreams: number;
  readonly residentBytes: number;
  readonly idle: Idle | null;
}

function setting(name: string, fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} must be a positive integer`);
  return value;
}

/** As many as one process may hold with 20,000 descriptors; not all of them may be clients'. */
const idleConnections = 5_000;
const rounds = setting('ROUNDS', 5);
const seconds = setting('SECONDS', 4);
const everybody = [direct, haproxy, nginxStream, holdfast('nftables'), holdfast('proxy')];
const only = process.env.ONLY ?? '';
const contenders = everybody.filter(({ name }) => name.includes(only));
const ledger = new Ledger<Measurement>('balancing');

async function measure(scene: Scene, contender: Contender, round: number): Promise<Measurement> {
  const { client } = scene.lab;
  const service = await contender.start(scene);
  try {
    const { address } = service;
    // Warm: code compiled, neighbours known.
    await requests(client, address, 1, false);
    return {
      contender: contender.name,
      round,
      keepAlive: await requests(client, address, seconds, false),
      anew: await requests(client, address, seconds, true),
      oneStream: await bulk(client, address, seconds, 1),
      eightStreams: await bulk(client, address, seconds, 8),
      residentBytes: residentBytes(service.pids()),
      idle: await idleOf(client, service, contender.idleConnections ?? idleConnections),
    };
  } finally {
    await service.stop();
  }
}

/** Null where no process carries the connections. */
async function idleOf(client: Host, service: Service, count: number): Promise<Idle | null> {
  const pids = service.pids();
  if (pids.length === 0) return null;
  return idle(client, service.address, count, seconds, pids);
}

/** Median and, behind it, the lowest and highest. */
function spread(values: readonly number[], digits: number): string {
  const [low, middle, high] = [0, 0.5, 1].map((q) => quantile(values, q).toFixed(digits));
  return `${middle} (${low}–${high})`;
}

type Figure = readonly [head: string, of: (it: Measurement) => number, digits: number];

const cpu: Figure = ['cpu s/100k', (it) => it.keepAlive.cpuPer100k, 2];

const figures: readonly Figure[] = [
  ['keep-alive k/s', (it) => it.keepAlive.perSecond / 1e3, 1],
  ['p50 ms', (it) => it.keepAlive.p50Ms, 2],
  ['p99 ms', (it) => it.keepAlive.p99Ms, 2],
  ['connections k/s', (it) => it.anew.perSecond / 1e3, 1],
  ['p99 ms', (it) => it.anew.p99Ms, 1],
  ['1 stream GB/s', (it) => it.oneStream / 1e9, 2],
  ['8 streams GB/s', (it) => it.eightStreams / 1e9, 2],
  cpu,
  ['MB', (it) => it.residentBytes / 1e6, 0],
  ['idle KB each', (it) => (it.idle?.bytesEach ?? 0) / 1e3, 1],
  ['idle cpu %', (it) => (it.idle?.cpuShare ?? 0) * 100, 1],
  ['errors', (it) => it.keepAlive.errors + it.anew.errors, 0],
];

function of(name: string, figure: Figure): number[] {
  const mine = ledger.entries.filter((it) => it.contender === name);
  return mine.toSorted((a, b) => a.round - b.round).map(figure[1]);
}

/** Each measurement as a share of HAProxy's in the same round. */
function shares(name: string, figure: Figure): number[] {
  const peers = of(haproxy.name, figure);
  return of(name, figure).map((value, at) => value / (peers[at] ?? Number.NaN));
}

/** What a balancer costs the whole machine beyond no balancer, as a share of what HAProxy costs. */
function addedCpu(name: string): number[] {
  const [bare, peers] = [direct.name, haproxy.name].map((who) => of(who, cpu));
  return of(name, cpu).map((value, at) => {
    const without = bare?.[at] ?? Number.NaN;
    return (value - without) / ((peers?.[at] ?? Number.NaN) - without);
  });
}

function print(): void {
  console.log(`${rounds} rounds of ${seconds} s each: median (lowest–highest)\n`);
  const head = ['who', ...figures.map(([name]) => name)];
  const rows = contenders.map(({ name }) => [
    name,
    ...figures.map((figure) => spread(of(name, figure), figure[2])),
  ]);
  console.log(table([head, ...rows]));
  if (!contenders.includes(haproxy)) return;
  console.log("\nas shares of HAProxy's in the same round\n");
  const compared = figures.slice(0, 7);
  const heads = ['who', ...compared.map(([name]) => name.replace(/ [^ ]*$/, '')), 'added cpu'];
  const ratios = contenders.map(({ name }) => [
    name,
    ...compared.map((figure) => spread(shares(name, figure), 2)),
    spread(addedCpu(name), 2),
  ]);
  console.log(table([heads, ...ratios]));
  draw(compared);
}

function draw(compared: readonly Figure[]): void {
  const panels = compared.map((figure) => ({
    title: figure[0].replace(/ [^ ]*$/, ''),
    series: contenders.map(({ name }) => ({ label: name, values: shares(name, figure) })),
  }));
  const axis = { ticks: [0.25, 0.5, 1, 2, 4, 8], label: (share: number) => `${share}` };
  const caption = "Each round's figure as a share of HAProxy's; less is better for latencies";
  writeFileSync(new URL('../docs/balancing.svg', import.meta.url), picture(caption, axis, panels));
}

async function measureRounds(): Promise<void> {
  const scene = await createScene();
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const contender of contenders) {
        const { name } = contender;
        if (ledger.entries.some((it) => it.contender === name && it.round === round)) continue;
        const result = await measure(scene, contender, round);
        ledger.add(result);
        const { keepAlive, anew } = result;
        const [kept, fresh] = [keepAlive, anew].map(({ perSecond }) =>
          (perSecond / 1e3).toFixed(1),
        );
        const line = `${kept} k requests/s, ${fresh} k connections/s`;
        console.error(`round ${round} of ${rounds}, ${name}: ${line}`);
      }
    }
  } finally {
    await scene.lab.close();
  }
}

await measureRounds();
print();
