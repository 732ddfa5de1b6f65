/**
 * `make sim`: the simulator's command line.
 *
 *   node test/sim/main.ts --seeds 1000 [--from 1] [--keep-going]   many seeds; stops at a failure
 *   node test/sim/main.ts --seed 8841 [--steps 5000]               one seed, every event printed
 *   node test/sim/main.ts --mutants [--from 1]                     is the simulator strong enough?
 *
 * A failure prints the end of its trace and its seed; the seed and the commit reproduce it exactly.
 */
import { parseArgs } from 'node:util';
import type { DrillKind, DrillResult } from './drills.ts';
import { hunt, mutants } from './mutants.ts';
import { type Outcome, simulate } from './simulation.ts';
import { Trace } from './trace.ts';

/** How much of a failed run's trace is printed. */
const TAIL_LINES = 80;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    'keep-going': { type: 'boolean', default: false },
    seed: { type: 'string' },
    steps: { type: 'string' },
    mutants: { type: 'boolean', default: false },
  },
});

process.exitCode = (await chosen()) ? 0 : 1;

function chosen(): Promise<boolean> {
  if (values.mutants) return huntAll();
  if (values.seed !== undefined) return replay(whole('seed', values.seed));
  return manySeeds(whole('from', values.from), whole('seeds', values.seeds));
}

async function replay(seed: number): Promise<boolean> {
  const steps = values.steps === undefined ? undefined : whole('steps', values.steps);
  const trace = new Trace((line) => console.log(line));
  const outcome = await simulate(seed, trace, steps);
  console.log(verdict(outcome));
  return outcome.failure === null;
}

async function manySeeds(from: number, count: number): Promise<boolean> {
  const started = performance.now();
  const sums = { seeds: 0, failed: 0, events: 0, tenures: 0, committed: 0, lastedMs: 0 };
  const drills: DrillResult[] = [];
  let slowest: Outcome | null = null;
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed);
    sums.seeds++;
    sums.events += outcome.events;
    sums.tenures += outcome.tenures;
    sums.committed += outcome.committed;
    sums.lastedMs += outcome.lasted;
    if ((outcome.recoveredMs ?? 0) > (slowest?.recoveredMs ?? 0)) slowest = outcome;
    if (outcome.drill !== null) drills.push(outcome.drill);
    if (outcome.failure === null) continue;
    sums.failed++;
    if (!values['keep-going'])
      for (const line of outcome.tail.slice(-TAIL_LINES)) console.log(line);
    console.log(verdict(outcome));
    if (!values['keep-going']) break;
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${sums.failed} of ${sums.seeds} seeds failed: ${sums.events} events, ` +
      `${sums.tenures} tenures of the VIP, ${sums.committed} entries, ` +
      `${(sums.lastedMs / 1000).toFixed(0)} s simulated in ${seconds.toFixed(1)} s; ` +
      `slowest recovery ${slowest?.recoveredMs?.toFixed(0) ?? 0} ms (seed ${slowest?.seed ?? 0})`,
  );
  for (const kind of ['crash', 'stop', 'link', 'deaf', 'mute'] as const)
    console.log(gaps(kind, drills));
  return sums.failed === 0;
}

/** How long nobody answered for the VIP, for one kind of drill. */
function gaps(kind: DrillKind, drills: readonly DrillResult[]): string {
  const sorted = drills.filter((one) => one.kind === kind).map((one) => one.gapMs);
  sorted.sort((a, b) => a - b);
  const at = (share: number): string =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]?.toFixed(0) ?? '-';
  const shares = `median ${at(0.5)} ms, p95 ${at(0.95)} ms, max ${at(1)} ms`;
  return `VIP away, drill ${kind}, ${sorted.length} times: ${shares}`;
}

async function huntAll(): Promise<boolean> {
  let escaped = 0;
  for (const mutant of mutants) {
    const { caught } = await hunt(mutant, whole('from', values.from));
    if (caught === null) escaped++;
    const what = caught === null ? 'ESCAPED' : `seed ${caught.seed}, ${caught.rule}`;
    console.log(`${mutant.name}: ${what} (of ${mutant.seeds} seeds)`);
  }
  console.log(`${mutants.length - escaped} of ${mutants.length} mutants caught`);
  return escaped === 0;
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
