/** What `timing: auto` chooses: slow to shorten, quick to lengthen, and able to say why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timingOf } from '../../../src/cluster/timing.ts';
import { delayBorne, TimingChoice } from '../../../src/cluster/timing-choice.ts';
import { TimingWatch } from '../../../src/cluster/timing-watch.ts';

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

test('auto does not take the one slow answer of a young leader for a percentile', () => {
  const choice = new TimingChoice('auto');
  choice.heard(230);

  for (let at = 0; at < 20_000; at += 32) choice.proved(at, at === 3_200 ? 90 : 32);

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

/** A follower of `former` at lan that is elected `silentMs` after its last heartbeat. */
function heir(silentMs: number): { readonly choice: TimingChoice; readonly watch: TimingWatch } {
  const choice = new TimingChoice('auto');
  const watch = new TimingWatch(choice);
  watch.heartbeat('former', 230, 1_000);
  watch.proof(1_000 + silentMs, 1_000 + silentMs);
  return { choice, watch };
}

test('an heir hears whether the leader that it deposed was dead', () => {
  const { choice, watch } = heir(250);

  assert.equal(watch.echo('other', 1_300), false);
  assert.equal(watch.echo('former', 1_300), true);
  assert.equal(watch.echo('former', 1_310), false, 'once is enough');

  assert.equal(choice.view().reason, 'a leader was deposed that lived');
});

test('who comes back late, or has let go, was not deposed by mistake', () => {
  assert.equal(heir(250).watch.echo('former', 1_000 + 250 + 460), false);
  assert.equal(heir(20).watch.echo('former', 1_030), false);
});

test('the first proof after an election measures no heartbeat', () => {
  const { choice, watch } = heir(250);

  assert.equal(watch.proof(1_250, 1_251), false, 'no news');
  assert.equal(choice.view().delayMs, null);
  watch.proof(1_251, 1_253);
  watch.proof(1_281, 1_285);

  assert.equal(choice.view().delayMs, 4);
  assert.equal(watch.proof(null, 1_300), false);
});
