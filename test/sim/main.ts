/**
 * `make sim`: runs seeds until one breaks a rule, or one seed with its full trace.
 *
 *   node test/sim/main.ts --seeds 1000 [--from 1]   many seeds, one line for each that fails
 *   node test/sim/main.ts --seed 8841               that seed again, every event printed
 */
import { parseArgs } from 'node:util';
import { type Outcome, simulate } from './simulation.ts';
import { Trace } from './trace.ts';

const TAIL = 60;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

if (values.seed !== undefined) {
  const outcome = await simulate(Number(values.seed), new Trace((line) => console.log(line)));
  report(outcome, 0);
  process.exitCode = outcome.failure === null ? 0 : 1;
} else {
  const from = Number(values.from);
  const started = performance.now();
  let failed = 0;
  const sums = { events: 0, tenures: 0, committed: 0, lasted: 0, recovered: 0 };
  const count = Number(values.seeds);
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed);
    sums.events += outcome.events;
    sums.tenures += outcome.tenures;
    sums.committed += outcome.committed;
    sums.lasted += outcome.lasted;
    sums.recovered = Math.max(sums.recovered, outcome.recoveredMs ?? 0);
    if (outcome.failure === null) continue;
    failed++;
    report(outcome, values.keep ? 0 : TAIL);
    if (!values.keep) break;
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${failed} failed; ${sums.events} events, ${sums.tenures} tenures, ${sums.committed} entries, ` +
      `${(sums.lasted / 1000).toFixed(0)} s simulated in ${seconds.toFixed(1)} s, ` +
      `slowest recovery ${sums.recovered.toFixed(0)} ms`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}

function report(outcome: Outcome, lines: number): void {
  if (lines > 0) for (const line of outcome.tail.slice(-lines)) console.log(line);
  const { failure, seed, hash, events, options } = outcome;
  console.log(`seed ${seed}: ${options}`);
  if (failure === null) console.log(`seed ${seed}: ok, ${events} events, hash ${hash}`);
  else console.log(`seed ${seed}: ${failure.rule} at ${failure.at.toFixed(3)}: ${failure.message}`);
}
