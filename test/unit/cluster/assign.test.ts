/**
 * The sentence that joins Raft to the VIP and the balancer, row by row; and who is promoted when.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AssignSelf, assign, eligibilityOf, hostOf } from '../../../src/cluster/assign.ts';
import { bestSuccessor, learnersToPromote, quorumWithout } from '../../../src/cluster/promotion.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { emptyState, type Member } from '../../../src/cluster/state.ts';
import { leaseMs, timingOf, timingProblems } from '../../../src/cluster/timing.ts';
import type { ClusterView } from '../../../src/cluster/view.ts';
import type { PeerStatus, RaftStatus } from '../../../src/raft/rawnode.ts';
import { emptyConfig, type LeaseView } from '../../../src/raft/types.ts';

function member(id: string, fields: Partial<Member> = {}): Member {
  return {
    id,
    name: id,
    address: `10.0.0.1${id.slice(1)}:7443`,
    role: 'voter',
    joinsAs: 'voter',
    publicKeyHash: id,
    priority: 0,
    draining: false,
    version: '',
    formatVersion: 1,
    certExpires: '',
    macs: [],
    joinedIndex: Number(id.slice(1)),
    ...fields,
  };
}

const state = {
  ...emptyState,
  spec: defaultSpec({
    vips: [{ address: '10.0.0.100', interface: null }],
    vipPort: 6443,
    backendPort: 6444,
    frontends: [],
  }),
  members: [member('n1'), member('n2'), member('n3', { role: 'witness', joinsAs: 'witness' })],
};

const lease: LeaseView = {
  role: 'leader',
  term: 3,
  leader: 'n1',
  deadline: 1000,
  claimNotBefore: 0,
  ownTermCommitted: true,
  released: false,
  wantsRelease: false,
};

const leading: ClusterView = {
  selfId: 'n1',
  role: 'leader',
  term: 3,
  leader: 'n1',
  state,
  lease,
  quorum: true,
  appliedIndex: 7,
  ownTermApplied: true,
  removed: false,
  atMs: 500,
};

const self: AssignSelf = { marginMs: 60, problem: null };

function withLease(fields: Partial<LeaseView>): ClusterView {
  return { ...leading, lease: { ...lease, ...fields } };
}

function withSelf(fields: Partial<Member>): ClusterView {
  return { ...leading, state: { ...state, members: [member('n1', fields)] } };
}

test('assign() gives the VIP to the leader that has the lease', () => {
  const { vip } = assign(leading, self, 500);

  assert.deepEqual(vip.hold, { epoch: 3, deadline: 1000 });
  assert.deepEqual(vip.vips, [{ address: '10.0.0.100', interface: null, onConflict: 'defend' }]);
});

const withheld: readonly {
  readonly name: string;
  readonly view: ClusterView;
  readonly self?: AssignSelf;
  readonly now?: number;
  readonly want: string;
}[] = [
  {
    name: 'another leads',
    view: { ...leading, role: 'follower', leader: 'n2' },
    want: 'n2 leads',
  },
  {
    name: 'nobody leads',
    view: { ...leading, role: 'candidate', leader: null },
    want: 'no leader is known',
  },
  { name: 'the lease has run out', view: leading, now: 941, want: 'the lease has run out' },
  {
    name: 'no round was answered yet',
    view: withLease({ deadline: 0 }),
    want: 'waits for the quorum to answer the first heartbeat',
  },
  {
    name: 'its own term has no entry committed',
    view: withLease({ ownTermCommitted: false }),
    want: 'waits for the first entry of term 3 to be applied',
  },
  {
    name: 'its own term has no entry applied',
    view: { ...leading, ownTermApplied: false },
    want: 'waits for the first entry of term 3 to be applied',
  },
  {
    name: 'an older leader may still hold it',
    view: withLease({ claimNotBefore: 501 }),
    want: 'an older leader may still hold the VIP',
  },
  {
    name: 'the lease was released',
    view: withLease({ released: true, deadline: 0 }),
    want: 'the lease of term 3 was handed over',
  },
  {
    name: 'the lease is wanted back',
    view: withLease({ wantsRelease: true }),
    want: 'the lease of term 3 was handed over',
  },
  {
    name: 'the node is drained',
    view: withSelf({ draining: true }),
    want: 'this node is drained',
  },
  {
    name: 'the node is a witness',
    view: withSelf({ role: 'witness', joinsAs: 'witness' }),
    want: 'a witness votes and holds nothing',
  },
  {
    name: 'its interface is down',
    view: leading,
    self: { marginMs: 60, problem: 'eth0 is down' },
    want: 'eth0 is down',
  },
  {
    name: 'the node was removed',
    view: { ...leading, removed: true },
    want: 'this node was removed from the cluster',
  },
];

for (const row of withheld) {
  test(`assign() withholds the VIP when ${row.name}`, () => {
    const { vip } = assign(row.view, row.self ?? self, row.now ?? 500);

    assert.equal(vip.hold, null);
    assert.equal(vip.reason, row.want);
  });
}

test('assign() makes every member but witnesses a backend, drained where the spec says so', () => {
  const [frontend] = state.spec.frontends;
  assert.ok(frontend !== undefined);
  const fixed = { port: 1, weight: 2, draining: false, mode: 'direct' as const };
  const stranger = { ...fixed, address: 'fd00::9' };
  const member = { ...fixed, address: '10.0.0.12' };
  const backends = {
    members: { port: 6444 },
    drainedMembers: ['n2'],
    static: [stranger, member],
  };
  const spec = { ...state.spec, frontends: [{ ...frontend, backends }] };

  const { lb } = assign({ ...leading, state: { ...state, spec } }, self, 500);

  const mode = 'masquerade';
  assert.deepEqual(lb.frontends[0]?.backends, [
    { name: 'n1', address: '10.0.0.11', port: 6444, weight: 1, draining: false, mode },
    { name: 'n2', address: '10.0.0.12', port: 6444, weight: 1, draining: true, mode },
    { name: '[fd00::9]:1', ...stranger },
    // Untranslated, it would need the VIP as an address of its own.
    { name: '10.0.0.12:1', ...member, mode },
  ]);
});

test('assign() keeps followers warm and witnesses idle', () => {
  const follower = { ...leading, selfId: 'n2', role: 'follower' as const };

  assert.equal(assign(follower, self, 500).lb.frontends.length, 1);
  assert.equal(assign({ ...follower, selfId: 'n3' }, self, 500).lb.frontends.length, 0);
  assert.equal(assign({ ...follower, selfId: 'n9' }, self, 500).lb.frontends.length, 0);
});

test('eligibilityOf() does not depend on who leads', () => {
  const follower = { ...leading, role: 'follower' as const, leader: 'n2' };

  assert.equal(eligibilityOf(follower, self).eligible, true);
  assert.deepEqual(eligibilityOf(withSelf({ role: 'learner' }), self), {
    eligible: false,
    reason: 'a learner holds nothing until it is promoted',
  });
});

test('hostOf() reads both forms', () => {
  assert.equal(hostOf('10.0.0.1:7443'), '10.0.0.1');
  assert.equal(hostOf('[fd00::1]:7443'), 'fd00::1');
});

function peer(id: string, fields: Partial<PeerStatus> = {}): PeerStatus {
  return {
    id,
    match: 100,
    next: 101,
    state: 'replicate',
    isLearner: false,
    recentlyActive: true,
    lastEchoMs: 5,
    eligibility: { eligible: true, reason: '' },
    ...fields,
  };
}

function status(voters: readonly string[], peers: readonly PeerStatus[]): RaftStatus {
  return {
    id: 'n1',
    term: 3,
    vote: 'n1',
    role: 'leader',
    leader: 'n1',
    commit: 100,
    applied: 100,
    firstIndex: 1,
    lastIndex: 100,
    config: { ...emptyConfig, voters },
    promiseRemainingMs: 0,
    leaseRemainingMs: 300,
    transferTarget: null,
    pendingConfChange: false,
    peers,
  };
}

function learners(...ids: readonly string[]) {
  const all = ['n1', ...ids].map((id) => member(id, ids.includes(id) ? { role: 'learner' } : {}));
  return { ...state, members: all };
}

const promotions: readonly {
  readonly name: string;
  readonly voters: readonly string[];
  readonly peers: readonly PeerStatus[];
  readonly want: readonly string[];
}[] = [
  {
    name: 'waits with one learner beside one voter',
    voters: ['n1'],
    peers: [peer('n2', { isLearner: true })],
    want: [],
  },
  {
    name: 'promotes two at once, in the order of joining',
    voters: ['n1'],
    peers: [peer('n3', { isLearner: true }), peer('n2', { isLearner: true })],
    want: ['n2', 'n3'],
  },
  {
    name: 'makes an even number odd with one',
    voters: ['n1', 'n8'],
    peers: [peer('n2', { isLearner: true }), peer('n3', { isLearner: true }), peer('n8')],
    want: ['n2'],
  },
  {
    name: 'waits for a learner that lags',
    voters: ['n1'],
    peers: [peer('n2', { isLearner: true, match: 50 }), peer('n3', { isLearner: true })],
    want: [],
  },
  {
    name: 'waits for a learner that is silent',
    voters: ['n1'],
    peers: [
      peer('n2', { isLearner: true, recentlyActive: false }),
      peer('n3', { isLearner: true }),
    ],
    want: [],
  },
  {
    name: 'stops at five voters',
    voters: ['n1', 'n5', 'n6', 'n7', 'n8'],
    peers: [peer('n2', { isLearner: true }), peer('n3', { isLearner: true })],
    want: [],
  },
];

for (const { name, voters, peers, want } of promotions) {
  test(`learnersToPromote() ${name}`, () => {
    assert.deepEqual(learnersToPromote(status(voters, peers), learners('n2', 'n3')), want);
  });
}

test('learnersToPromote() waits while a membership change is pending', () => {
  const busy = {
    ...status(['n1'], [peer('n2', { isLearner: true }), peer('n3', { isLearner: true })]),
    pendingConfChange: true,
  };

  assert.deepEqual(learnersToPromote(busy, learners('n2', 'n3')), []);
});

test('bestSuccessor() prefers priority, then the fuller log, and takes only who may lead', () => {
  const members = [member('n1'), member('n2'), member('n3'), member('n4', { priority: 1 })];
  const all = { ...state, members };
  const voters = ['n1', 'n2', 'n3', 'n4'];
  const fuller = [peer('n2', { match: 90 }), peer('n3')];
  const unable = peer('n4', { eligibility: { eligible: false, reason: 'eth0 is down' } });

  assert.equal(bestSuccessor(status(voters, [...fuller, peer('n4', { match: 1 })]), all), 'n4');
  assert.equal(bestSuccessor(status(voters, [...fuller, unable]), all), 'n3');
  assert.equal(bestSuccessor(status(voters, [unable]), all), null);
});

test('quorumWithout() counts who is up, before and after shrinking', () => {
  const allUp = status(['n1', 'n2', 'n3'], [peer('n2'), peer('n3')]);
  const oneDown = status(['n1', 'n2', 'n3'], [peer('n2'), peer('n3', { recentlyActive: false })]);

  assert.equal(quorumWithout(allUp, 'n1', false), true);
  assert.equal(quorumWithout(oneDown, 'n2', false), false);
  assert.equal(quorumWithout(oneDown, 'n2', true), false);
  assert.equal(quorumWithout(oneDown, 'n3', true), true);
});

test('the built-in timing profiles are sound and carry the lease of LEASE', () => {
  const leases = (['lan', 'balanced', 'wan'] as const).map((profile) => {
    assert.deepEqual(timingProblems(timingOf(profile)), []);
    return leaseMs(timingOf(profile).promiseMs);
  });

  assert.deepEqual(leases, [225, 392, 588]);
  assert.deepEqual(timingOf('auto'), timingOf('balanced'));
});
