/**
 * Who gets the next connection: small stories for the order, properties for evenness and stability.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Scheduler } from '../../../src/lb/ports.ts';
import {
  type Candidate,
  createPicker,
  type Picker,
  type PickRequest,
  pick,
  withCandidates,
} from '../../../src/lb/scheduler.ts';

/** `candidates('a', 'b:3', 'c?')`: weight 3 for b, c not preferred. */
function candidates(...words: readonly string[]): Candidate[] {
  return words.map((word) => {
    const [name = '', weight = '1'] = word.replace('?', '').split(':');
    return { name, weight: Number(weight), preferred: !word.endsWith('?') };
  });
}

const ANYBODY: PickRequest = {
  client: () => '192.0.2.1',
  connections: () => 0,
  tried: new Set(),
};

/** The next `count` choices, and the picker after them. */
function run(
  picker: Picker,
  count: number,
  request: PickRequest = ANYBODY,
): { chosen: string[]; picker: Picker } {
  const chosen: string[] = [];
  let current = picker;
  for (let i = 0; i < count; i++) {
    const choice = pick(current, request);
    if (choice === null) break;
    chosen.push(choice.name);
    current = choice.next;
  }
  return { chosen, picker: current };
}

function order(scheduler: Scheduler, count: number, ...words: readonly string[]): string {
  return run(createPicker(scheduler, candidates(...words)), count).chosen.join('');
}

function tally(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 8 });

suite('pick() by round-robin', () => {
  test('goes through the candidates in order', () => {
    assert.equal(order('round-robin', 7, 'b', 'a', 'c'), 'abcabca');
  });

  test('keeps its position when candidates come and go', () => {
    const start = createPicker('round-robin', candidates('a', 'b', 'c', 'd'));
    const first = run(start, 2);
    const without = run(withCandidates(first.picker, candidates('a', 'c', 'd')), 1);
    const again = run(withCandidates(without.picker, candidates('a', 'b', 'c', 'd')), 4);

    assert.equal([...first.chosen, ...without.chosen, ...again.chosen].join(''), 'abcdabc');
  });

  test('differs by one connection at most, whoever is there', () => {
    fc.assert(
      fc.property(names, fc.nat(500), (all, count) => {
        const { chosen } = run(createPicker('round-robin', candidates(...all)), count);
        const counts = all.map((name) => tally(chosen).get(name) ?? 0);
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1);
      }),
    );
  });

  test('stays even while a backend comes and goes', () => {
    let picker = createPicker('round-robin', candidates('a', 'b', 'c'));
    const chosen: string[] = [];
    for (let i = 0; i < 1_000; i++) {
      picker = withCandidates(picker, candidates(...(i % 7 < 3 ? ['a', 'b'] : ['a', 'b', 'c'])));
      const step = run(picker, 3);
      chosen.push(...step.chosen);
      picker = step.picker;
    }
    const counts = tally(chosen);
    const [a = 0, b = 0] = [counts.get('a'), counts.get('b')];

    assert.ok(Math.abs(a - b) <= 0.01 * a, `a ${a}, b ${b}`);
  });
});

suite('pick() for a retry', () => {
  test('tries each candidate once and says which is the last', () => {
    let picker = createPicker('round-robin', candidates('a', 'b', 'c'));
    const tried = new Set<string>();
    const attempts: string[] = [];
    for (;;) {
      const choice = pick(picker, { ...ANYBODY, tried });
      if (choice === null) break;
      attempts.push(`${choice.name}${choice.final ? '!' : ''}`);
      tried.add(choice.name);
      picker = choice.next;
    }

    assert.deepEqual(attempts, ['a', 'b', 'c!']);
  });

  test('spreads what a failing backend refuses over all others', () => {
    let picker = createPicker('round-robin', candidates('a', 'b', 'c'));
    const served: string[] = [];
    for (let i = 0; i < 600; i++) {
      const tried = new Set<string>();
      for (;;) {
        const choice = pick(picker, { ...ANYBODY, tried });
        if (choice === null) break;
        picker = choice.next;
        if (choice.name !== 'b') {
          served.push(choice.name);
          break;
        }
        tried.add('b');
      }
    }

    assert.deepEqual([...tally(served).values()], [300, 300]);
  });

  for (const scheduler of [
    'round-robin',
    'weighted',
    'least-connections',
    'source-hash',
  ] as const) {
    test(`prefers candidates that are not suspect: ${scheduler}`, () => {
      assert.match(order(scheduler, 6, 'a?', 'b', 'c?'), /^b+$/);
      assert.equal(order(scheduler, 1, 'a?'), 'a');
      assert.equal(order(scheduler, 1), '');
    });
  }
});

suite('pick() by weight', () => {
  test('interleaves instead of bursting', () => {
    assert.equal(order('weighted', 7, 'a:5', 'b:1', 'c:1'), 'aabacaa');
  });

  test('is exact over each round, whatever the weights', () => {
    const weighted = fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z]{1,4}$/),
        weight: fc.integer({ min: 1, max: 9 }),
      }),
      { minLength: 1, maxLength: 6, selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(weighted, (all) => {
        const round = all.reduce((sum, { weight }) => sum + weight, 0);
        const picker = createPicker(
          'weighted',
          all.map((each) => ({ ...each, preferred: true })),
        );
        const counts = tally(run(picker, 3 * round).chosen);
        for (const { name, weight } of all) assert.equal(counts.get(name), 3 * weight);
      }),
    );
  });
});

suite('pick() by least connections', () => {
  test('takes the idlest, by its weight', () => {
    const picker = createPicker('least-connections', candidates('a', 'b', 'c:4'));
    const busy = { a: 1, b: 3, c: 6 };
    const connections = (name: string): number => busy[name as 'a' | 'b' | 'c'];

    assert.equal(pick(picker, { ...ANYBODY, connections })?.name, 'c');
    assert.equal(pick(picker, { ...ANYBODY, connections, tried: new Set(['c']) })?.name, 'a');
  });

  test('rotates among equals, so that short connections spread', () => {
    assert.equal(order('least-connections', 6, 'a', 'b', 'c'), 'abcabc');
  });
});

suite('pick() by source hash', () => {
  const clients = Array.from({ length: 2_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const choose = (picker: Picker, client: string): string =>
    pick(picker, { ...ANYBODY, client: () => client })?.name ?? '';

  test('is a function of client and candidates alone', () => {
    const here = createPicker('source-hash', candidates('a', 'b', 'c'));
    const there = run(createPicker('source-hash', candidates('c', 'a', 'b')), 5).picker;
    for (const client of clients) assert.equal(choose(here, client), choose(there, client));
  });

  test('moves only the clients of a candidate that left', () => {
    fc.assert(
      fc.property(names, fc.nat(), (all, index) => {
        const gone = all[index % all.length];
        const before = createPicker('source-hash', candidates(...all));
        const left = withCandidates(before, candidates(...all.filter((name) => name !== gone)));
        for (const client of clients.slice(0, 50)) {
          const choice = choose(before, client);
          if (choice !== gone) assert.equal(choose(left, client), choice);
        }
      }),
    );
  });

  test('spreads clients by weight, within a tenth', () => {
    const picker = createPicker('source-hash', candidates('n1', 'n2', 'n3:2'));
    const counts = tally(clients.map((client) => choose(picker, client)));

    for (const [name, share] of [
      ['n1', 500],
      ['n2', 500],
      ['n3', 1_000],
    ] as const) {
      const count = counts.get(name) ?? 0;
      assert.ok(Math.abs(count - share) <= share / 10, `${name}: ${count} of about ${share}`);
    }
  });
});
