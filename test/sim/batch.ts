/**
 * Many seeds: shared out over the cores in chunks, added up, and remembered chunk by chunk in a
 * file, so that a long run that was interrupted goes on where it was. The file is bound to what was
 * simulated: with other sources, or another range, the run begins anew.
 */
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { DrillKind } from './drills.ts';
import { type Outcome, simulate } from './simulation.ts';

/** Seeds that a worker takes at a time. */
const CHUNK = 20;
/** How much work an interruption may cost. */
const WRITE_EVERY_MS = 1_000;

const root = join(import.meta.dirname, '../..');

export interface Range {
  readonly from: number;
  readonly count: number;
}

export interface BatchOptions extends Range {
  readonly workers: number;
  /** Goes on after a failure. */
  readonly keepGoing: boolean;
  /** Where progress is kept. */
  readonly stateFile: string;
  /** Told how many seeds an interrupted run had done already. */
  readonly onResume: (seeds: number) => void;
  /** Told of each run that broke a rule. */
  readonly onFailure: (outcome: Outcome) => void;
  /** Told after each chunk how many seeds are done. */
  readonly onProgress: (sums: Sums) => void;
}

/** What came of the seeds so far. */
export interface Sums {
  seeds: number;
  failed: number[];
  events: number;
  /** Of one seed. */
  fewestEvents: number;
  tenures: number;
  committed: number;
  /** True time simulated, ms. */
  lastedMs: number;
  slowestMs: number;
  slowestSeed: number;
  /** For each kind of drill: how long the VIP was away, ms. */
  gaps: Record<DrillKind, number[]>;
  /** For each fault and condition: in how many seeds it took effect. */
  exercised: Record<string, number>;
  /** Outside of what is promised, by mode: seeds, and in how many each rule broke. */
  beyond: Record<string, Record<string, number>>;
}

interface State {
  readonly key: string;
  readonly sums: Sums;
  /** First seeds of the chunks that are done. */
  readonly done: number[];
}

/** What a worker is asked, and answers; each outcome without its trace unless it failed. */
export type Chunk = Range;
export type ChunkResult = readonly Outcome[];

/** Runs the seeds of one chunk, up to and including the first that fails if `stop`. */
export async function runChunk({ from, count }: Chunk, stop: boolean): Promise<ChunkResult> {
  const outcomes: Outcome[] = [];
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed);
    outcomes.push(outcome.failure === null ? { ...outcome, tail: [] } : outcome);
    if (outcome.failure !== null && stop) break;
  }
  return outcomes;
}

/** Runs all seeds of the range that an interrupted run has not done yet. */
export async function runBatch(options: BatchOptions): Promise<Sums> {
  const key = keyOf(options);
  const state = readState(options.stateFile, key);
  if (state.done.length > 0) options.onResume(state.sums.seeds);
  const todo = chunksOf(options).filter(({ from }) => !state.done.includes(from));
  let stopped = false;
  let writtenAt = performance.now();
  const took = (chunk: Chunk, outcomes: ChunkResult): void => {
    for (const outcome of outcomes) {
      add(state.sums, outcome);
      if (outcome.failure !== null) options.onFailure(outcome);
    }
    const failed = outcomes.some(({ failure }) => failure !== null);
    // A failed chunk is run again by the next run, unless failures were asked to be passed over.
    if (!failed || options.keepGoing) {
      state.done.push(chunk.from);
      if (performance.now() - writtenAt > WRITE_EVERY_MS) {
        writtenAt = performance.now();
        writeState(options.stateFile, state);
      }
    } else stopped = true;
    options.onProgress(state.sums);
  };
  const next = (): Chunk | undefined => (stopped ? undefined : todo.shift());
  if (options.workers <= 1) {
    for (let chunk = next(); chunk !== undefined; chunk = next()) {
      took(chunk, await runChunk(chunk, !options.keepGoing));
    }
  } else {
    const hands = Array.from({ length: Math.min(options.workers, todo.length) });
    await Promise.all(hands.map(() => employ(next, took, !options.keepGoing)));
  }
  if (!stopped) rmSync(options.stateFile, { force: true });
  return state.sums;
}

/** One worker thread, fed with chunks until there are none. */
function employ(
  next: () => Chunk | undefined,
  took: (chunk: Chunk, outcomes: ChunkResult) => void,
  stop: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./batch-worker.ts', import.meta.url), { workerData: stop });
    let current: Chunk | undefined;
    const feed = (): void => {
      current = next();
      if (current === undefined) void worker.terminate().then(() => resolve());
      else worker.postMessage(current);
    };
    worker.on('message', (outcomes: ChunkResult) => {
      if (current !== undefined) took(current, outcomes);
      feed();
    });
    worker.on('error', reject);
    feed();
  });
}

function chunksOf({ from, count }: Range): Chunk[] {
  const starts = Array.from({ length: Math.ceil(count / CHUNK) }, (_, at) => from + at * CHUNK);
  return starts.map((start) => ({ from: start, count: Math.min(CHUNK, from + count - start) }));
}

function add(sums: Sums, outcome: Outcome): void {
  sums.seeds++;
  sums.events += outcome.events;
  const whole = outcome.excused.length === 0 && outcome.failure === null;
  if (whole) sums.fewestEvents = Math.min(sums.fewestEvents, outcome.events);
  sums.tenures += outcome.tenures;
  sums.committed += outcome.committed;
  sums.lastedMs += outcome.lasted;
  if (outcome.failure !== null) sums.failed.push(outcome.seed);
  for (const name of outcome.exercised) count(sums.exercised, name);
  if (outcome.mode !== 'promised') {
    sums.beyond[outcome.mode] ??= {};
    const beyond = sums.beyond[outcome.mode] ?? {};
    const what = outcome.excused.length > 0 ? outcome.excused : ['nothing'];
    for (const name of ['seeds', ...what]) count(beyond, name);
  }
  const { drill, recoveredMs } = outcome;
  if (drill !== null) sums.gaps[drill.kind].push(Math.round(drill.gapMs));
  if (recoveredMs !== null && recoveredMs > sums.slowestMs) {
    sums.slowestMs = recoveredMs;
    sums.slowestSeed = outcome.seed;
  }
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

function noSums(): Sums {
  return {
    seeds: 0,
    failed: [],
    events: 0,
    fewestEvents: Number.MAX_SAFE_INTEGER,
    tenures: 0,
    committed: 0,
    lastedMs: 0,
    slowestMs: 0,
    slowestSeed: 0,
    gaps: {
      crash: [],
      stop: [],
      link: [],
      deaf: [],
      mute: [],
      full: [],
      blackout: [],
      'all-full': [],
      disruption: [],
    },
    exercised: {},
    beyond: {},
  };
}

/** A fingerprint of the sources that a run depends on, and of its range. */
function keyOf({ from, count, keepGoing }: BatchOptions): string {
  const hash = createHash('sha256').update(`${from} ${count} ${keepGoing}`);
  const rooms = ['src/base', 'src/raft', 'src/cluster', 'src/vip', 'proto/gen', 'test/sim'];
  for (const path of globSync(`{${rooms.join(',')}}/**/*.ts`, { cwd: root }).sort()) {
    hash.update(path).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

function readState(file: string, key: string): State {
  try {
    const state: State = JSON.parse(readFileSync(file, 'utf8'));
    if (state.key === key) return state;
  } catch {
    // None, or cut short: the run begins anew.
  }
  return { key, sums: noSums(), done: [] };
}

function writeState(file: string, state: State): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(state));
}
