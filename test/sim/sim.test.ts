/**
 * The simulator in the fast gate: some seeds, and the proof that a seed fixes the run. `make sim`
 * and `make test` run many more.
 */
import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import { simulate } from './simulation.ts';

/** About 150 ms each; `make test` has 2,000 beside. */
const SEEDS = 12;

describe('simulation', () => {
  test(`no seed from 1 to ${SEEDS} breaks a rule in its 3,000 events or more`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { events, excused, failure, tail } = await simulate(seed);
      if (failure === null) {
        // What is lost outside of what is promised ends a run early.
        assert.ok(
          events >= 3_000 || excused.length > 0,
          `seed ${seed} ended after ${events} events`,
        );
        continue;
      }
      const replay = `node test/sim/main.ts --seed ${seed}`;
      assert.fail([...tail.slice(-40), `seed ${seed} broke ${failure.rule}; ${replay}`].join('\n'));
    }
  });

  // Each broke a rule when it was found. Later changes of the faults change what a seed does.
  for (const [seed, found] of [
    [910, 'a claim in the term in which the whole machine was paused'],
    [1600, 'an address that the kernel refused to take away, its fence gone'],
    [1455, 'members removed until only a witness was left'],
    [587, 'a learner that waits beside a lone witness'],
    [1100, 'a quorum lost for good with the disk of the last who knew'],
    [1028, 'a member drained by what was asked long before all was healed'],
    [1426, 'links that a fault gave back in the middle of a drill'],
    [1700, 'a process killed while it drops a VIP that lost its fence'],
    [4589, 'a late heartbeat of an older term, echoed as a round of a newer one'],
    [4717, 'a joiner that was removed and asks for ever'],
    [46703, 'a removal of the leader, asked for in the faults and taken to be over'],
  ] as const) {
    test(`seed ${seed}, which found ${found}`, async () => {
      assert.equal((await simulate(seed)).failure, null);
    });
  }

  test('the same seed gives the same run, event by event', async () => {
    for (const seed of [3, 11, 42]) {
      const first = await simulate(seed);
      const second = await simulate(seed);

      assert.equal(second.hash, first.hash);
      assert.equal(second.events, first.events);
    }
  });

  test('wall clocks change nothing, however they jump', async () => {
    let jumped = 0;
    for (let seed = 1; seed <= 40 && jumped < 3; seed++) {
      const outcome = await simulate(seed);
      if (!outcome.exercised.includes('wall-clock')) continue;
      jumped++;
      const steady = await simulate(seed, undefined, undefined, 'true');
      assert.equal(steady.hash, outcome.hash, `seed ${seed}`);
    }
    assert.ok(jumped >= 3, `only ${jumped} seeds of 40 set the wall clock`);
  });

  test('another seed gives another run', async () => {
    const [one, two] = [await simulate(1), await simulate(2)];

    assert.notEqual(one.hash, two.hash);
  });

  test('the VIP is claimed and moves while faults go on', async () => {
    let tenures = 0;
    for (let seed = 1; seed <= 10; seed++) tenures += (await simulate(seed)).tenures;

    assert.ok(tenures > 20, `only ${tenures} tenures in 10 seeds`);
  });
});
