/** A preferred host gets the leadership back when it is well, and not again and again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Preference } from '../../../src/cluster/preference.ts';
import { emptyState, type Member } from '../../../src/cluster/state.ts';
import type { PeerStatus, RaftStatus } from '../../../src/raft/rawnode.ts';
import { emptyConfig } from '../../../src/raft/types.ts';
import { TestCluster } from './cluster.ts';

const holdDown = { holdMs: 1_000, maxHoldMs: 8_000 };

const peer: PeerStatus = {
  id: 'b',
  match: 9,
  next: 10,
  state: 'replicate',
  isLearner: false,
  recentlyActive: true,
  lastEchoMs: 5,
  eligibility: { eligible: true, reason: '' },
};

/** As the leader `a` sees its peers. */
function status(peers: readonly PeerStatus[], fields: Partial<RaftStatus> = {}): RaftStatus {
  return {
    id: 'a',
    term: 2,
    vote: 'a',
    role: 'leader',
    leader: 'a',
    commit: 9,
    applied: 9,
    firstIndex: 1,
    lastIndex: 9,
    config: { ...emptyConfig, voters: ['a', 'b', 'c'] },
    promiseRemainingMs: 0,
    leaseRemainingMs: 100,
    transferTarget: null,
    pendingConfChange: false,
    peers,
    ...fields,
  };
}

function member(id: string, fields: Partial<Member> = {}): Member {
  return {
    id,
    name: id,
    address: `${id}:7443`,
    role: 'voter',
    joinsAs: 'voter',
    publicKeyHash: '',
    priority: 0,
    draining: false,
    version: '',
    formatVersion: 1,
    certExpires: '',
    macs: [],
    joinedIndex: 1,
    ...fields,
  };
}

const preferred = {
  ...emptyState,
  members: [member('a'), member('b', { priority: 5 }), member('c', { priority: 3 })],
};

test('a preferred host leads again once it was able to for the hold-down', () => {
  const preference = new Preference(holdDown);
  assert.equal(preference.successor(status([peer]), preferred, 0), null);
  assert.equal(preference.successor(status([peer]), preferred, 999), null);
  assert.equal(preference.successor(status([peer]), preferred, 1_000), 'b');
});

test('of several preferred hosts that are ready the most preferred leads', () => {
  const preference = new Preference(holdDown);
  const both = status([{ ...peer, id: 'c' }, peer]);
  preference.successor(both, preferred, 0);
  assert.equal(preference.successor(both, preferred, 1_000), 'b');
  const equal = { ...preferred, members: preferred.members.map((it) => ({ ...it, priority: 3 })) };
  assert.equal(preference.successor(both, equal, 5_000), null);
});

test('whatever makes a host unable to lead starts its hold-down anew', () => {
  const unable: readonly (readonly [string, RaftStatus, typeof preferred])[] = [
    ['silent', status([{ ...peer, recentlyActive: false }]), preferred],
    ['behind', status([{ ...peer, match: 9 }], { lastIndex: 99 }), preferred],
    ['probed', status([{ ...peer, state: 'probe' }]), preferred],
    ['gone', status([]), preferred],
    [
      'link down',
      status([{ ...peer, eligibility: { eligible: false, reason: 'eth0' } }]),
      preferred,
    ],
    [
      'drained',
      status([peer]),
      { ...preferred, members: [member('a'), member('b', { priority: 5, draining: true })] },
    ],
    ['another leadership', status([peer], { term: 3 }), preferred],
  ];
  for (const [why, bad, state] of unable) {
    const preference = new Preference(holdDown);
    const term = bad.term;
    preference.successor(status([peer]), preferred, 0);
    preference.successor(bad, state, 900);
    const at = (now: number) => preference.successor(status([peer], { term }), preferred, now);
    assert.deepEqual([at(950), at(1_899), at(1_950)], [null, null, 'b'], why);
  }
});

test('nobody is handed anything while a membership change or a transfer is under way', () => {
  const preference = new Preference(holdDown);
  preference.successor(status([peer]), preferred, 0);
  const changing = status([peer], { pendingConfChange: true });
  assert.equal(preference.successor(changing, preferred, 1_000), null);
  const moving = status([peer], { transferTarget: 'c' });
  assert.equal(preference.successor(moving, preferred, 1_000), null);
  assert.equal(preference.successor(status([peer]), preferred, 1_000), 'b');
  preference.refused('b');
  assert.equal(preference.successor(status([peer]), preferred, 1_001), null);
});

test('each short tenure doubles the hold-down, up to its limit; a long one forgives them all', () => {
  const preference = new Preference(holdDown);
  let now = 0;
  const tenure = (lastsMs: number): void => {
    preference.saw('b', ++term, now);
    now += lastsMs;
    preference.saw(null, term, now);
    preference.saw('a', ++term, now + 500);
  };
  let term = 1;
  const holds: number[] = [];
  for (const lastsMs of [10_000, 19_999, 1, 1, 20_000, 1]) {
    tenure(lastsMs);
    holds.push(preference.holdMs('b'));
  }
  assert.deepEqual(holds, [2_000, 4_000, 8_000, 8_000, 1_000, 2_000]);
  assert.equal(preference.holdMs('c'), 1_000);
});

test('a leader that is not heard for a moment goes on with the same tenure', () => {
  const preference = new Preference(holdDown);
  preference.saw('b', 2, 0);
  preference.saw(null, 2, 10_000);
  preference.saw('b', 2, 10_100);
  preference.saw(null, 2, 20_000);
  preference.saw('a', 3, 20_500);
  assert.equal(preference.holdMs('b'), 1_000);
});

test('a preferred host that restarts in a loop takes the VIP back once and no more', async () => {
  const cluster = new TestCluster(1, { holdMs: 3_000, maxHoldMs: 60_000 });
  await cluster.grown();
  const preferIt = { type: 'set-member', id: 'n1', priority: 5 } as const;
  await cluster.propose({ ...preferIt, address: null, draining: null });
  await cluster.clock.advance(60_000);

  const tenures = ['n1'];
  cluster.node('n2').onView(({ leader }) => {
    if (leader !== null && leader !== tenures.at(-1)) tenures.push(leader);
  });
  for (let round = 0; round < 12; round++) {
    cluster.kill('n1');
    await cluster.clock.advance(1_000);
    cluster.restart('n1');
    await cluster.clock.advance(5_000);
  }

  assert.equal(tenures.filter((id) => id === 'n1').length, 1 + 1, tenures.join(' '));
  await cluster.clock.advance(30_000);
  assert.equal(cluster.leader()?.id, 'n1', 'left in peace, it leads again');
});
