/** The ruleset that a set of faults becomes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blocksBetween, rulesFor } from '../../lab/faults.ts';

test('rulesFor() replaces the whole ruleset in one transaction', () => {
  assert.equal(
    rulesFor({ blocks: [{ from: 'n1', to: 'n2' }], lossPercent: 5 }),
    `table bridge lab { chain forward { type filter hook forward priority 0; policy accept; }; }
flush chain bridge lab forward
add rule bridge lab forward iifname "n1" oifname "n2" counter drop
add rule bridge lab forward numgen random mod 1000 < 50 counter drop
`,
  );
});

test('blocksBetween() parts every pair of groups, both ways', () => {
  const blocks = blocksBetween([['a', 'b'], ['c']]);

  assert.deepEqual(blocks.map(({ from, to }) => `${from}>${to}`).sort(), [
    'a>c',
    'b>c',
    'c>a',
    'c>b',
  ]);
});
