/**
 * SIGKILL at every point at which the store's files change: before each write, sync, creation,
 * renaming and deletion, one run each. A vote or an entry that was called durable is there
 * afterwards, and what is there is what was written, in its order, cut somewhere.
 */
import assert from 'node:assert/strict';
import { cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { holdsWhatWasDurable, makeStore, type Run, write } from './store-faults/bench.ts';
import { journals, type StoreFiles, striking, tables } from './store-faults/strace.ts';

const workload = { seed: 7, largeBytes: 300_000 };

const calls = 'openat,write,fdatasync,fsync,rename,unlink';
/** Runs at a time: one a core. */
const lanes = 2;

interface Target {
  readonly name: string;
  readonly files: StoreFiles;
  /** Enough of them for LevelDB to begin a few journals and to write a few tables. */
  readonly operations: number;
  /** A large entry is written in many parts, one as good as another. */
  readonly stride: number;
}

const targets: readonly Target[] = [
  { name: 'its journals', files: journals, operations: 24, stride: 7 },
  { name: 'its tables and its MANIFEST', files: tables, operations: 60, stride: 1 },
];

for (const target of targets) {
  test(`killed at any point of writing to ${target.name}, a store holds what was durable`, async () => {
    await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-kill-`);
    const fresh = `${temporary.path}/fresh`;
    await makeStore(fresh);
    const run: Run = { workload, from: 0, to: target.operations };
    let next = 1;
    let finished = false;
    const held = new Set<number>();
    const lane = async (): Promise<void> => {
      while (!finished) {
        const nth = next;
        next += target.stride;
        const dir = `${temporary.path}/${nth}`;
        await cp(fresh, dir, { recursive: true });
        // One thread for all calls of the store's users, so that one count leads through them.
        const fault = `signal=KILL:when=${nth}`;
        const command = striking({ dir, files: target.files, calls, fault });
        const wrapping = { command, env: { UV_THREADPOOL_SIZE: '1' } };
        const outcome = await write(dir, run, wrapping);
        assert.equal(outcome.stderr, '');
        finished ||= outcome.exitCode === 0;
        held.add(await holdsWhatWasDurable(dir, run, outcome.durable));
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    assert.ok(next > 20, `only ${next} points were found: is the store where strace looks?`);
    assert.ok(held.has(run.to + 1), 'the last run was not killed');
  });
}
