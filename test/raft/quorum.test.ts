/**
 * Majority arithmetic against a definition too slow to be wrong, for every case up to five voters.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { committedIndex, type QuorumConfig, voteResult } from '../../src/raft/quorum.ts';
import { names } from './solo.ts';

/** The largest index that more than half of `voters` reach, by trying each. */
function naiveIndex(voters: readonly string[], acked: ReadonlyMap<string, number>): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  const reach = (index: number): number =>
    voters.filter((id) => (acked.get(id) ?? 0) >= index).length;
  let best = 0;
  for (const index of acked.values()) {
    if (reach(index) * 2 > voters.length) best = Math.max(best, index);
  }
  return best;
}

/** Whether every, some or no completion of the missing votes wins. */
function naiveVote(voters: readonly string[], votes: ReadonlyMap<string, boolean>): string {
  if (voters.length === 0) return 'won';
  const wins = (missing: boolean): boolean =>
    voters.filter((id) => votes.get(id) ?? missing).length * 2 > voters.length;
  if (wins(false)) return 'won';
  return wins(true) ? 'pending' : 'lost';
}

/** Every way to give each of `count` voters one of `choices`; undefined gives none. */
function* assignments<T>(
  count: number,
  choices: readonly (T | undefined)[],
): Generator<Map<string, T>> {
  const ids = names(count);
  const total = choices.length ** count;
  for (let n = 0; n < total; n++) {
    const map = new Map<string, T>();
    let rest = n;
    for (const id of ids) {
      const choice = choices[rest % choices.length];
      rest = Math.floor(rest / choices.length);
      if (choice !== undefined) map.set(id, choice);
    }
    yield map;
  }
}

/** Every pair of voter sets drawn from five nodes, each of the first set's sizes once. */
function* jointConfigs(): Generator<QuorumConfig> {
  const ids = names(5);
  for (let incoming = 0; incoming <= 5; incoming++) {
    for (let mask = 0; mask < 32; mask++) {
      yield { incoming: ids.slice(0, incoming), outgoing: ids.filter((_, i) => mask & (1 << i)) };
    }
  }
}

test('committedIndex() agrees with the definition for every config of up to five', () => {
  const acks = [...assignments(5, [undefined, 1, 2, 3])];
  for (const config of jointConfigs()) {
    for (const acked of acks) {
      const want = Math.min(naiveIndex(config.incoming, acked), naiveIndex(config.outgoing, acked));
      if (committedIndex(config, acked) !== want) {
        assert.fail(JSON.stringify({ config, acked: [...acked], want }));
      }
    }
  }
});

test('voteResult() agrees with the definition for every config of up to five', () => {
  const rounds = [...assignments<boolean>(5, [undefined, true, false])];
  for (const config of jointConfigs()) {
    for (const votes of rounds) {
      const halves = [naiveVote(config.incoming, votes), naiveVote(config.outgoing, votes)];
      const want = halves.includes('lost')
        ? 'lost'
        : halves.includes('pending')
          ? 'pending'
          : 'won';
      if (voteResult(config, votes) !== want) {
        assert.fail(JSON.stringify({ config, votes: [...votes], want }));
      }
    }
  }
});

test('the empty config commits everything and wins every vote', () => {
  const config = { incoming: [], outgoing: [] };
  assert.equal(committedIndex(config, new Map()), Number.POSITIVE_INFINITY);
  assert.equal(voteResult(config, new Map()), 'won');
});

test('committedIndex() reads each voter once and leaves the map alone', () => {
  const acked = new Map([
    ['a', 9],
    ['b', 3],
    ['c', 5],
  ]);
  const before = [...acked];
  assert.equal(committedIndex({ incoming: ['a', 'b', 'c'], outgoing: [] }, acked), 5);
  assert.deepEqual([...acked], before);
});
