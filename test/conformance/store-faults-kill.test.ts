/**
 * SIGKILL at every point at which the store's files change: before each write, sync, creation,
 * renaming and deletion, one run each. A vote or an entry that was called durable is there
 * afterwards, and what is there is what was written, in its order, cut somewhere.
 *
 * `strace` strikes: it counts the system calls of each thread on the files that it is told.
 */
import assert from 'node:assert/strict';
import { cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { holdsWhatWasDurable, makeStore, type Run, write } from './store-faults/bench.ts';

const workload = { seed: 7, largeBytes: 300_000 };

const calls = 'openat,write,fdatasync,fsync,rename,unlink';
/** LevelDB numbers its files as they come. */
const fileNumbers = Array.from({ length: 40 }, (_, number) => String(number).padStart(6, '0'));

/** Runs at a time: one a core. */
const lanes = 2;

interface Target {
  readonly name: string;
  /** Enough of them for LevelDB to begin a few journals and to write a few tables. */
  readonly operations: number;
  readonly files: (number: string) => readonly string[];
  /** A large entry is written in many parts, one as good as another. */
  readonly stride: number;
}

const targets: readonly Target[] = [
  { name: 'its journals', operations: 24, files: (number) => [`${number}.log`], stride: 7 },
  {
    name: 'its tables and its MANIFEST',
    operations: 60,
    files: (number) => [`${number}.ldb`, `MANIFEST-${number}`, `${number}.dbtmp`],
    stride: 1,
  },
];

/** The writer ends at the n-th call of one of its threads. */
function strace(dir: string, target: Target, nth: number): readonly string[] {
  const files = [...fileNumbers.flatMap(target.files), 'CURRENT', ''];
  const paths = files.flatMap((name) => ['-P', `${dir}/log/${name}`.replace(/\/$/, '')]);
  const qualifiers = [`trace=${calls}`, `inject=${calls}:signal=KILL:when=${nth}`];
  return ['strace', '-f', '-qq', '-o', '/dev/null', ...paths].concat(
    qualifiers.flatMap((each) => ['-e', each]),
  );
}

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
        const wrapping = { command: strace(dir, target, nth), env: { UV_THREADPOOL_SIZE: '1' } };
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
