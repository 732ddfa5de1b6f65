/**
 * Why this host holds the VIP or does not, as `status` says it: in each state in which a node can
 * be, through the assignment, the VIP's controller and the document itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localFacts } from '../../../src/agent/facts.ts';
import { placeVips } from '../../../src/agent/placement.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { assign, eligibilityOf } from '../../../src/cluster/assign.ts';
import { withTrouble } from '../../../src/cluster/disk-trouble.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { type ClusterState, emptyState, type Member } from '../../../src/cluster/state.ts';
import { buildStatus } from '../../../src/cluster/status.ts';
import type { StatusDocument } from '../../../src/cluster/status-document.ts';
import { TimingChoice } from '../../../src/cluster/timing-choice.ts';
import type { ClusterView } from '../../../src/cluster/view.ts';
import type { RaftStatus } from '../../../src/raft/rawnode.ts';
import { emptyConfig, type LeaseView } from '../../../src/raft/types.ts';
import { Conflicts } from '../../../src/vip/conflicts.ts';
import { VipController } from '../../../src/vip/controller.ts';
import { Rivals } from '../../../src/vip/rivals.ts';
import { FakeClock, FakeKernel } from '../../conformance/fakes.ts';

const address = '10.0.0.100';
const strangerMac = '02:aa:00:00:00:01';
const rivalMac = '02:00:00:00:00:02';
const marginMs = 60;

function member(name: string, fields: Partial<Member> = {}): Member {
  return {
    ...{ id: name, name, address: '10.0.0.11:7443', role: 'voter', joinsAs: 'voter' },
    ...{ publicKeyHash: name, priority: 0, draining: false, version: '', formatVersion: 1 },
    ...{ certExpires: '', macs: [], joinedIndex: 1 },
    ...fields,
  };
}

function stateWith(self: Partial<Member>, onConflict: 'defend' | 'yield' = 'defend'): ClusterState {
  const vips = [{ address, interface: null }];
  const spec = defaultSpec({ vips, vipPort: 6443, backendPort: 6443, frontends: [] });
  return {
    ...emptyState,
    spec: { ...spec, vips: spec.vips.map((vip) => ({ ...vip, onConflict })) },
    members: [member('n1', self), member('n2', { macs: [rivalMac] }), member('n3')],
  };
}

interface Case {
  readonly state: string;
  /** Leads term 3 with a lease until 400 ms, unless told otherwise. */
  readonly role?: 'leader' | 'follower';
  readonly leader?: string | null;
  readonly lease?: Partial<LeaseView>;
  readonly view?: Partial<ClusterView>;
  readonly self?: Partial<Member>;
  readonly onConflict?: 'yield';
  /** Done to the host before anything is decided. */
  readonly host?: (kernel: FakeKernel) => void;
  readonly claimedBy?: string;
  readonly stranger?: boolean;
  readonly diskTrouble?: string;
  /** Done once the VIP was held, before the next look. */
  readonly afterwards?: (on: { kernel: FakeKernel; clock: FakeClock }) => void;
  readonly held?: true;
  readonly vip: RegExp;
  readonly selfReason?: RegExp;
  readonly warns?: RegExp;
}

const mayHold = /^may hold the VIP$/;

const cases: readonly Case[] = [
  { state: 'leads with the lease', held: true, vip: /^leads term 3 with the lease of the quorum$/ },
  { state: 'follows', role: 'follower', leader: 'n2', vip: /^n2 leads$/ },
  { state: 'knows no leader', role: 'follower', leader: null, vip: /^no leader is known$/ },
  {
    state: 'is a learner',
    ...{ role: 'follower', leader: 'n2', self: { role: 'learner' } },
    vip: /^n2 leads; a learner holds nothing until it is promoted$/,
    selfReason: /^a learner holds nothing until it is promoted$/,
  },
  {
    state: 'is a witness',
    ...{ role: 'follower', leader: 'n2', self: { role: 'witness', joinsAs: 'witness' } },
    vip: /^n2 leads; a witness votes and holds nothing$/,
    selfReason: /^a witness votes and holds nothing$/,
  },
  {
    state: 'is drained',
    ...{ role: 'follower', leader: 'n2', self: { draining: true } },
    vip: /^n2 leads; this node is drained$/,
    selfReason: /^this node is drained$/,
  },
  {
    state: 'leads for a moment although it is drained',
    self: { draining: true },
    vip: /^this node is drained$/,
    selfReason: /^this node is drained$/,
    warns: /this node leads and does not hold 10.0.0.100: this node is drained/,
  },
  {
    state: 'follows, and its link is down',
    ...{ role: 'follower', leader: 'n2', host: (kernel) => kernel.plug('eth0', { up: false }) },
    vip: /^n2 leads; interface eth0 is down or has no carrier$/,
    selfReason: /^interface eth0 is down or has no carrier$/,
  },
  {
    state: 'leads, and its link is down',
    host: (kernel) => kernel.plug('eth0', { up: false }),
    vip: /^interface eth0 is down or has no carrier$/,
    selfReason: /^interface eth0 is down or has no carrier$/,
    warns: /does not hold 10.0.0.100: interface eth0 is down or has no carrier/,
  },
  {
    state: 'has no interface for it',
    host: (kernel) => kernel.unplug('eth0'),
    vip: /^no interface has a subnet with 10.0.0.100 in it, and none was named$/,
    selfReason: /no interface has a subnet with 10.0.0.100/,
  },
  {
    state: 'has heard another member claim it',
    claimedBy: rivalMac,
    vip: /^n2 \(02:00:00:00:00:02\) claims 10.0.0.100 as well$/,
    selfReason: /^n2 \(02:00:00:00:00:02\) claims 10.0.0.100 as well$/,
    warns: /n2 \(02:00:00:00:00:02\) has claimed 10.0.0.100 while this node held it: see its log/,
  },
  {
    state: 'defends it against a stranger',
    claimedBy: strangerMac,
    held: true,
    vip: /^leads term 3/,
    warns: /10.0.0.100 was claimed by 02:aa:00:00:00:01, which is no member, and defended/,
  },
  {
    state: 'has yielded it to a stranger',
    ...{ claimedBy: strangerMac, onConflict: 'yield' },
    vip: /^it was yielded to 02:aa:00:00:00:01, which is no member$/,
    warns: /which is no member, and yielded/,
  },
  {
    state: 'has found a stranger who answers for it',
    stranger: true,
    vip: /^a stranger, 02:aa:00:00:00:01, answers for 10.0.0.100$/,
    selfReason: /^a stranger, 02:aa:00:00:00:01, answers for 10.0.0.100$/,
    warns: /is also answered for by 02:aa:00:00:00:01, which is no member/,
  },
  {
    state: 'waits for R4',
    lease: { claimNotBefore: 500 },
    vip: /^an older leader may still hold the VIP$/,
  },
  {
    state: 'waits for R5',
    view: { ownTermApplied: false },
    vip: /^waits for the first entry of term 3 to be applied$/,
  },
  {
    state: 'waits for R6',
    lease: { deadline: 0 },
    vip: /^waits for the quorum to answer the first heartbeat$/,
  },
  {
    state: 'has a lease that has run out',
    lease: { deadline: marginMs },
    vip: /^the lease has run out$/,
  },
  {
    state: 'has handed it over',
    lease: { released: true },
    vip: /^the lease of term 3 was handed over$/,
  },
  {
    state: 'has a full disk and nobody to hand it to',
    diskTrouble: 'there is no space left on the disk of its log',
    held: true,
    vip: /^leads term 3/,
    selfReason: /^it cannot write its log: there is no space left on the disk of its log$/,
  },
  {
    state: 'follows with a full disk',
    ...{ role: 'follower', leader: 'n2', diskTrouble: 'its disk has not finished a write' },
    vip: /^n2 leads$/,
    selfReason: /^it cannot write its log: its disk has not finished a write$/,
  },
  {
    state: 'has lost its fences twice',
    afterwards: ({ kernel, clock }) => {
      kernel.removeFence();
      kernel.plug('eth0');
      clock.advance(10);
      kernel.removeFence();
      kernel.plug('eth0');
    },
    vip: /^others took the fence away, and nothing is held without one$/,
  },
  {
    state: 'cannot have a fence',
    host: (kernel) => {
      kernel.before.set('guard', () => {
        throw new Error('the kernel refuses it');
      });
    },
    vip: /^fence: the kernel refuses it$/,
  },
  {
    state: 'cannot add the address',
    host: (kernel) => {
      kernel.before.set('add', () => {
        throw new Error('Operation not permitted');
      });
    },
    vip: /^Operation not permitted$/,
  },
  {
    state: 'slept past its lease',
    afterwards: ({ kernel, clock }) => {
      clock.pause(500);
      kernel.plug('eth0');
    },
    vip: /^the lease has run out$/,
  },
  {
    state: 'was removed from the cluster',
    ...{ role: 'follower', leader: null, view: { removed: true } },
    vip: /^this node was removed from the cluster$/,
    selfReason: /./,
  },
];

for (const row of cases) {
  test(`status says why: it ${row.state}`, async () => {
    const status = await statusOf(row);
    const [vip] = status.vips;

    assert.match(vip?.reason ?? '', row.vip);
    assert.equal(vip?.heldHere, row.held ?? false);
    assert.match(status.self.reason, row.selfReason ?? mayHold);
    if (row.selfReason === undefined) assert.equal(status.self.eligible, true);
    if (row.warns !== undefined) assert.match(status.warnings.join('\n'), row.warns);
  });
}

function viewOf(row: Case): ClusterView {
  const role = row.role ?? 'leader';
  const leader = row.leader === undefined ? 'n1' : row.leader;
  const lease: LeaseView = {
    ...{ role, term: 3, leader, deadline: role === 'leader' ? 400 : 0, claimNotBefore: 0 },
    ...{ ownTermCommitted: true, released: false, wantsRelease: false },
    ...row.lease,
  };
  const state = stateWith(row.self ?? {}, row.onConflict);
  const ownTermApplied = role === 'leader';
  return {
    ...{ selfId: 'n1', role, term: 3, leader, state, lease, quorum: leader !== null },
    ...{ appliedIndex: 7, ownTermApplied, removed: false, atMs: 0 },
    ...row.view,
  };
}

/** Plays the agent: places, decides, holds, and tells. */
async function statusOf(row: Case): Promise<StatusDocument> {
  const clock = new FakeClock();
  const kernel = new FakeKernel(clock);
  kernel.plug('eth0', { addresses: [{ address: '10.0.0.1', prefixLength: 24 }] });
  row.host?.(kernel);
  if (row.stranger === true) kernel.probe = () => Promise.resolve([strangerMac]);
  const view = viewOf(row);
  const parts = { clock, fence: kernel, link: kernel, log: silentLogger };
  const vip = new VipController({ ...parts, table: kernel, marginMs });
  vip.start();
  const { rivals, conflicts } = claimants(row, { clock, kernel, vip, onChange: () => decide() });
  const places = () =>
    placeVips(view.state.spec.vips, kernel.links(), { interface: null, interfaces: {} });
  const placed = () =>
    places().map((each) => ({
      ...each,
      problem: conflicts.yielded(each.address) ?? each.problem,
    }));
  const problem = (): string | null =>
    places()[0]?.problem ?? rivals.problem() ?? conflicts.problem();
  function decide(): void {
    const duty = assign(view, { marginMs, problem: problem() }, clock.now()).vip;
    const vips = placed().flatMap(({ address: each, interface: link }) =>
      link === null || conflicts.yielded(each) !== null ? [] : [{ address: each, interface: link }],
    );
    vip.set({ ...duty, vips });
  }
  if (row.stranger === true) void rivals.look([{ address, interface: 'eth0' }]);
  await Promise.resolve();
  decide();
  if (row.claimedBy !== undefined) conflicts.heard({ address, mac: row.claimedBy });
  row.afterwards?.({ kernel, clock });
  rivals.stop();
  conflicts.stop();
  const own = eligibilityOf(view, { marginMs, problem: problem() });
  const local = localFacts({
    ...{ version: '1.0.0', name: 'n1', vip, placed, peers: () => [], observed: () => null },
    lb: { view: () => [] },
    fence: { standing: () => ['ebpf', 'nft'] },
    eligibility: () => (row.diskTrouble === undefined ? own : withTrouble(row.diskTrouble)),
    alarms: () => [...rivals.alarms(), ...conflicts.alarms()],
  });
  return buildStatus({
    ...{ kind: 'local', view, raft, transitions: [], observed: [], wallNowMs: 0, ageMs: 0, local },
    timing: new TimingChoice('auto').view(),
  });
}

const raft: RaftStatus = {
  ...{ id: 'n1', term: 3, vote: 'n1', commit: 7, applied: 7, firstIndex: 1, lastIndex: 7 },
  ...{ promiseRemainingMs: 0, leaseRemainingMs: 400, transferTarget: null },
  ...{ pendingConfChange: false, peers: [] },
  role: 'leader',
  leader: 'n1',
  config: { ...emptyConfig, voters: ['n1', 'n2', 'n3'] },
};

interface Wiring {
  readonly clock: FakeClock;
  readonly kernel: FakeKernel;
  readonly vip: VipController;
  readonly onChange: () => void;
}

function claimants(row: Case, { clock, kernel, vip, onChange }: Wiring) {
  const holds = (each: string): boolean => vip.holds(each);
  const shared = { clock, log: silentLogger, holds, term: () => 3, onChange };
  const rivals = new Rivals({ ...shared, link: kernel, known: () => new Set([rivalMac]) });
  const conflicts = new Conflicts({
    ...shared,
    isOwn: () => false,
    memberOf: (mac) => (mac === rivalMac ? 'n2' : null),
    policyOf: () => row.onConflict ?? 'defend',
    asking: () => false,
    defend: (each) => vip.defend(each),
    probe: () => Promise.resolve(),
  });
  return { rivals, conflicts };
}
