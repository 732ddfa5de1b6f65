/**
 * `make bench-proposals`: how many small writes a second three members agree on, and how long one
 * takes, beside a three-member etcd on the same machine, the same disk and in the same seconds.
 * Both sync every write on a quorum; both speak TLS between members; the same clients send the same
 * bytes to both leaders. Rounds are interleaved, and medians are told.
 *
 *     ROUNDS=5 SECONDS=2 node bench/proposals.ts    table on stdout, figures in bench/results/
 *     ONLY=holdfast PROFILE=dir node bench/proposals.ts    where the members' time goes
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { quantile } from '../test/lab/gaps.ts';
import { table } from '../test/lab/story.ts';
import { type Contender, startEtcd, startHoldfast } from './proposals/contenders.ts';
import type { Load, LoadResult } from './proposals/load.ts';

const rounds = Number(process.env.ROUNDS ?? 5);
const seconds = Number(process.env.SECONDS ?? 2);
const clientCounts = (process.env.CLIENTS ?? '1,16,64').split(',').map(Number);
const only = process.env.ONLY;
const profileDir = process.env.PROFILE ?? null;
const valueBytes = 128;

interface Figures extends LoadResult {
  /** Processor time of all three members, for each write. */
  readonly cpuMicros: number;
}

interface Measurement extends Figures {
  readonly contender: string;
  readonly clients: number;
}

const cache = new URL('../.cache/', import.meta.url).pathname;
mkdirSync(cache, { recursive: true });
const dir = mkdtempSync(`${cache}bench-`);
const contenders: Contender[] = [];
const load = fork(new URL('proposals/load.ts', import.meta.url));
const results: Measurement[] = [];

async function measure(
  contender: Contender,
  clients: number,
  durationMs: number,
): Promise<Measurement> {
  const settings: Load = { port: await contender.leaderPort(), clients, durationMs, valueBytes };
  const before = contender.cpuMs();
  load.send(settings);
  const [result] = (await once(load, 'message')) as [LoadResult];
  const writes = (result.perSecond * durationMs) / 1_000;
  const cpuMicros = (1_000 * (contender.cpuMs() - before)) / writes;
  return { contender: contender.name, clients, ...result, cpuMicros };
}

function median(contender: string, clients: number, figure: keyof Figures): number {
  const mine = results.filter((it) => it.contender === contender && it.clients === clients);
  return quantile(
    mine.map((it) => it[figure]),
    0.5,
  );
}

function row(clients: number, contender: string): readonly string[] {
  const ms = (figure: 'p50Ms' | 'p99Ms'): string => median(contender, clients, figure).toFixed(2);
  return [
    `${clients}`,
    contender,
    median(contender, clients, 'perSecond').toFixed(0),
    `${ms('p50Ms')} ms`,
    `${ms('p99Ms')} ms`,
    `${median(contender, clients, 'cpuMicros').toFixed(0)} µs`,
  ];
}

try {
  if (only !== 'etcd') contenders.push(await startHoldfast(dir, profileDir));
  if (only !== 'holdfast') contenders.push(await startEtcd(dir));
  // The first seconds belong to just-in-time compilers and to new connections.
  for (const contender of contenders) await measure(contender, Math.max(...clientCounts), 2_000);
  for (let round = 1; round <= rounds; round++) {
    for (const clients of clientCounts) {
      const order = round % 2 === 0 ? contenders : contenders.toReversed();
      for (const contender of order) {
        results.push(await measure(contender, clients, seconds * 1_000));
      }
    }
    console.error(`round ${round} of ${rounds}`);
  }
  const head = ['clients', 'who', 'writes/s', 'p50', 'p99', 'cpu a write'];
  const rows = clientCounts.flatMap((clients) => contenders.map(({ name }) => row(clients, name)));
  console.log(`Writes of ${valueBytes} bytes, three members on loopback, fsync, on Node`);
  console.log(`${process.versions.node}; medians of ${rounds} rounds of ${seconds} s each\n`);
  console.log(table([head, ...rows]));
  mkdirSync(new URL('results/', import.meta.url), { recursive: true });
  const file = new URL('results/proposals.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
} finally {
  load.kill();
  for (const contender of contenders) contender.stop();
  rmSync(dir, { recursive: true, maxRetries: 10, retryDelay: 100 });
}
