/** A process killed in the middle of its writes: whatever it called durable is there. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { createDataDir } from '../../../src/storage/data-dir.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { firstSnapshot } from '../../conformance/log-storage-suite.ts';

const identity = { clusterId: 'c1', nodeId: 'a', name: 'a' };
const script = new URL('append-forever.ts', import.meta.url).pathname;

/** Lets the process append some entries, kills it, and returns the last that it called durable. */
async function killedAfter(dir: string, lines: number): Promise<{ index: number; term: number }> {
  const child: ChildProcess = spawn(process.execPath, [script, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (output.split('\n').length > lines) child.kill('SIGKILL');
  });
  await once(child, 'close');
  const [index = 0, term = 0] = (output.split('\n').at(-2) ?? '').split(' ').map(Number);
  return { index, term };
}

test('what was called durable survives SIGKILL, again and again', async () => {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-kill-`);
  const dir = `${temporary.path}/raft`;
  await createDataDir(dir, identity, firstSnapshot);

  for (const lines of [1, 10, 37, 100]) {
    const last = await killedAfter(dir, lines);

    const log = await openLogStorage(dir, { expected: identity });
    const { hard } = log.initialState();
    assert.ok(hard.term >= last.term, `term ${hard.term} after ${last.term} was durable`);
    // At most the write under way came after it: whole, or not at all.
    const beyond = hard.term - last.term;
    assert.ok(beyond <= 1);
    if (beyond === 0) assert.equal(log.term(last.index), last.term);
    assert.equal(log.term(log.lastIndex()), hard.term);
    await log.close();
  }
});
