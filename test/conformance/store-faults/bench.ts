/** A store for one test, writers that are run on it, and what must be true of it afterwards. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createDataDir } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { firstSnapshot } from '../log-storage-suite.ts';
import { describeLog, operationAt, perform, stepsThatGive, type Workload } from './workload.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'a' };
const writerFile = new URL('writer.ts', import.meta.url).pathname;

/** A new store in `dir`, which holds none of any workload's operations yet. */
export function makeStore(dir: string): Promise<void> {
  return createDataDir(dir, identity, firstSnapshot);
}

export interface Run {
  readonly workload: Workload;
  /** Operations that the store holds already, and how many it is to hold in the end. */
  readonly from: number;
  readonly to: number;
}

export interface Outcome {
  /** Operations that were called durable. */
  readonly durable: number;
  readonly opened: boolean;
  readonly stderr: string;
  /** Null for a process that was killed. */
  readonly exitCode: number | null;
}

/** How a writer is run: what stands in front of its command line, and its environment. */
export interface Wrapping {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Told of each line, `durable` operations or `open`. */
  readonly onLine?: (line: string) => void;
}

/** Runs a writer until it is done, cannot go on, or is killed. */
export async function write(dir: string, run: Run, wrapping: Wrapping): Promise<Outcome> {
  const { seed, largeBytes } = run.workload;
  const numbers = [seed, largeBytes, run.from, run.to].map(String);
  const argv = [...wrapping.command, process.execPath, writerFile, dir, ...numbers];
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...wrapping.env },
  });
  const lines: string[] = [];
  let rest = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    for (const line of parts) wrapping.onLine?.(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [exitCode] = (await once(child, 'close')) as [number | null];
  const durable = Math.max(run.from, ...lines.filter((line) => line !== 'open').map(Number));
  return { durable, opened: lines.includes('open'), stderr, exitCode };
}

/**
 * Asserts that the store holds the first operations of its workload, all that were called durable
 * among them and nothing else, and that it can be written on. Returns how many it holds then.
 */
export async function holdsWhatWasDurable(dir: string, run: Run, durable: number): Promise<number> {
  const found = await contents(dir);
  const held = stepsThatGive(run.workload, found, { least: durable, most: run.to });
  assert.ok(held !== null, `${durable} operations were durable, and the store says ${found}`);

  const log = await openLogStorage(dir, { expected: identity });
  await perform(log, operationAt(run.workload, held, log));
  const expected = describeLog(log);
  await log.close();
  assert.equal(await contents(dir), expected, 'it was written on');
  return held + 1;
}

/** Everything that the store says when it is opened. */
export async function contents(dir: string): Promise<string> {
  const log = await openLogStorage(dir, { expected: identity });
  try {
    return describeLog(log);
  } finally {
    await log.close();
  }
}
