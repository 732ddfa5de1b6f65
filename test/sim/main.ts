/**
 * `make sim` and `make mutants`: the simulator's command line.
 *
 *   node test/sim/main.ts --seeds 1000 [--from 1] [--keep-going]   many seeds; stops at a failure
 *   node test/sim/main.ts --seed 8841 [--steps 5000]               one seed, every event printed
 *     [--trace FILE]       what its cores do, for the TLA+ specification of etcd, as NDJSON
 *   node test/sim/main.ts --mutants [--only WORD] [--from 1]       is the simulator strong enough?
 *
 * A failure prints the end of its trace and its seed; the seed and the commit reproduce it exactly.
 * A run of many seeds that was interrupted goes on where it was.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type TraceEvent, traceLine } from '../../src/raft/trace.ts';
import { runBatch, type Sums } from './batch.ts';
import { mutants } from './mutants/all.ts';
import { hunt, type Mutant } from './mutants/hunt.ts';
import { conditions, faultKinds } from './options.ts';
import { type Outcome, simulate } from './simulation.ts';
import { Trace } from './trace.ts';

/** How much of a failed run's trace is printed. */
const TAIL_LINES = 80;
/** With so many seeds a fault that never took effect is a fault of the simulator. */
const COVERING_SEEDS = 2_000;
/** Between two lines of progress in a long run. */
const PROGRESS_MS = 30_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    workers: { type: 'string', default: String(availableParallelism()) },
    state: { type: 'string', default: join(import.meta.dirname, '../../.cache/sim.json') },
    'keep-going': { type: 'boolean', default: false },
    seed: { type: 'string' },
    steps: { type: 'string' },
    trace: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});

process.exitCode = (await chosen()) ? 0 : 1;

function chosen(): Promise<boolean> {
  if (values.mutants) return huntAll();
  if (values.seed !== undefined) return replay(whole('seed', values.seed));
  return manySeeds();
}

async function replay(seed: number): Promise<boolean> {
  const steps = values.steps === undefined ? undefined : whole('steps', values.steps);
  const trace = new Trace((line) => console.log(line));
  const states: string[] = [];
  const onState = (event: TraceEvent): void => void states.push(traceLine(event));
  const { trace: file } = values;
  const outcome = await simulate(
    seed,
    trace,
    steps,
    'jump',
    file === undefined ? undefined : onState,
  );
  if (file !== undefined) writeFileSync(file, states.join(''));
  console.log(verdict(outcome));
  return outcome.failure === null;
}

async function manySeeds(): Promise<boolean> {
  const started = performance.now();
  const count = whole('seeds', values.seeds);
  const keepGoing = values['keep-going'];
  let earlier: number | null = null;
  let toldAt = started;
  const sums = await runBatch({
    from: whole('from', values.from),
    count,
    workers: whole('workers', values.workers),
    keepGoing,
    stateFile: values.state,
    onResume: (seeds) => {
      earlier = seeds;
      console.log(`${seeds} of ${count} seeds were done by an earlier run; going on`);
    },
    onFailure: (outcome) => {
      if (!keepGoing) for (const line of outcome.tail.slice(-TAIL_LINES)) console.log(line);
      console.log(verdict(outcome));
    },
    onProgress: ({ seeds, failed }) => {
      if (performance.now() - toldAt < PROGRESS_MS) return;
      toldAt = performance.now();
      console.log(`${seeds} of ${count} seeds, ${failed.length} failed`);
    },
  });
  report(sums, earlier ?? 0, (performance.now() - started) / 1000);
  const missed = reportCoverage(sums);
  if (missed.length > 0 && sums.seeds >= COVERING_SEEDS) {
    console.log(`in ${sums.seeds} seeds there was no ${missed.join(', no ')}`);
    return false;
  }
  return sums.failed.length === 0;
}

function report(sums: Sums, earlier: number, seconds: number): void {
  const { seeds, failed, events } = sums;
  const perSeed = Math.round(events / Math.max(1, seeds));
  console.log(
    `${failed.length} of ${seeds} seeds failed: ${events} events (${perSeed} a seed, ` +
      `at least ${sums.fewestEvents}), ${sums.tenures} tenures of the VIP, ` +
      `${sums.committed} entries, ${(sums.lastedMs / 1000).toFixed(0)} s simulated; ` +
      `slowest recovery ${sums.slowestMs.toFixed(0)} ms (seed ${sums.slowestSeed}); ` +
      `${seconds.toFixed(1)} s, ${((seeds - earlier) / seconds).toFixed(1)} seeds a second`,
  );
  for (const kind of ['crash', 'stop', 'link', 'deaf', 'mute', 'full', 'blackout'] as const)
    console.log(away(kind, sums.gaps[kind]));
}

/** Prints in how many seeds each fault took effect; returns those that never did. */
function reportCoverage({ seeds, exercised, beyond }: Sums): string[] {
  const share = (name: string): string => `${name} ${exercised[name] ?? 0}`;
  console.log(`of ${seeds} seeds, so many with ${faultKinds.map(share).join(', ')}`);
  console.log(`under ${conditions.map(share).join(', ')}`);
  for (const [mode, broken] of Object.entries(beyond)) {
    const { seeds: tried, ...rules } = broken;
    const lost = Object.entries(rules).map(([rule, times]) => `${rule} ${times}`);
    console.log(`outside of what is promised, ${mode}: ${tried} seeds, broken ${lost.join(', ')}`);
  }
  return [...faultKinds, ...conditions].filter((name) => (exercised[name] ?? 0) === 0);
}

/** How long nobody answered for the VIP, for one kind of drill. */
function away(kind: string, gapsMs: readonly number[]): string {
  const sorted = [...gapsMs].sort((a, b) => a - b);
  const at = (share: number): string =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]?.toFixed(0) ?? '-';
  const shares = `median ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(1)} ms`;
  return `VIP away, drill ${kind}, ${sorted.length} times: ${shares}`;
}

/** Prints a table: the mutant, what it stands for, what caught it, after how many seeds. */
async function huntAll(): Promise<boolean> {
  const todo = mutants.filter(({ name }) => name.includes(values.only));
  const widths = [56, 28, 48] as const;
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  console.log(line(['mutant', 'stands for', 'caught by', 'seeds']));
  const count = todo.length;
  let caught = 0;
  const work = async (): Promise<void> => {
    for (let mutant = todo.shift(); mutant !== undefined; mutant = todo.shift()) {
      const [by, seeds] = await tried(mutant);
      if (by !== null) caught++;
      console.log(line([mutant.name, mutant.stands, by ?? 'ESCAPED', seeds]));
    }
  };
  const workers = Array.from({ length: whole('workers', values.workers) });
  await Promise.all(workers.map(work));
  console.log(`${caught} of ${count} mutants caught`);
  return caught === count;
}

/** What caught `mutant`, null for nothing; and after how many seeds of how many. */
async function tried(mutant: Mutant): Promise<readonly [string | null, string]> {
  const { caught } = await hunt(mutant, whole('from', values.from));
  if ('title' in mutant.by) return [caught === null ? null : `test: ${mutant.by.title}`, ''];
  const { seeds } = mutant.by;
  return [
    caught === null ? null : `simulator: ${caught.by}`,
    `${caught?.seeds ?? '-'} of ${seeds}`,
  ];
}

function verdict({ failure, seed, hash, events, options }: Outcome): string {
  const end =
    failure === null
      ? `ok, ${events} events, hash ${hash}`
      : `${failure.rule} at ${failure.at.toFixed(3)}: ${failure.message}`;
  return `seed ${seed}: ${options}\nseed ${seed}: ${end}`;
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name}: ${text} is no number`);
  return value;
}
