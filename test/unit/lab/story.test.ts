/** The texts that the demo and the benches print. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duration, shareRows, table, tenureRows } from '../../lab/story.ts';

test('duration() speaks in ms below a second', () => {
  assert.deepEqual([duration(38.4), duration(999), duration(1_250)], ['38 ms', '999 ms', '1.25 s']);
});

test('table() sets words to the left and figures to the right', () => {
  const text = table([
    ['host', 'answers', 'why'],
    ['n1', '7', 'leads'],
    ['n2', '12', ''],
  ]);
  assert.equal(
    text,
    ['  host   answers   why', '  n1           7   leads', '  n2          12'].join('\n'),
  );
});

test('tenureRows() says also when nobody held the VIP', () => {
  const rows = tenureRows(
    [
      { host: 'n1', from: 1_000, to: 2_000, claims: 200 },
      { host: 'n2', from: 2_400, to: 3_000, claims: 120 },
    ],
    1_000,
  );
  assert.deepEqual(rows, [
    ['n1', '0.000 s', '1.000 s', '200 answers'],
    ['nobody', '1.000 s', '1.400 s', '400 ms'],
    ['n2', '1.400 s', '2.000 s', '120 answers'],
  ]);
});

test('shareRows() sorts by name and gives shares in percent', () => {
  const rows = shareRows(
    new Map([
      ['n2', 1],
      ['n1', 3],
    ]),
  );
  assert.deepEqual(rows, [
    ['n1', '3', '75.0 %'],
    ['n2', '1', '25.0 %'],
  ]);
});
