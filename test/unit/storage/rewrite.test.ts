/** A log put anew, and a state as a file: whole or refused. */
import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import { emptyConfig, type Snapshot } from '../../../src/raft/types.ts';
import { createDataDir } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { rewriteLog } from '../../../src/storage/rewrite.ts';
import { decodeSnapshotFile, encodeSnapshotFile } from '../../../src/storage/snapshot-file.ts';
import { entries, firstSnapshot } from '../../conformance/log-storage-suite.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'node-a' };
const wait = { clock: systemClock(), maxMs: 0 };
const begun: Snapshot = {
  meta: { index: 40, term: 9, config: { ...emptyConfig, voters: ['a'] } },
  data: Buffer.from('new'),
};

async function withLog(body: (dir: string) => Promise<void>): Promise<void> {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-rewrite-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot, { promiseMaxMs: 400 });
  const log = await openLogStorage(dir, { expected: identity });
  const { hard } = log.initialState();
  const { index, term } = firstSnapshot.meta;
  const more = entries(index + 1, term, term, term);
  await log.append({ hard: { ...hard, vote: 'b', promiseMaxMs: 600 }, entries: more }, true);
  await log.close();
  await body(dir);
}

function refusal(text: string): string {
  try {
    decodeSnapshotFile(text);
  } catch (error) {
    assert.ok(error instanceof OperatingError, String(error));
    assert.ok(error.hint !== undefined);
    return error.code;
  }
  return 'accepted';
}

test('createDataDir() keeps what the host may still owe from before', async () => {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-rewrite-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot, { promiseMaxMs: 400 });

  const log = await openLogStorage(dir, { expected: identity });
  assert.equal(log.initialState().hard.promiseMaxMs, 400);
  await log.close();
});

test('rewriteLog() begins anew, owing what was promised and to nobody a vote', async () => {
  await withLog(async (dir) => {
    await rewriteLog(dir, wait, () => begun);

    const log = await openLogStorage(dir, { expected: identity });
    assert.deepEqual(log.initialState(), {
      hard: { term: 9, vote: null, commit: 40, promiseMaxMs: 600 },
      config: begun.meta.config,
    });
    assert.deepEqual([log.firstIndex(), log.lastIndex()], [41, 40]);
    assert.equal(Buffer.from(log.snapshot().data).toString(), 'new');
    await log.close();
  });
});

test('rewriteLog() changes nothing where the renewal is refused', async () => {
  await withLog(async (dir) => {
    const refused = rewriteLog(dir, wait, () => {
      throw new OperatingError({ code: 'no', message: 'no' });
    });
    await assert.rejects(refused, { code: 'no' });

    const log = await openLogStorage(dir, { expected: identity });
    assert.equal(log.lastIndex(), firstSnapshot.meta.index + 3);
    await assert.rejects(
      rewriteLog(dir, wait, () => begun),
      { code: 'data-locked' },
    );
    await log.close();
  });
});

test('a snapshot file gives back what was saved', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(), fc.nat(), (state, index, term) => {
      const text = encodeSnapshotFile({ index, term, state });
      assert.deepEqual(decodeSnapshotFile(text), { index, term, state });
      assert.deepEqual(decodeSnapshotFile(text.replaceAll('\n', '\r\n')), { index, term, state });
    }),
    { numRuns: 100 },
  );
});

test('a snapshot file that was cut, changed or is none is refused as what it is', () => {
  const text = encodeSnapshotFile({ index: 5, term: 2, state: Buffer.alloc(300, 7) });
  const lines = text.split('\n');
  const flipped = lines.with(2, lines[2]?.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')) ?? '');

  assert.equal(refusal(''), 'snapshot-foreign');
  assert.equal(refusal('apiVersion: holdfast/v1'), 'snapshot-foreign');
  assert.equal(refusal(text.slice(0, -40)), 'snapshot-damaged');
  assert.equal(refusal(flipped.join('\n')), 'snapshot-damaged');
  assert.equal(refusal(lines.toSpliced(3, 1).join('\n')), 'snapshot-damaged');
  assert.equal(refusal(lines.with(1, '<<<<').join('\n')), 'snapshot-damaged');
});
