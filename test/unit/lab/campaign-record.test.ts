/** The campaign's page: what it counts, and that it hides nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { campaignPage, isDone, type RunRecord, seedOf } from '../../lab/campaign-record.ts';

const good: RunRecord = {
  build: 'b',
  setting: 'three nodes',
  fault: 'SIGKILL',
  run: 1,
  seed: 0xabc,
  overlapMs: 0,
  silentMs: 400,
  figures: { 'mute after': [210, 380] },
  failure: null,
};

test('a run has the same seed each time, and no two runs share one', () => {
  assert.equal(seedOf('three nodes', 'SIGKILL', 1), seedOf('three nodes', 'SIGKILL', 1));
  assert.notEqual(seedOf('three nodes', 'SIGKILL', 1), seedOf('three nodes', 'SIGKILL', 2));
});

test('only the very same run counts as done', () => {
  const { build, setting, fault, run } = good;
  const same = { build, setting, fault, run };
  assert.equal(isDone([good], same), true);
  for (const other of [{ run: 2 }, { setting: 'five nodes' }, { build: 'c' }]) {
    assert.equal(isDone([good], { ...same, ...other }), false);
  }
});

test('the page shows what the newest build of a setting has come to', () => {
  const page = campaignPage([good, { ...good, run: 2 }, { ...good, build: 'c' }]);

  assert.match(page, /## Three nodes\n\nRuns so far: 1, of build c\./);
});

test('the page counts runs, overlaps and failures, and names the bad ones with their seeds', () => {
  const page = campaignPage([
    good,
    { ...good, run: 2, silentMs: 500, overlapMs: 0.001 },
    { ...good, run: 3, silentMs: 600, failure: 'it did not settle' },
  ]);

  assert.match(page, /\| SIGKILL \| 3 \| 1 \| 1 \| 500 ms \/ 600 ms \| 6: 380 ms \| abc … abc \|/);
  assert.match(page, /- three nodes, SIGKILL, run 2, seed abc: two holders for 0.001 ms/);
  assert.match(page, /- three nodes, SIGKILL, run 3, seed abc: it did not settle/);
});
