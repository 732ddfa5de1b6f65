/**
 * `make bench-failover`: how long the VIP is gone when its holder is stopped, handed over from, cut
 * off, killed or paused, with each timing profile and beside keepalived, on the same machine in the
 * same minutes. Rounds are interleaved, so that whatever else this machine does befalls all alike.
 *
 *     RUNS=30 node bench/failover.ts        table on stdout, picture in docs/failover.svg
 *     ONLY=holdfast RUNS=5 node …           only contenders whose name begins so
 *     FRESH=1 node …                        forgets what an interrupted bench has measured
 *
 * Every measurement is written down at once: a bench that was interrupted goes on where it was.
 */
import { writeFileSync } from 'node:fs';
import { quantile } from '../test/lab/gaps.ts';
import { duration, table } from '../test/lab/story.ts';
import {
  type Contender,
  type FaultKind,
  faultKinds,
  holdfast,
  keepalived,
} from './failover/contender.ts';
import { type Measurement, measureAll } from './failover/measure.ts';
import { Ledger } from './ledger.ts';
import { picture } from './picture.ts';

const runs = Number(process.env.RUNS ?? process.argv[2] ?? 10);
if (!Number.isInteger(runs) || runs < 1) throw new Error('RUNS must be a positive integer');

const profiles = ['auto', 'lan', 'balanced', 'wan'] as const;
const everybody = [...profiles.map(holdfast), keepalived(1), keepalived(0.1)];
const wanted = process.env.ONLY ?? '';
const contenders = everybody.filter(({ name }) => name.startsWith(wanted));

const ledger = new Ledger<Measurement>('failover');

function of(contender: Contender, fault: string): readonly Measurement[] {
  return ledger.entries.filter((it) => it.contender === contender.name && it.fault === fault);
}

/** What this contender has still to undergo so that all rounds up to this one are whole. */
function missing(contender: Contender, round: number): readonly FaultKind[] {
  const soFar = Array.from({ length: round }, (_, at) => contender.faults(at + 1)).flat();
  const due = (fault: FaultKind): number => soFar.filter((it) => it === fault).length;
  return contender.faults(round).filter((fault) => of(contender, fault).length < due(fault));
}

function note(measurement: Measurement): void {
  const { contender, fault, gapMs, overlapMs } = measurement;
  ledger.add(measurement);
  const twice = overlapMs > 0 ? `, two holders for ${duration(overlapMs)}` : '';
  console.error(`  ${contender}, ${fault}: gap ${duration(gapMs)}${twice}`);
}

function row(contender: Contender, fault: string): readonly string[] {
  const mine = of(contender, fault);
  const gaps = mine.map(({ gapMs }) => gapMs);
  const takeovers = mine.flatMap(({ takeoverMs }) => takeoverMs ?? []);
  const twice = mine.filter(({ overlapMs }) => overlapMs > 0);
  const stands = mine.some(({ overlapStands }) => overlapStands) ? ', and still at the end' : '';
  return [
    fault,
    contender.name,
    `${mine.length}`,
    ...[0.5, 0.95, 1].map((q) => duration(quantile(gaps, q))),
    takeovers.length === 0 ? 'never' : duration(quantile(takeovers, 0.5)),
    twice.length === 0 ? 'never' : `${twice.length} of ${mine.length} runs${stands}`,
  ];
}

for (let round = 1; round <= runs; round++) {
  for (const contender of contenders) {
    // What an interrupted round has measured counts.
    const faults = missing(contender, round);
    if (faults.length === 0) continue;
    console.error(`round ${round} of ${runs}: ${contender.name}`);
    await measureAll(contender, faults, note);
  }
}

const measured = (fault: string): Contender[] =>
  everybody.filter((contender) => of(contender, fault).length > 0);
const head = ['fault', 'who', 'runs', 'gap p50', 'p95', 'max', 'new holder p50', 'two holders'];
const rows = faultKinds.flatMap((fault) => measured(fault).map((who) => row(who, fault)));
console.log("The client's longest gap (a new connection every 5 ms)\n");
console.log(table([head, ...rows]));
const panels = faultKinds.map((fault) => ({
  title: fault,
  series: measured(fault).map((who) => ({
    label: who.name,
    values: of(who, fault).map(({ gapMs }) => gapMs),
  })),
}));
const axis = {
  ticks: [1, 10, 100, 1_000, 10_000],
  label: (ms: number) => (ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`),
};
const drawing = picture("The client's longest gap after a fault of the holder", axis, panels);
writeFileSync(new URL('../docs/failover.svg', import.meta.url), drawing);
