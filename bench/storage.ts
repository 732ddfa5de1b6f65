/**
 * `make bench-storage`: a million small writes through three members, each over gRPC and synced by
 * a quorum, and what they leave: how large a data directory ever was, and how soon members that
 * were killed lead again. Ends with status 1 beyond the bounds.
 *
 *     WRITES=1000000 node bench/storage.ts
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { startHoldfast } from './proposals/contenders.ts';
import type { Load, LoadResult } from './proposals/load.ts';

const wanted = Number(process.env.WRITES ?? 1_000_000);
const clients = 64;
const valueBytes = 128;
const sliceMs = 10_000;
const sampleMs = 250;

const maxBytes = 100e6;
const maxRestartMs = 2_000;

const cache = new URL('../.cache/', import.meta.url).pathname;
mkdirSync(cache, { recursive: true });
const dir = mkdtempSync(`${cache}bench-`);
const load = fork(new URL('proposals/load.ts', import.meta.url));
let largestBytes = 0;

/** The largest of the members' directories; what vanishes meanwhile counts as nothing. */
function sample(): void {
  for (const member of readdirSync(dir).filter((name) => name.startsWith('holdfast-'))) {
    const names = readdirSync(`${dir}/${member}`, { recursive: true, encoding: 'utf8' });
    const bytes = names.reduce((sum, name) => {
      const found = statSync(`${dir}/${member}/${name}`, { throwIfNoEntry: false });
      return sum + (found?.isFile() === true ? found.size : 0);
    }, 0);
    largestBytes = Math.max(largestBytes, bytes);
  }
}

const holdfast = await startHoldfast(dir, null);
const sampling = setInterval(sample, sampleMs);
try {
  let written = 0;
  const began = performance.now();
  while (written < wanted) {
    const port = await holdfast.leaderPort();
    const slice: Load = { port, clients, durationMs: sliceMs, valueBytes, patient: true };
    load.send(slice);
    const [{ perSecond }] = (await once(load, 'message')) as [LoadResult];
    written += Math.round((perSecond * sliceMs) / 1_000);
    console.error(`${written} writes, ${(largestBytes / 1e6).toFixed(1)} MB at most`);
  }
  const perSecond = Math.round((1_000 * written) / (performance.now() - began));
  const { tookMs: restartMs } = await holdfast.restart();
  sample();
  console.log(
    `${written} writes of ${valueBytes} bytes, ${perSecond} a second: a data directory had ` +
      `${(largestBytes / 1e6).toFixed(1)} MB at most (bound ${maxBytes / 1e6}); killed and ` +
      `started again, a member leads after ${restartMs.toFixed(0)} ms (bound ${maxRestartMs})`,
  );
  const results = new URL('results/', import.meta.url);
  mkdirSync(results, { recursive: true });
  const figures = { written, perSecond, largestBytes, restartMs };
  writeFileSync(new URL('storage.json', results), `${JSON.stringify(figures, null, 2)}\n`);
  if (largestBytes >= maxBytes || restartMs >= maxRestartMs) process.exitCode = 1;
} finally {
  clearInterval(sampling);
  load.kill();
  holdfast.stop();
  rmSync(dir, { recursive: true, maxRetries: 10, retryDelay: 100 });
}
