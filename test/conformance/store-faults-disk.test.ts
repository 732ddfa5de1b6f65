/**
 * A disk that is full, read-only, or fails in the middle of a write. A node waits for room;
 * anything else ends the process with one line that says what to do, and with the disk in order
 * again the store holds all that was durable.
 * Needs root: it mounts file systems, in a namespace of its own.
 */
import assert from 'node:assert/strict';
import { statfsSync } from 'node:fs';
import { mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { OperatingError } from '../../src/base/errors.ts';
import { openLogStorage } from '../../src/storage/log-storage.ts';
import { lasting, until } from '../lab/clock.ts';
import {
  contents,
  holdsWhatWasDurable,
  makeStore,
  type Outcome,
  type Run,
  write,
} from './store-faults/bench.ts';
import { makeLoneNode, smallChange, startLoneNode } from './store-faults/lone-node.ts';
import { Mounts } from './store-faults/mounts.ts';
import { journals, striking } from './store-faults/strace.ts';
import { describeLog, operationAt, perform } from './store-faults/workload.ts';

/** More than the disks of this file hold. */
const run: Run = { workload: { seed: 3, largeBytes: 20_000 }, from: 0, to: 5_000 };
const plain = { command: [] };

const megabyte = 1024 * 1024;

function endsWithOneLine({ exitCode, stderr }: Outcome, says: RegExp): void {
  assert.equal(exitCode, 1, stderr);
  assert.match(stderr, says);
  assert.match(stderr, /^[^\n]+\n$/, 'one line');
}

/** Why the store of `dir` is not opened, in one line. */
async function refusal(dir: string): Promise<OperatingError> {
  const error: unknown = await contents(dir).then(
    () => assert.fail('it was opened'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof OperatingError, String(error));
  assert.doesNotMatch(error.line, /\n/);
  return error;
}

test('a full disk ends the writer, and with room again nothing durable is missing', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=8m', 'none');
  const dir = `${mounts.path}/raft`;
  const ballast = `${mounts.path}/ballast`;
  await makeStore(dir);
  let from = 0;
  for (const roomMb of [1.5, 2, 3]) {
    await writeFile(ballast, new Uint8Array((8 - roomMb) * megabyte));

    const outcome = await write(dir, { ...run, from }, plain);
    endsWithOneLine(outcome, /^the log cannot be written: .*No space left on device.*`df`/);
    const { code } = await refusal(dir);
    assert.equal(code, 'data-unusable', 'still full: neither opened nor called damaged');

    await rm(ballast);
    from = await holdsWhatWasDurable(dir, run, outcome.durable);
  }
});

test('a node on a full disk refuses changes, and goes on when there is room', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=16m', 'none');
  const dir = `${mounts.path}/raft`;
  const ballast = `${mounts.path}/ballast`;
  await makeLoneNode(dir);
  let acknowledged = 0;
  {
    await using lone = await startLoneNode(dir);
    const { node } = lone;
    for (const roomMb of [0, 0.5]) {
      const found = statfsSync(mounts.path);
      await writeFile(ballast, new Uint8Array(found.bavail * found.bsize - roomMb * megabyte));

      const pending: Promise<unknown>[] = [];
      const refused = await until(
        async () => {
          const made = node.propose(smallChange(++acknowledged)).catch((error: unknown) => error);
          pending.push(made);
          const first = await Promise.race([made, lasting(20)]);
          return first instanceof OperatingError && first.code !== 'busy' ? first : undefined;
        },
        { timeoutMs: 60_000, everyMs: 1, what: 'a refusal' },
      );
      assert.equal(refused.code, 'disk-trouble');
      assert.match(refused.line, /no space left.*`df`/);
      assert.equal(node.isRunning(), true);
      assert.equal(node.view().quorum, true, 'the lease needs no disk');

      await rm(ballast);
      await until(() => node.diskTrouble() === null, { timeoutMs: 5_000, what: 'the disk' });
      await Promise.all(pending);
      await node.propose(smallChange(++acknowledged));
    }
  }
  await using again = await startLoneNode(dir);
  const [self] = again.node.view().state.members;
  assert.equal(self?.version, `1.0.${acknowledged}`, 'the newest change is there');
});

test('a store on a full disk acknowledges nothing, and all of it when there is room', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=16m', 'none');
  const dir = `${mounts.path}/raft`;
  await makeStore(dir);
  const options = { expected: null, roomWait: systemClock() };
  const log = await openLogStorage(dir, options);
  const room = statfsSync(mounts.path);
  await writeFile(`${mounts.path}/ballast`, new Uint8Array(room.bavail * room.bsize));
  let acknowledged = 0;

  const writes = Array.from({ length: 5 }, (_, step) =>
    perform(log, operationAt(run.workload, step, log)).then(() => void acknowledged++),
  );
  await until(() => log.isFull(), { timeoutMs: 5_000, what: 'the disk to be full' });
  await lasting(600);
  assert.equal(acknowledged, 0);
  const said = describeLog(log);

  await rm(`${mounts.path}/ballast`);
  await Promise.all(writes);
  assert.equal(log.isFull(), false);
  await log.close();
  const again = await openLogStorage(dir, options);
  assert.equal(describeLog(again), said);
  await again.close();
});

test('a store that is closed while the disk is full rejects what it never wrote', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=16m', 'none');
  const dir = `${mounts.path}/raft`;
  await makeStore(dir);
  const log = await openLogStorage(dir, { expected: null, roomWait: systemClock() });
  const room = statfsSync(mounts.path);
  await writeFile(`${mounts.path}/ballast`, new Uint8Array(room.bavail * room.bsize));

  const written = perform(log, operationAt(run.workload, 0, log));
  const rejected = assert.rejects(written, /no space left/);
  await until(() => log.isFull(), { timeoutMs: 5_000, what: 'the disk to be full' });
  await log.close();
  await rejected;
});

test('a disk that was remounted read-only is refused until it can be written', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=8m', 'none');
  const dir = `${mounts.path}/raft`;
  await makeStore(dir);
  const { durable } = await write(dir, { ...run, to: 50 }, plain);

  mounts.mount('-o', 'remount,ro');
  const { code, line } = await refusal(dir);
  assert.equal(code, 'data-not-writable');
  assert.match(line, /Read-only file system/i);

  mounts.mount('-o', 'remount,rw');
  await holdsWhatWasDurable(dir, run, durable);
});

const failures = [
  { calls: 'fdatasync', error: 'EIO', says: /Input\/output error/ },
  { calls: 'write', error: 'EIO', says: /Input\/output error/ },
  { calls: 'write', error: 'EROFS', says: /Read-only file system/ },
  { calls: 'write', error: 'EDQUOT', says: /quota exceeded/ },
];

for (const { calls, error, says } of failures) {
  test(`a ${calls} that fails with ${error} ends the writer, and nothing durable is missing`, async () => {
    await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-disk-`);
    const dir = `${temporary.path}/raft`;
    await makeStore(dir);
    let from = 0;
    for (const nth of [5, 12]) {
      const fault = `error=${error}:when=${nth}`;
      const command = striking({ dir, files: journals, calls, fault });

      const outcome = await write(dir, { ...run, from }, { command });
      endsWithOneLine(outcome, /^the log cannot be written: .*`dmesg`/);
      assert.match(outcome.stderr, says);

      from = await holdsWhatWasDurable(dir, run, outcome.durable);
    }
  });
}
