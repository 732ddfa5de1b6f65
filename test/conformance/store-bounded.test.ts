/**
 * Many small changes through a node, its log, its compaction and the real store: the data directory
 * stays small all the while, and the next start is quick. `PROPOSALS=10000000` for the long run.
 */
import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { setTimeout as lasting } from 'node:timers/promises';
import { errorCode } from '../../src/base/errors.ts';
import type { ClusterNode } from '../../src/cluster/node.ts';
import { makeLoneNode, smallChange, startLoneNode } from './store-faults/lone-node.ts';

const proposals = Number(process.env.PROPOSALS ?? 200_000);
/** As many as a node lets wait. */
const clients = 64;

const maxBytes = 100e6;
const maxRestartMs = 2_000;

/** A disk that others keep busy for a second is a refusal, not the end of a run of an hour. */
const patienceMs = 500;
let refusals = 0;

async function change(node: ClusterNode, number: number): Promise<void> {
  for (;;) {
    try {
      await node.propose(smallChange(number));
      return;
    } catch (error) {
      if (errorCode(error) !== 'disk-trouble') throw error;
      refusals += 1;
      await lasting(patienceMs);
    }
  }
}

/** The bytes of all files below `dir`; what vanishes meanwhile counts as nothing. */
async function sizeOf(dir: string): Promise<number> {
  const names = await readdir(dir, { recursive: true });
  const sizes = names.map((name) =>
    stat(`${dir}/${name}`).then(
      (found) => (found.isFile() ? found.size : 0),
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

test(`${proposals} small changes leave a small directory and a quick start`, async (t) => {
  await using temporary = await mkdtempDisposable(`${tmpdir()}/holdfast-bounded-`);
  const dir = `${temporary.path}/raft`;
  await makeLoneNode(dir);
  let largest = 0;
  {
    await using lone = await startLoneNode(dir);
    let made = 0;
    const began = performance.now();
    const client = async (): Promise<void> => {
      while (made < proposals) {
        made += 1;
        if (made % 5_000 === 0) largest = Math.max(largest, await sizeOf(dir));
        await change(lone.node, made);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    const rate = (1_000 * proposals) / (performance.now() - began);
    t.diagnostic(
      `${Math.round(rate)} changes a second, each synced, ${clients} at a time; ` +
        `${refusals} refused while the disk was busy, and made later`,
    );
  }
  largest = Math.max(largest, await sizeOf(dir));
  assert.ok(largest < maxBytes, `${largest} bytes`);

  const began = performance.now();
  await using again = await startLoneNode(dir);
  const restartMs = performance.now() - began;
  assert.ok(restartMs < maxRestartMs, `${restartMs} ms`);
  assert.ok(again.node.view().appliedIndex >= proposals);
  const [member] = again.node.view().state.members;
  assert.match(member?.version ?? '', /^1\.0\.\d+$/);
  t.diagnostic(`${(largest / 1e6).toFixed(1)} MB at most; started in ${Math.round(restartMs)} ms`);
});
