/**
 * A disk that is full, read-only, or fails in the middle of a write: the process ends with one line
 * that says what to do, and with the disk in order again the store holds all that was durable.
 * Needs root: it mounts file systems, in a namespace of its own.
 */
import assert from 'node:assert/strict';
import { mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { OperatingError } from '../../src/base/errors.ts';
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

test('a node on a full disk says why it ends, and takes part no more', async () => {
  await using mounts = await Mounts.create();
  mounts.mount('-t', 'tmpfs', '-o', 'size=2m', 'none');
  const dir = `${mounts.path}/raft`;
  await makeLoneNode(dir);
  const { node, failed } = await startLoneNode(dir);
  const before = node.view().appliedIndex;
  await writeFile(`${mounts.path}/ballast`, new Uint8Array(2 * megabyte)).catch(() => undefined);

  await assert.rejects(async () => {
    for (let number = 0; ; number++) await node.propose(smallChange(number));
  }, /stop|disk|written/);
  const error = await failed;
  assert.ok(error instanceof OperatingError);
  assert.equal(error.code, 'data-write-failed');
  assert.equal(node.isRunning(), false);
  const after = node.view().appliedIndex;
  await node.stop();

  await rm(`${mounts.path}/ballast`);
  await using again = await startLoneNode(dir);
  assert.ok(again.node.view().appliedIndex > Math.max(before, after));
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
