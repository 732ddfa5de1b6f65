/**
 * Power cuts of all three hosts at random instants, each on a file system of its own that loses
 * whatever was not synced. `POINTS=100 node --test test/lab/power.test.ts` for the long run, with
 * `FROM=41` to go on where it was interrupted, and `SEED=…` for another one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PowerCuts } from './power-cuts.ts';
import { logTails, Scene } from './scene.ts';

const seed = Number(process.env.SEED ?? 1);
const from = Number(process.env.FROM ?? 1);
const points = Number(process.env.POINTS ?? 6);
/** Fewer acknowledged writes a cut would prove little. */
const leastWrites = 5;
const timeoutMs = 60_000 + 20_000 * points;

test(`the VIP is back after each of ${points} power cuts of all hosts`, {
  timeout: timeoutMs,
}, async () => {
  const scene = await Scene.create({ disks: 'ext4' });
  try {
    const cuts = new PowerCuts(scene);
    let writes = 0;
    for (let point = from; point <= points; point++) {
      const cut = await cuts.strike(seed * 1_000 + point).catch((cause: unknown) => {
        throw new Error(`SEED=${seed} FROM=${point}\n${logTails(scene.lab)}`, { cause });
      });
      const { duringStart, backMs, acknowledged, lostBytes } = cut;
      writes = acknowledged;
      console.log(
        `${point} of seed ${seed}, in ${duringStart ? 'a start' : 'writes'}: VIP back after ` +
          `${backMs.toFixed(0)} ms, ${acknowledged} writes kept, ${lostBytes} bytes lost`,
      );
    }
    const each = writes / (points - from + 1);
    assert.ok(each > leastWrites, `${each} acknowledged writes a cut`);
  } finally {
    await scene.close();
  }
});
