/** The storage suite on LevelDB and on the fake, and what only a real directory can go through. */
import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import { createDataDir, openStore, readIdentity } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { readOffline } from '../../../src/storage/read-offline.ts';
import { entryKey } from '../../../src/storage/records.ts';
import { entries, firstSnapshot, testLogStorage } from '../../conformance/log-storage-suite.ts';
import { MemoryDisk } from '../../conformance/memory-storage.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'node-a' };
const clock = systemClock();

testLogStorage('the store on disk', async () => {
  const temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-storage-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot);
  let current = await openLogStorage(dir, { expected: identity });
  return {
    open: async () => current,
    reopen: async (storage) => {
      await storage.close();
      current = await openLogStorage(dir, { expected: identity });
      return current;
    },
    dispose: async () => {
      await current.close();
      await temporary.remove();
    },
  };
});

testLogStorage('the fake disk', async () => {
  const disk = new MemoryDisk(clock, () => 0, firstSnapshot);
  return {
    open: async () => disk.open(),
    reopen: async () => disk.open(),
    dispose: async () => undefined,
  };
});

test('the fake disk loses what was not synced when the power fails', async () => {
  const disk = new MemoryDisk(clock, () => 0, firstSnapshot);
  const log = disk.open();
  await log.append({ entries: entries(2, 1) }, true);
  await log.append({ entries: entries(3, 1) }, false);
  await log.append({ entries: entries(4, 1) }, false);

  disk.cut(1);

  assert.equal(disk.open().lastIndex(), 3);
});

/** Runs `body` on a fresh directory that holds a node with three entries, all committed. */
async function withNode(body: (dir: string) => Promise<void>): Promise<void> {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-storage-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot);
  const log = await openLogStorage(dir, { expected: identity });
  const hard = { term: 1, vote: null, commit: 4, promiseMaxMs: 0 };
  await log.append({ hard, entries: entries(2, 1, 1, 1) }, true);
  await log.close();
  await body(dir);
}

const refusal = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code);
  assert.match(error.line, words);
  assert.equal(error.line.includes('\n'), false);
  return true;
};

const open = (dir: string) => openLogStorage(dir, { expected: identity });

test('a directory in use is refused, and says so offline', () =>
  withNode(async (dir) => {
    const log = await open(dir);

    await assert.rejects(open(dir), refusal('data-locked', /another process uses/));
    assert.deepEqual(await readOffline(dir), { kind: 'locked', identity });
    assert.deepEqual(await readIdentity(dir), identity);
    await log.close();
  }));

test('a lock that is held for a moment is waited for', () =>
  withNode(async (dir) => {
    const first = await open(dir);

    const second = openLogStorage(dir, { expected: identity, lockWait: { clock, maxMs: 5000 } });
    await first.close();

    await (await second).close();
  }));

test('offline, the committed log can be read', () =>
  withNode(async (dir) => {
    const view = await readOffline(dir);

    assert.equal(view.kind, 'read');
    if (view.kind !== 'read') return;
    assert.deepEqual(view.snapshot, firstSnapshot);
    assert.deepEqual(
      view.committed.map((entry) => entry.index),
      [2, 3, 4],
    );
  }));

test('a directory without a node is refused', () =>
  withNode(async (dir) => {
    await assert.rejects(open(`${dir}-no`), refusal('data-missing', /holdfast init/));
  }));

test('a directory of another cluster or node is refused', () =>
  withNode(async (dir) => {
    const other = { clusterId: 'c2', nodeId: 'a' };
    const another = { clusterId: 'c1', nodeId: 'b' };

    await assert.rejects(openLogStorage(dir, { expected: other }), refusal('data-foreign', /c1/));
    await assert.rejects(
      openLogStorage(dir, { expected: another }),
      refusal('data-foreign', /node-a/),
    );
  }));

test('a directory that holds a node is not made anew', () =>
  withNode(async (dir) => {
    await assert.rejects(createDataDir(dir, identity, null), refusal('data-exists', /already/));
  }));

test('a directory with strange files is not taken', async () => {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-storage-`);
  await writeFile(`${temporary.path}/precious`, 'x');

  await assert.rejects(
    createDataDir(temporary.path, identity, null),
    refusal('data-foreign', /precious/),
  );
});

test('making a directory goes on where it was cut short', () =>
  withNode(async (dir) => {
    await rm(`${dir}/identity`);

    await createDataDir(dir, identity, firstSnapshot);

    const log = await open(dir);
    assert.equal(log.lastIndex(), 1);
    await log.close();
  }));

test('the directory is private', () =>
  withNode(async (dir) => {
    assert.equal((await stat(dir)).mode & 0o777, 0o700);
    assert.equal((await stat(`${dir}/identity`)).mode & 0o777, 0o600);
  }));

test('a flipped bit in an entry is found', () =>
  withNode(async (dir) => {
    const store = await openStore(dir, false);
    const value = await store.get(entryKey(3));
    assert.ok(value !== undefined);
    value[value.length - 2] = (value.at(-2) ?? 0) ^ 4;
    await store.put(entryKey(3), value, { sync: true });
    await store.close();

    await assert.rejects(open(dir), refusal('data-corrupt', /checksum.*--replace/));
  }));

test('an entry stored under another index is found', () =>
  withNode(async (dir) => {
    const store = await openStore(dir, false);
    const value = await store.get(entryKey(3));
    assert.ok(value !== undefined);
    await store.put(entryKey(4), value, { sync: true });
    await store.close();

    await assert.rejects(open(dir), refusal('data-corrupt', /checksum/));
  }));

test('a hole in the log is found', () =>
  withNode(async (dir) => {
    const store = await openStore(dir, false);
    await store.del(entryKey(3), { sync: true });
    await store.close();

    await assert.rejects(open(dir), refusal('data-corrupt', /hole after entry 2/));
  }));

test('a log that ends too early is found', () =>
  withNode(async (dir) => {
    const store = await openStore(dir, false);
    await store.del(entryKey(4), { sync: true });
    await store.close();

    await assert.rejects(open(dir), refusal('data-corrupt', /ends at entry 3 and not at 4/));
  }));

test('a value of a newer version is refused with both versions', () =>
  withNode(async (dir) => {
    const { Record } = await import('../../../proto/gen/state.ts');
    const { crc32c } = await import('../../../src/storage/crc32c.ts');
    const body = Uint8Array.of(8, 1);
    const prefix = new TextEncoder().encode('hard\x007\0');
    const bytes = Record.encode({
      formatVersion: 7,
      crc32c: crc32c(body, crc32c(prefix)),
      body,
    }).finish();
    const store = await openStore(dir, false);
    await store.put('hard', bytes, { sync: true });
    await store.close();

    await assert.rejects(open(dir), refusal('data-newer', /version 7.*knows 1/));
  }));

test('a torn identity is found', () =>
  withNode(async (dir) => {
    const bytes = await readFile(`${dir}/identity`);
    await writeFile(`${dir}/identity`, bytes.subarray(0, 10));

    await assert.rejects(open(dir), refusal('data-corrupt', /identity/));
  }));

test('a store whose files are gone or garbage is refused with one line', () =>
  withNode(async (dir) => {
    for (const name of await readdir(`${dir}/log`)) {
      if (name.startsWith('MANIFEST')) await writeFile(`${dir}/log/${name}`, 'garbage');
    }

    await assert.rejects(open(dir), (error: unknown) => {
      assert.ok(error instanceof OperatingError);
      assert.match(error.code, /^data-(corrupt|unusable)$/);
      return true;
    });
  }));

test('a write that fails is reported to all that wait, and ends all writing', () =>
  withNode(async (dir) => {
    const log = await open(dir);
    await log.close();

    await assert.rejects(
      log.append({ entries: entries(5, 1) }, true),
      refusal('data-write-failed', /cannot be written/),
    );
    await assert.rejects(
      log.append({ entries: entries(6, 1) }, true),
      refusal('data-write-failed', /cannot be written/),
    );
  }));
