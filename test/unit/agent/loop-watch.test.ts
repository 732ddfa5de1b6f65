/** The watch on the event loop: what it tells, and how often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchLoop } from '../../../src/agent/loop-watch.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { type Logger, silentLogger } from '../../../src/base/log.ts';
import { FakeClock } from '../../conformance/fakes.ts';

function bench(delays: number[]): { readonly clock: FakeClock; readonly said: unknown[] } {
  const clock = new FakeClock();
  const said: unknown[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (event, fields) => void said.push({ event, ...fields }),
  };
  watchLoop({ clock, log, spareMs: () => 332, longestMs: () => delays.shift() ?? 0 });
  return { clock, said };
}

test('a delay of half of what the lease has to spare is told, a shorter one is not', () => {
  const { clock, said } = bench([165, 166]);

  clock.advance(1_000);
  assert.deepEqual(said, []);

  clock.advance(1_000);
  assert.deepEqual(said, [{ event: 'agent.loop-late', delayMs: 166, leaseSpareMs: 332 }]);
});

test('lasting trouble is told once in ten seconds', () => {
  const { clock, said } = bench(Array.from({ length: 20 }, () => 400));

  for (let second = 0; second < 20; second++) clock.advance(1_000);

  assert.equal(said.length, 2);
});

test('a loop that stands still is noticed by the real probe', async () => {
  const said = Promise.withResolvers<Record<string, unknown>>();
  const log: Logger = { ...silentLogger, warn: (_event, fields) => said.resolve(fields ?? {}) };
  const watch = watchLoop({ clock: systemClock(), log, spareMs: () => 300 });
  // The probe must have ticked once before a delay can be seen.
  setTimeout(() => {
    for (const end = performance.now() + 300; performance.now() < end; );
  }, 200);

  const { delayMs } = await said.promise;

  watch.close();
  assert.ok(Number(delayMs) >= 200 && Number(delayMs) < 3_000, `${delayMs} ms`);
});
