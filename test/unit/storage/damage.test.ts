/** Files of the store damaged byte by byte: found, or without effect; never taken for the truth. */
import assert from 'node:assert/strict';
import { cp, mkdtempDisposable, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { createDataDir } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { readRecordLog } from '../../../src/storage/record-log.ts';
import { firstSnapshot } from '../../conformance/log-storage-suite.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'a' };
const lastIndex = 20;
/** Places tried in each file. */
const samples = 12;

interface Bench {
  readonly path: string;
  readonly store: string;
}

/** A node whose log holds entries 2 to 20, each of its own term, written one by one. */
async function withBench(body: (bench: Bench) => Promise<void>): Promise<void> {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-damage-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot);
  const log = await openLogStorage(dir, { expected: identity });
  for (let index = 2; index <= lastIndex; index++) {
    const entry = { index, term: index, type: 'normal', data: new Uint8Array(40) } as const;
    const hard = { term: index, vote: 'a', commit: 1, promiseMaxMs: 0 };
    await log.append({ hard, entries: [entry] }, true);
  }
  await log.close();
  await body({ path: temporary.path, store: 'log' });
}

/** What becomes of a copy whose file `name` was changed by `damage`. */
async function outcome(
  bench: Bench,
  copy: string,
  damage: (folder: string) => Promise<void>,
): Promise<string> {
  const dir = `${bench.path}/${copy}`;
  await cp(`${bench.path}/raft`, dir, { recursive: true });
  await damage(`${dir}/${bench.store}`);
  try {
    const log = await openLogStorage(dir, { expected: identity });
    const { term } = log.initialState().hard;
    assert.equal(log.term(log.lastIndex()), term);
    await log.close();
    return `opened at ${log.lastIndex()}`;
  } catch (error) {
    assert.ok(error instanceof OperatingError, String(error));
    assert.equal(error.line.includes('\n'), false);
    return error.code;
  }
}

test('a flipped bit in any file is found, or changes nothing', () =>
  withBench(async (bench) => {
    const files = await readdir(`${bench.path}/raft/log`);
    for (const name of files.filter((each) => !each.startsWith('LO'))) {
      const bytes = await readFile(`${bench.path}/raft/log/${name}`);
      const step = Math.max(1, Math.floor(bytes.length / samples));
      for (let at = 0; at < bytes.length; at += step) {
        const flipped = Uint8Array.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
        const result = await outcome(bench, `${name}-${at}`, (folder) =>
          writeFile(`${folder}/${name}`, flipped),
        );
        assert.match(result, /^(data-corrupt|opened at 20)$/, `${name} at ${at}`);
      }
    }
  }));

test('a journal that a crash cut short opens at what was written whole', () =>
  withBench(async (bench) => {
    const files = await readdir(`${bench.path}/raft/log`);
    const name = files.find((each) => each.endsWith('.log')) ?? '';
    const { length } = await readFile(`${bench.path}/raft/log/${name}`);
    for (const cut of [1, 5, 60, 130]) {
      const result = await outcome(bench, `cut-${cut}`, (folder) =>
        truncate(`${folder}/${name}`, length - cut),
      );
      assert.match(result, /^opened at (19|18)$/, `cut by ${cut}`);
    }
    const zeroed = await outcome(bench, 'zeroed', async (folder) => {
      const bytes = await readFile(`${folder}/${name}`);
      await writeFile(`${folder}/${name}`, bytes.fill(0, length - 50));
    });
    assert.equal(zeroed, 'opened at 19');
  }));

/** The bytes of the only journal of a bench. */
async function journalOf(bench: Bench): Promise<Uint8Array> {
  const files = await readdir(`${bench.path}/raft/log`);
  const name = files.find((each) => each.endsWith('.log')) ?? '';
  return Uint8Array.from(await readFile(`${bench.path}/raft/log/${name}`));
}

test('readRecordLog() finds every single flipped bit', () =>
  withBench(async (bench) => {
    const bytes = await journalOf(bench);
    const { records } = readRecordLog(bytes);

    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const at = bit >> 3;
      const before = bytes[at] ?? 0;
      bytes[at] = before ^ (1 << (bit & 7));
      const { damagedAt } = readRecordLog(bytes);
      assert.ok(damagedAt !== null && damagedAt <= at, `bit ${bit & 7} of byte ${at}`);
      bytes[at] = before;
    }
    assert.ok(records.length >= lastIndex - 1);
  }));

test('readRecordLog() takes an end that a crash left, wherever that is', () =>
  withBench(async (bench) => {
    const bytes = await journalOf(bench);
    let most = 0;

    for (let length = 0; length <= bytes.length; length++) {
      const { records, damagedAt } = readRecordLog(bytes.subarray(0, length));
      assert.equal(damagedAt, null, `cut to ${length}`);
      assert.ok(records.length >= most);
      most = records.length;
    }
  }));
