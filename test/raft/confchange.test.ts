/** Configuration changes as a table, and their invariants under random sequences. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  changed,
  checkInvariants,
  enterJoint,
  leaveJoint,
  restore,
  simple,
} from '../../src/raft/confchange.ts';
import { ConfChangeError } from '../../src/raft/errors.ts';
import { committedIndex, quorumConfig } from '../../src/raft/quorum.ts';
import type { MemberChange, MemberConfig } from '../../src/raft/types.ts';
import { emptyConfig } from '../../src/raft/types.ts';
import { draws } from './network.ts';

const kinds = { v: 'add-voter', l: 'add-learner', r: 'remove', u: 'update' } as const;

/** "va rb" adds voter a and removes b. */
function changes(text: string): MemberChange[] {
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const kind = word[0];
      assert.ok(kind === 'v' || kind === 'l' || kind === 'r' || kind === 'u');
      return { type: kinds[kind], id: word.slice(1) };
    });
}

/** "ab|bc l d n a auto": voters, outgoing voters, learners, learners to be, auto-leave. */
function show(config: MemberConfig): string {
  const parts = [config.voters.join('')];
  if (config.votersOutgoing.length > 0) parts[0] += `|${config.votersOutgoing.join('')}`;
  if (config.learners.length > 0) parts.push(`learners ${config.learners.join('')}`);
  if (config.learnersNext.length > 0) parts.push(`next ${config.learnersNext.join('')}`);
  if (config.autoLeave) parts.push('auto');
  return parts.join(' ');
}

function config(fields: Partial<MemberConfig>): MemberConfig {
  return { ...emptyConfig, ...fields };
}

function attempt(change: () => MemberConfig): string {
  try {
    return show(change());
  } catch (error) {
    assert.ok(error instanceof ConfChangeError, String(error));
    return `refused: ${error.code}`;
  }
}

const abc = config({ voters: ['a', 'b', 'c'] });
const abcd = config({ voters: ['a', 'b', 'c'], learners: ['d'] });

const simpleRows: readonly [MemberConfig, string, string][] = [
  [emptyConfig, 'va', 'a'],
  [emptyConfig, 'la', 'refused: no-voters'],
  [abc, 'vd', 'abcd'],
  [abc, 'ld', 'abc learners d'],
  [abc, 'lc', 'ab learners c'],
  [abc, 'rc', 'ab'],
  [abc, 'rz', 'abc'],
  [abc, 'uc', 'abc'],
  [abc, '', 'abc'],
  [abc, 'va', 'abc'],
  [abc, 'vd ve', 'refused: too-many-voters'],
  [abc, 'vd rc', 'refused: too-many-voters'],
  [abc, 'ra rb rc', 'refused: no-voters'],
  [abc, 'vd rd', 'abc'],
  [abc, 'ld le lf', 'abc learners def'],
  [abcd, 'vd', 'abcd'],
  [abcd, 'rd', 'abc'],
  [abcd, 'ld', 'abc learners d'],
  [abcd, 'vd le', 'abcd learners e'],
  [config({ voters: ['a'] }), 'ra', 'refused: no-voters'],
  [config({ voters: ['a'] }), 'la', 'refused: no-voters'],
  [config({ voters: ['a', 'b'] }), 'ra', 'b'],
  [abc, 'v', 'refused: empty-id'],
  [enterJoint(abc, true, changes('vd')), 've', 'refused: already-joint'],
];

test('simple() moves at most one voter, as in each row', () => {
  for (const [before, text, want] of simpleRows) {
    assert.equal(
      attempt(() => simple(before, changes(text))),
      want,
      `${show(before)} + ${text}`,
    );
  }
});

const jointRows: readonly [MemberConfig, string, string, string][] = [
  [abc, '', 'abc|abc auto', 'abc'],
  [abc, 'vd', 'abcd|abc auto', 'abcd'],
  [abc, 'vd rc', 'abd|abc auto', 'abd'],
  [abc, 'vd ve rb rc', 'ade|abc auto', 'ade'],
  [abc, 'ra rb vd ve', 'cde|abc auto', 'cde'],
  [abc, 'lc', 'ab|abc next c auto', 'ab learners c'],
  [abc, 'lc vc', 'abc|abc auto', 'abc'],
  [abc, 'lc rc', 'ab|abc auto', 'ab'],
  [abc, 'rc lc', 'ab|abc next c auto', 'ab learners c'],
  [abc, 'ld', 'abc|abc learners d auto', 'abc learners d'],
  [abcd, 'vd rc', 'abd|abc auto', 'abd'],
  [abcd, 'rd', 'abc|abc auto', 'abc'],
  [abcd, 'vd lc', 'abd|abc next c auto', 'abd learners c'],
  [abc, 'ra rb rc', 'refused: no-voters', ''],
  [abc, 'ra rb rc vd', 'd|abc auto', 'd'],
  [emptyConfig, 'va', 'refused: no-voters', ''],
  [enterJoint(abc, false, []), 'vd', 'refused: already-joint', ''],
];

test('enterJoint() keeps the old voters in force, leaveJoint() lets them go', () => {
  for (const [before, text, joint, left] of jointRows) {
    const name = `${show(before)} + ${text}`;
    assert.equal(
      attempt(() => enterJoint(before, true, changes(text))),
      joint,
      name,
    );
    if (left === '') continue;
    assert.equal(show(leaveJoint(enterJoint(before, true, changes(text)))), left, name);
  }
});

test('leaveJoint() refuses a config that is not joint', () => {
  assert.equal(
    attempt(() => leaveJoint(abc)),
    'refused: not-joint',
  );
});

test('a refused change leaves the config as it was', () => {
  const before = structuredClone(abcd);
  assert.throws(() => simple(abcd, changes('ra rb')), ConfChangeError);
  assert.throws(() => enterJoint(abcd, true, changes('ra rb rc')), ConfChangeError);
  assert.deepEqual(abcd, before);
});

test('changed() does what the mode of the change says', () => {
  assert.equal(show(changed(abc, { mode: 'simple', changes: changes('rc') })), 'ab');
  const joint = changed(abc, { mode: 'joint', changes: changes('rc vd') });
  assert.equal(show(joint), 'abd|abc auto');
  assert.equal(show(changed(joint, { mode: 'leave', changes: [] })), 'abd');
});

const contradictions: readonly Partial<MemberConfig>[] = [
  { voters: ['a'], learners: ['a'] },
  { voters: ['a'], votersOutgoing: ['b'], learners: ['b'] },
  { voters: ['a'], learnersNext: ['b'] },
  { voters: ['a'], votersOutgoing: ['a', 'b'], learnersNext: ['c'] },
  { voters: ['a'], votersOutgoing: ['a'], learnersNext: ['a'] },
  { voters: ['a'], autoLeave: true },
];

test('a config that contradicts itself is refused', () => {
  for (const fields of contradictions) {
    assert.equal(
      attempt(() => restore(config(fields))),
      'refused: inconsistent',
    );
  }
});

test('restore() puts a config in canonical order', () => {
  const got = restore(config({ voters: ['c', 'a'], learners: ['z', 'y'] }));
  assert.deepEqual(
    [got.voters, got.learners],
    [
      ['a', 'c'],
      ['y', 'z'],
    ],
  );
});

/**
 * Whether every majority of `one` meets every majority of `other`, by trying each set of members.
 */
function overlap(one: MemberConfig, other: MemberConfig): boolean {
  const ids = [...'abcdef'];
  const reaches = (config: MemberConfig, mask: number): boolean =>
    committedIndex(quorumConfig(config), new Map(ids.map((id, i) => [id, (mask >> i) & 1]))) >= 1;
  for (let mask = 0; mask < 1 << ids.length; mask++) {
    if (reaches(one, mask) && reaches(other, ~mask)) return false;
  }
  return true;
}

test('no accepted change leads to a config whose quorum misses that of the one before', () => {
  const rng = draws(11);
  const int = (n: number): number => Math.floor(rng() * n);
  let current = abc;
  let accepted = 0;
  for (let i = 0; i < 3_000; i++) {
    const words = Array.from({ length: 1 + int(3) }, () => `${'vlr'[int(3)]}${'abcdef'[int(6)]}`);
    const mode = (['simple', 'joint', 'leave'] as const)[int(3)] ?? 'leave';
    let next: MemberConfig;
    try {
      next = changed(current, { mode, changes: mode === 'leave' ? [] : changes(words.join(' ')) });
    } catch (error) {
      assert.ok(error instanceof ConfChangeError);
      continue;
    }
    accepted += 1;
    checkInvariants(next);
    assert.ok(overlap(current, next), `${show(current)} then ${show(next)}`);
    current = next;
  }
  assert.ok(accepted > 500);
});
