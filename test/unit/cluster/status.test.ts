/** The status document: what it says, in which words, and what it admits not to know. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { bootstrapSnapshot } from '../../../src/cluster/bootstrap.ts';
import type { LocalFacts } from '../../../src/cluster/local-facts.ts';
import { Observations } from '../../../src/cluster/observations.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { emptyState, type Member } from '../../../src/cluster/state.ts';
import { decodeState } from '../../../src/cluster/state-codec.ts';
import { buildStatus, offlineStatus, type StatusFacts } from '../../../src/cluster/status.ts';
import { TimingChoice } from '../../../src/cluster/timing-choice.ts';
import { type Transition, Transitions } from '../../../src/cluster/transitions.ts';
import type { ClusterView } from '../../../src/cluster/view.ts';
import { emptyConfig } from '../../../src/raft/types.ts';
import { VirtualClock } from './cluster.ts';

const wallNowMs = Date.UTC(2026, 0, 1);
const founded = decodeState(
  bootstrapSnapshot({
    clusterId: 'c1',
    clusterName: 'prod',
    spec: defaultSpec({
      vips: [{ address: '10.0.0.100', interface: null }],
      vipPort: 6443,
      backendPort: 6443,
      frontends: [],
    }),
    founder: {
      id: 'n1',
      name: 'one',
      address: '10.0.0.11:7443',
      publicKeyHash: 'k1',
      version: '1.0.0',
      certExpires: '2027-01-01T00:00:00.000Z',
    },
    tokens: [],
  }).data,
);
const [one] = founded.members;
const member = (id: string, fields: Partial<Member> = {}): Member => ({
  ...(one as Member),
  id,
  name: id,
  ...fields,
});

const view: ClusterView = {
  selfId: 'n1',
  role: 'leader',
  term: 3,
  leader: 'n1',
  state: founded,
  lease: {
    role: 'leader',
    term: 3,
    leader: 'n1',
    deadline: 2000,
    claimNotBefore: 0,
    ownTermCommitted: true,
    released: false,
    wantsRelease: false,
  },
  quorum: true,
  appliedIndex: 5,
  ownTermApplied: true,
  removed: false,
  atMs: 1000,
};

const backend = {
  name: 'one',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  state: 'up',
  sinceWallMs: wallNowMs,
  reason: 'answers',
  connections: 4,
  totalConnections: 9,
} as const;

const local: LocalFacts = {
  name: 'one',
  version: '1.0.0',
  eligibility: { eligible: true, reason: '' },
  fences: ['ebpf', 'nft'],
  vips: [
    {
      address: '10.0.0.100',
      interface: 'eth0',
      interfaceFrom: 'subnet',
      heldHere: true,
      sinceWallMs: wallNowMs,
      reason: 'leads term 3',
      observed: null,
    },
  ],
  frontends: [
    {
      name: 'kube-apiserver',
      address: '10.0.0.100',
      port: 6443,
      dataPath: 'proxy',
      dataPathReason: 'chosen by auto',
      backends: [backend],
    },
  ],
  contacts: new Map(),
  alarms: [],
};

const facts: StatusFacts = {
  kind: 'local',
  view,
  raft: {
    id: 'n1',
    term: 3,
    vote: 'n1',
    role: 'leader',
    leader: 'n1',
    commit: 5,
    applied: 5,
    firstIndex: 2,
    lastIndex: 5,
    config: { ...emptyConfig, voters: ['n1'] },
    promiseRemainingMs: 0,
    leaseRemainingMs: 300,
    transferTarget: null,
    pendingConfChange: false,
    peers: [],
  },
  transitions: [],
  timing: new TimingChoice('auto').view(),
  observed: [],
  local,
  wallNowMs,
  ageMs: 11.6,
};

function withMembers(members: readonly Member[], more: Partial<StatusFacts> = {}): StatusFacts {
  return { ...facts, view: { ...view, state: { ...founded, members } }, ...more };
}

test('buildStatus() of a founder that serves', () => {
  const status = buildStatus(facts);

  assert.equal(status.verdict, 'healthy');
  assert.deepEqual(status.warnings, ['one voter survives no failure: join two more hosts']);
  assert.deepEqual(status.view, { kind: 'local', ageMs: 12 });
  assert.equal(status.cluster.leader, 'one');
  assert.equal(status.cluster.failuresLeft, 0);
  assert.equal(status.self.role, 'leader');
  assert.deepEqual(status.vips[0], {
    address: '10.0.0.100',
    interface: 'eth0',
    interfaceFrom: 'subnet',
    holder: 'one',
    heldHere: true,
    since: '2026-01-01T00:00:00.000Z',
    reason: 'leads term 3',
    observedBy: {},
  });
  assert.deepEqual(status.frontends[0]?.backends[0]?.since, '2026-01-01T00:00:00.000Z');
});

test('buildStatus() names the holder from afar, and nobody without a quorum', () => {
  const follower = { ...view, selfId: 'n2', role: 'follower' as const };
  const state = { ...founded, members: [...founded.members, member('n2')] };
  const away = { ...local, vips: [] };
  const with2 = { ...facts, local: away, view: { ...follower, state } };

  assert.equal(buildStatus(with2).vips[0]?.holder, 'one');
  assert.equal(buildStatus(with2).members[0]?.reachable, null);
  assert.equal(buildStatus(with2).cluster.failuresLeft, null);
  const lost = { ...with2, view: { ...with2.view, quorum: false } };
  assert.equal(buildStatus(lost).vips[0]?.holder, null);
  assert.equal(buildStatus(lost).verdict, 'down');
});

test('buildStatus() names the last resort and its risk, only without a quorum', () => {
  const members = [...founded.members, member('n2'), member('n3')];
  const state = { ...founded, members };
  const follower = { ...view, selfId: 'n2', role: 'follower' as const, quorum: false, state };
  const advice = (changes: Partial<ClusterView>) =>
    buildStatus({ ...facts, view: { ...follower, ...changes } }).warnings.find((warning) =>
      warning.includes('holdfast recover'),
    );

  assert.match(
    advice({}) ?? '',
    /--force-new-cluster --fenced one,n3 --yes.*two hosts may hold the VIP/,
  );
  assert.equal(advice({ quorum: true }), undefined);
  const witness = [...founded.members, member('n2', { role: 'witness', joinsAs: 'witness' })];
  assert.equal(advice({ state: { ...founded, members: witness } }), undefined);
});

const silent = {
  id: 'n2',
  match: 0,
  next: 1,
  state: 'probe',
  isLearner: false,
  recentlyActive: false,
  lastEchoMs: 5000.4,
  eligibility: null,
} as const;

const judgements: readonly {
  readonly name: string;
  readonly facts: StatusFacts;
  readonly verdict: string;
  readonly want: RegExp;
}[] = [
  {
    name: 'a member is not reachable',
    facts: withMembers([...founded.members, member('n2'), member('n3')], {
      raft: { ...facts.raft, peers: [silent, { ...silent, id: 'n3', recentlyActive: true }] },
    }),
    verdict: 'degraded',
    want: /^n2 \(.*\) is not reachable: start its agent, or `holdfast member remove n2`/,
  },
  {
    name: 'a learner waits for an odd number',
    facts: withMembers([...founded.members, member('n2', { role: 'learner' })]),
    verdict: 'healthy',
    want: /^n2 will vote once another host has joined.*witness/,
  },
  {
    name: 'two voters',
    facts: withMembers([...founded.members, member('n2')]),
    verdict: 'healthy',
    want: /^2 voters survive no more failures than 1/,
  },
  {
    name: 'a backend is down',
    facts: {
      ...facts,
      local: {
        ...local,
        frontends: local.frontends.map((each) => ({
          ...each,
          backends: [
            backend,
            { ...backend, name: 'two', state: 'down' as const, reason: 'refused' },
          ],
        })),
      },
    },
    verdict: 'degraded',
    want: /^backend two of kube-apiserver is down: refused$/,
  },
  {
    name: 'the certificate ends soon',
    facts: withMembers([member('n1', { certExpires: '2026-01-09T00:00:00.000Z' })]),
    verdict: 'healthy',
    want: /the certificate of n1 expires at 2026-01-09.*cert renew/,
  },
  {
    name: 'a leader does not hold its VIP',
    facts: {
      ...facts,
      local: { ...local, vips: local.vips.map((vip) => ({ ...vip, heldHere: false })) },
    },
    verdict: 'degraded',
    want: /^this node leads and does not hold 10.0.0.100: leads term 3$/,
  },
  {
    name: 'the node was removed',
    facts: { ...facts, view: { ...view, removed: true } },
    verdict: 'down',
    want: /^this node was removed/,
  },
  {
    name: 'the node has not heard the leader yet',
    facts: { ...facts, view: { ...view, selfId: 'n9' } },
    verdict: 'unknown',
    want: /waits for the leader/,
  },
];

for (const row of judgements) {
  test(`buildStatus() says it when ${row.name}`, () => {
    const { verdict, warnings } = buildStatus(row.facts);

    assert.equal(verdict, row.verdict);
    assert.ok(
      warnings.some((warning) => row.want.test(warning)),
      warnings.join('\n'),
    );
  });
}

test('offlineStatus() knows what was written and nothing more', () => {
  const status = offlineStatus({
    version: '1.0.0',
    self: { id: 'n1', name: 'one', clusterId: 'c1' },
    state: founded,
    term: 3,
    heldHere: [{ address: '10.0.0.100', interface: 'eth0' }],
    warnings: [],
  });

  assert.equal(status.view.kind, 'offline');
  assert.equal(status.verdict, 'unknown');
  assert.equal(status.cluster.quorum, null);
  assert.equal(status.vips[0]?.heldHere, true);
  assert.match(status.warnings.join('\n'), /systemctl start holdfast[\s\S]*holdfast cleanup/);
});

test('an election that went well is one transition; the newest are kept', async () => {
  const clock = new VirtualClock();
  const transitions = new Transitions(clock);
  const state = { ...emptyState, members: [member('n1'), member('n2')] };
  const saw = (leader: string | null) => transitions.saw({ ...view, state, leader });
  const story = (each: Transition) => `${each.from} → ${each.to}`;

  saw('n1');
  saw('n1');
  saw(null);
  await clock.advance(500);
  saw('n2');
  assert.deepEqual(transitions.list().map(story), ['n1 → n2', 'null → n1']);
  saw(null);
  saw('n2');
  assert.equal(transitions.list().length, 2);
  saw(null);
  await clock.advance(5000);
  saw('n1');
  assert.deepEqual(transitions.list().slice(0, 2).map(story), ['null → n1', 'n2 → null']);

  for (let i = 0; i < 100; i++) saw(i % 2 === 0 ? 'n2' : 'n1');
  assert.equal(transitions.list().length, 32);
});

describe('observedBy', () => {
  const members = [
    member('n1'),
    member('n2'),
    member('n3'),
    member('n4'),
    member('w', { role: 'witness', joinsAs: 'witness' }),
  ];
  const state = { ...founded, members };
  const observed = (nodeId: string, reason: string, atWallMs = wallNowMs + 5) => ({
    ...{ nodeId, address: '10.0.0.100', reached: reason === '', reason, atWallMs },
  });

  it('says of each other member whether it reaches the VIP, and in words why not', () => {
    const reports = [observed('n2', ''), observed('n3', 'no ARP answer')];
    const status = buildStatus({ ...facts, view: { ...view, state }, observed: reports });

    assert.deepEqual(status.vips[0]?.observedBy, { n2: true, n3: false, n4: null });
    assert.ok(status.warnings.includes('n3 does not reach 10.0.0.100: no ARP answer'));
    assert.equal(status.verdict, 'degraded');
  });

  it('leaves out what was seen before the claim', () => {
    const reports = [observed('n2', 'no ARP answer', wallNowMs - 1)];
    const status = buildStatus({ ...facts, view: { ...view, state }, observed: reports });

    assert.deepEqual(status.vips[0]?.observedBy, { n2: null, n3: null, n4: null });
    assert.doesNotMatch(status.warnings.join('\n'), /does not reach/);
  });

  it('as follower says what this host sees, and of the others nothing', () => {
    const [vip] = local.vips;
    assert.ok(vip !== undefined);
    const seen = { address: vip.address, reached: true, reason: '' };
    const status = buildStatus({
      ...facts,
      view: { ...view, state, role: 'follower', leader: 'n2' },
      local: { ...local, vips: [{ ...vip, heldHere: false, observed: seen }] },
      observed: [observed('n3', '')],
    });

    assert.deepEqual(status.vips[0]?.observedBy, { n1: true, n3: null, n4: null });
  });
});

test('Observations keep the newest report of each member about the present leader', () => {
  const observations = new Observations();
  const report = (nodeId: string, term: number, reached: boolean) => ({
    ...{ nodeId, term, ageMs: 100 },
    observations: [{ address: '10.0.0.100', reached, reason: 'x'.repeat(300) }],
  });
  observations.note(report('n2', 3, false), 3, 1_000);
  observations.note(report('n2', 3, true), 3, 2_000);
  observations.note(report('n3', 2, true), 3, 2_000);
  const list = observations.list(3, 2_000);

  assert.deepEqual(
    list.map(({ nodeId, reached, atWallMs, reason }) => [nodeId, reached, atWallMs, reason.length]),
    [['n2', true, 1_900, 200]],
  );
  assert.deepEqual(observations.list(3, 31_900), [], 'too old');
  assert.deepEqual(observations.list(4, 2_000), [], 'of a former leader');
  observations.note(report('n4', 4, true), 4, 3_000);
  assert.deepEqual(observations.list(3, 3_000), []);
});
