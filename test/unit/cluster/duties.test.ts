// How leadership becomes duties: renewals take the short way, everything else the whole sentence.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FrontendDuty, VipDuty } from '../../../src/cluster/assign.ts';
import { Duties } from '../../../src/cluster/duties.ts';
import type { ClusterNode } from '../../../src/cluster/node.ts';
import { type ClusterState, emptyState, type Member } from '../../../src/cluster/state.ts';
import type { ClusterView } from '../../../src/cluster/view.ts';
import type { Eligibility, LeaseView } from '../../../src/raft/types.ts';

const member: Member = {
  id: 'a',
  name: 'n1',
  address: '10.0.0.11:7443',
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
};

const state: ClusterState = {
  ...emptyState,
  spec: {
    timing: 'auto',
    vips: [{ address: '10.0.0.100', interface: null, onConflict: 'defend' }],
    frontends: [],
  },
  members: [member],
};

const lease: LeaseView = {
  role: 'leader',
  term: 3,
  leader: 'a',
  deadline: 1_400,
  claimNotBefore: 0,
  ownTermCommitted: true,
  released: false,
  wantsRelease: false,
};

function stage() {
  const did: string[] = [];
  const balanced: (readonly FrontendDuty[])[] = [];
  const told: Eligibility[] = [];
  let now = 1_000;
  let problem: string | null = null;
  let view: ClusterView = {
    selfId: 'a',
    role: 'leader',
    term: 3,
    leader: 'a',
    state,
    lease,
    quorum: true,
    appliedIndex: 5,
    ownTermApplied: true,
    removed: false,
    atMs: now,
  };
  let listener: () => void = () => undefined;
  const node = {
    view: () => view,
    onView: (callback: () => void) => {
      listener = callback;
      return () => undefined;
    },
    setEligibility: (eligibility: Eligibility) => void told.push(eligibility),
  } as unknown as ClusterNode;
  const duties = new Duties({
    clock: { now: () => now, wallNow: () => 0, after: () => ({ cancel: () => undefined }) },
    marginMs: 60,
    vip: {
      take: ({ hold, reason }: VipDuty) =>
        void did.push(hold === null ? `drop: ${reason}` : `hold ${hold.epoch} to ${hold.deadline}`),
      renew: (deadline) => void did.push(`renew to ${deadline}`),
    },
    balance: (frontends) => void balanced.push(frontends),
    problem: () => problem,
  });
  return {
    did,
    balanced,
    told,
    duties,
    node,
    at: (ms: number) => {
      now = ms;
    },
    break: (words: string) => {
      problem = words;
    },
    lease: (change: Partial<LeaseView>) => {
      const lease = { ...view.lease, ...change };
      view = { ...view, role: lease.role, leader: lease.leader, lease };
      duties.update(view.lease);
    },
    state: (next: ClusterState) => {
      view = { ...view, state: next };
      listener();
    },
  };
}

describe('Duties', () => {
  it('holds once, then renews with each round', () => {
    const { did, duties, node, lease } = stage();
    duties.attach(node);
    lease({ deadline: 1_450 });
    lease({ deadline: 1_500 });

    assert.deepEqual(did, ['hold 3 to 1400', 'renew to 1450', 'renew to 1500']);
  });

  it('drops before update() returns when the leadership is lost', () => {
    const { did, duties, node, lease } = stage();
    duties.attach(node);
    lease({ role: 'follower', leader: null, deadline: 0 });

    assert.deepEqual(did.slice(1), ['drop: no leader is known']);
  });

  it('drops when a transfer asks for the lease back', () => {
    const { did, duties, node, lease } = stage();
    duties.attach(node);
    lease({ wantsRelease: true });

    assert.deepEqual(did.slice(1), ['drop: the lease of term 3 was handed over']);
  });

  it('looks at the clock before it renews: a late turn drops instead', () => {
    const { did, duties, node, at, lease } = stage();
    duties.attach(node);
    at(1_391);
    lease({ deadline: 1_450 });

    assert.deepEqual(did.slice(1), ['drop: the lease has run out']);
  });

  it('says the whole duty again after a change of state', () => {
    const { did, balanced, duties, node, state: become, lease } = stage();
    duties.attach(node);
    become({ ...state, specRevision: 9 });
    lease({ deadline: 1_450 });

    assert.deepEqual(did, ['hold 3 to 1400', 'hold 3 to 1400', 'renew to 1450']);
    assert.equal(balanced.length, 2);
  });

  it('drops, and tells the leader, when the host cannot carry the VIP any more', () => {
    const { did, duties, told, node, break: fail } = stage();
    duties.attach(node);
    fail('interface eth0 is down');
    duties.hostChanged();

    assert.deepEqual(did.slice(1), ['drop: interface eth0 is down']);
    assert.deepEqual(told.at(-1), { eligible: false, reason: 'interface eth0 is down' });
  });
});
