/** Whom a frontend prefers, and how that is said. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { favouredBy, firstChoice, preferenceInWords } from '../../../src/lb/preference.ts';

const backends = ['n1', 'n2', 'n2-too'].map((name, index) => ({
  ...{ name, address: `10.0.0.1${Math.min(2, index + 1)}`, port: 6443 + index },
  ...{ weight: 1, draining: false, mode: 'masquerade' as const },
}));
const named = (...names: readonly string[]) => names.map((name) => ({ name }));

test('favouredBy() names every backend on this host, where that is preferred', () => {
  const home = new Set(['10.0.0.12', 'fd00::12']);

  assert.deepEqual(favouredBy({ prefer: 'local', backends }, home), ['n2', 'n2-too']);
  assert.deepEqual(favouredBy({ prefer: 'local', backends }, new Set()), []);
  assert.deepEqual(favouredBy({ prefer: 'any', backends }, home), []);
});

test('firstChoice() is the favoured, and everybody where none of them may be chosen', () => {
  assert.deepEqual(firstChoice(named('a', 'b', 'c'), ['b', 'z']), named('b'));
  assert.deepEqual(firstChoice(named('a', 'c'), ['b']), named('a', 'c'));
  assert.deepEqual(firstChoice([], ['b']), []);
});

suite('preferenceInWords()', () => {
  const table: readonly [readonly string[], readonly string[] | null, string][] = [
    [['n2'], ['n1', 'n2'], 'new connections go to n2'],
    [['n2'], ['n1'], 'n2 on this host may not be chosen, the others serve'],
    [['n2'], [], 'n2 on this host may not be chosen, and neither may any other'],
    [['n2'], null, 'n2 first'],
    [[], ['n1'], 'no backend is on this host, so all take turns'],
  ];
  for (const [favoured, serving, want] of table) {
    test(want, () => {
      const said = preferenceInWords({ prefer: 'local' }, favoured, serving);

      assert.equal(said, `prefer local: ${want}`);
    });
  }

  test('nothing, where nothing is preferred', () => {
    assert.equal(preferenceInWords({ prefer: 'any' }, [], ['n1']), null);
  });
});
