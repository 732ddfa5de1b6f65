/** Schedulers as tables: shares, order, and what moves. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { slotsOf } from '../../../src/lb/forwarding-slots.ts';
import type { ForwardBackend, Scheduler } from '../../../src/lb/ports.ts';

function backends(...weights: readonly number[]): ForwardBackend[] {
  return weights.map((weight, index) => ({
    name: `b${String(index).padStart(3, '0')}`,
    address: `10.0.${index >> 8}.${index & 255}`,
    port: 6443,
    weight,
    mode: 'masquerade',
  }));
}

function names(scheduler: Scheduler, among: readonly ForwardBackend[], turn = 0): string[] {
  return slotsOf({ scheduler, backends: among }, turn).map(({ name }) => name);
}

/** Each backend's share of the slots over the share that its weight gives it. */
function deviations(scheduler: Scheduler, among: readonly ForwardBackend[]): number[] {
  const slots = names(scheduler, among);
  const total = among.reduce((sum, { weight }) => sum + weight, 0);
  return among.map(({ name, weight }) => {
    const share = slots.filter((each) => each === name).length / slots.length;
    return Math.abs(share - weight / total);
  });
}

const weightList = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 40 });

suite('slotsOf()', () => {
  test('gives nothing where nobody is', () => {
    for (const scheduler of ['round-robin', 'weighted', 'source-hash'] as const) {
      assert.deepEqual(names(scheduler, []), []);
    }
  });

  test('round-robin begins elsewhere at each turn, and forgets the weights', () => {
    const all = backends(1, 9, 1);

    assert.deepEqual(names('round-robin', all, 0), ['b000', 'b001', 'b002']);
    assert.deepEqual(names('round-robin', all, 4), ['b001', 'b002', 'b000']);
  });

  test('weighted interleaves', () => {
    assert.equal(names('weighted', backends(4, 2, 2)).join(' '), 'b000 b001 b002 b000');
    assert.deepEqual(names('weighted', backends(1, 256)).length, 257);
  });

  test('weighted shares are within 2 points of a hundred, and 2 % where they can be seen', () => {
    fc.assert(
      fc.property(weightList, (weights) => {
        const all = backends(...weights);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (const [index, deviation] of deviations('weighted', all).entries()) {
          const share = (weights[index] ?? 0) / total;
          assert.ok(deviation <= Math.max(0.02 * share, 1 / 4096), `${deviation} of ${share}`);
        }
      }),
    );
  });

  test('the order of the backends does not count', () => {
    fc.assert(
      fc.property(weightList, (weights) => {
        const all = backends(...weights);
        for (const scheduler of ['round-robin', 'weighted', 'source-hash'] as const) {
          assert.deepEqual(names(scheduler, all.toReversed(), 3), names(scheduler, all, 3));
        }
      }),
      { numRuns: 10 },
    );
  });

  test('source-hash moves only the slots of the backend that goes, 1/n + 2 points at most', () => {
    for (let count = 2; count <= 12; count++) {
      const all = backends(...new Array<number>(count).fill(1));
      const before = names('source-hash', all);
      for (const gone of all) {
        const now = names(
          'source-hash',
          all.filter((each) => each !== gone),
        );
        const moved = before.filter((name, slot) => name !== now[slot]);
        assert.ok(moved.every((name) => name === gone.name));
        assert.ok(moved.length / before.length <= 1 / count + 0.02, `${count}: ${moved.length}`);
      }
    }
  });
});
