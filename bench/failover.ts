/**
 * `make bench-failover`: how long the VIP is gone when its holder is stopped, cut off, killed or
 * paused, beside keepalived on the same machine in the same minutes. Runs are interleaved, so that
 * whatever else this machine does befalls all contenders alike.
 *
 *     RUNS=10 node bench/failover.ts       table on stdout, figures in bench/results/failover.json
 *     ONLY=holdfast node bench/failover.ts  one contender alone
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { quantile } from '../test/lab/gaps.ts';
import { duration, table } from '../test/lab/story.ts';
import { faultKinds, holdfast, keepalived } from './failover/contender.ts';
import { type Measurement, measureAll } from './failover/measure.ts';

const runs = Number(process.env.RUNS ?? process.argv[2] ?? 10);
if (!Number.isInteger(runs) || runs < 1) throw new Error('RUNS must be a positive integer');

const everybody = [holdfast, keepalived(1), keepalived(0.1)];
const wanted = process.env.ONLY;
const contenders = everybody.filter(({ name }) => wanted === undefined || name.startsWith(wanted));
const results: Measurement[] = [];

function report({ contender, fault, gapMs, overlapMs }: Measurement): void {
  const twice = overlapMs > 0 ? `, two holders for ${duration(overlapMs)}` : '';
  console.error(`  ${contender}, ${fault}: gap ${duration(gapMs)}${twice}`);
}

function row(contender: string, fault: string): readonly string[] {
  const mine = results.filter((it) => it.contender === contender && it.fault === fault);
  const gaps = mine.map(({ gapMs }) => gapMs);
  const takeovers = mine.flatMap(({ takeoverMs }) => takeoverMs ?? []);
  const twice = mine.filter(({ overlapMs }) => overlapMs > 0);
  const stands = mine.some(({ overlapStands }) => overlapStands) ? ', and still at the end' : '';
  return [
    fault,
    contender,
    ...[0.5, 0.95, 1].map((q) => duration(quantile(gaps, q))),
    takeovers.length === 0 ? 'never' : duration(quantile(takeovers, 0.5)),
    twice.length === 0 ? 'never' : `${twice.length} of ${mine.length} runs${stands}`,
  ];
}

for (let run = 1; run <= runs; run++) {
  console.error(`run ${run} of ${runs}`);
  for (const contender of contenders) results.push(...(await measureAll(contender, report)));
}

const head = ['fault', 'who', 'gap p50', 'p95', 'max', 'new holder p50', 'two holders'];
const rows = faultKinds.flatMap((fault) => contenders.map(({ name }) => row(name, fault)));
console.log(`The client's longest gap (a new connection every 5 ms), ${runs} runs each\n`);
console.log(table([head, ...rows]));
mkdirSync(new URL('results/', import.meta.url), { recursive: true });
const file = new URL('results/failover.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
