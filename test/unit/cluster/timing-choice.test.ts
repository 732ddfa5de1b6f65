/** What `timing: auto` chooses: slow to shorten, quick to lengthen, and able to say why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timingOf } from '../../../src/cluster/timing.ts';
import { delayBorne, TimingChoice } from '../../../src/cluster/timing-choice.ts';

interface Stage {
  readonly choice: TimingChoice;
  /** A leader's life for `forMs`, in which the quorum answers `delayMs` late. */
  live(forMs: number, delayMs?: number): void;
  now(): number;
}

function leader(): Stage {
  const choice = new TimingChoice('auto');
  let now = 0;
  return {
    choice,
    now: () => now,
    live(forMs, delayMs = 2) {
      const until = now + forMs;
      while (now < until) {
        const ageMs = choice.timing.heartbeatMs + delayMs;
        now += ageMs;
        choice.proved(now, ageMs);
      }
    },
  };
}

test('the profiles bear delays in their order', () => {
  const borne = ['lan', 'balanced', 'wan'] as const;

  assert.deepEqual(
    borne.map((profile) => delayBorne(timingOf(profile))),
    [135, 282, 453],
  );
});

test('auto begins as balanced and settles at lan within half a minute of calm', () => {
  const { choice, live } = leader();
  assert.deepEqual(choice.timing, timingOf('balanced'));

  live(15_000);
  assert.equal(choice.view().name, 'auto (balanced)');
  live(15_000);

  assert.deepEqual(choice.timing, timingOf('lan'));
  assert.equal(choice.view().name, 'auto (lan)');
  assert.match(choice.view().reason, /^answers of the quorum take 2\.0 ms/);
});

test('auto does not shorten to what three times the delay would not fit into', () => {
  const { choice, live } = leader();

  live(300_000, 46);

  assert.deepEqual(choice.timing, timingOf('balanced'));
});

test('auto lengthens at once when a single answer comes near the limit, and is then patient', () => {
  const { choice, live } = leader();
  live(60_000);

  live(1, 70);
  assert.equal(choice.view().name, 'auto (balanced)');
  assert.equal(choice.view().reason, 'the quorum answered 70.0 ms late');
  live(35_000);
  assert.equal(choice.view().name, 'auto (balanced)', 'twice as patient as at first');
  live(120_000);

  assert.equal(choice.view().name, 'auto (lan)');
});

test('auto lengthens when answers grow slow on the whole', () => {
  const { choice, live } = leader();
  live(60_000);

  live(3_000, 50);
  assert.equal(choice.view().name, 'auto (balanced)');
  live(3_000, 120);

  assert.equal(choice.view().name, 'auto (wan)');
});

test('a deposed leader that lives lengthens the promises', () => {
  const { choice, live, now } = leader();
  live(60_000);

  assert.equal(choice.deposedTheLiving(now()), true);

  assert.equal(choice.view().name, 'auto (balanced)');
});

test('a follower takes over what its leader chose, and begins with it', () => {
  const choice = new TimingChoice('auto');

  assert.equal(choice.heard(230), true);
  assert.equal(choice.heard(230), false);
  assert.deepEqual(choice.timing, timingOf('lan'));
  choice.heard(470);
  assert.deepEqual(choice.timing, timingOf('wan'));
});

test('what the spec says is not argued with', () => {
  const choice = new TimingChoice('lan');

  assert.equal(choice.heard(600), false);
  assert.equal(choice.proved(0, 500), false);
  assert.equal(choice.deposedTheLiving(0), false);
  assert.deepEqual(choice.timing, timingOf('lan'));
  assert.equal(choice.view().name, 'lan');
});
