/** A new beginning with one voter: what goes on, who is out, and what must be said first. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { bootstrapSnapshot } from '../../../src/cluster/bootstrap.ts';
import type { Command } from '../../../src/cluster/command.ts';
import { checkFenced, type LogAtRest, newEpoch, survivorOf } from '../../../src/cluster/epoch.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { decodeState, encodeCommand } from '../../../src/cluster/state-codec.ts';
import { type Entry, emptyConfig } from '../../../src/raft/types.ts';

const nowWallMs = Date.UTC(2026, 0, 1);
const spec = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [],
});
const token = {
  id: 'aaaaaa',
  secretHash: 'f00',
  expiresWallMs: nowWallMs + 1000,
  usesLeft: null,
  description: '',
  revoked: false,
};
const snapshot = bootstrapSnapshot({
  clusterId: 'c1',
  clusterName: 'prod',
  spec,
  founder: {
    id: 'a',
    name: 'n1',
    address: '10.0.0.11:7443',
    publicKeyHash: 'key-a',
    version: '1.0.0',
    certExpires: '',
  },
  tokens: [token],
});

function join(id: string, name: string, joinsAs: 'voter' | 'witness' = 'voter'): Command {
  return {
    type: 'add-member',
    ...{ id, name, address: `${name}:7443`, joinsAs, publicKeyHash: `key-${id}` },
    ...{ version: '1', formatVersion: 2, certExpires: '', tokenId: 'aaaaaa', nowWallMs },
  };
}

/** The log that these commands make, all of one term. */
function log(commands: readonly Command[], commit: number): LogAtRest {
  const isChange = (type: Command['type']) => /^(add|promote|remove)-member/.test(type);
  const entries = commands.map(
    (command, at): Entry => ({
      index: at + 2,
      term: 3,
      type: isChange(command.type) ? 'conf-change' : 'normal',
      data: encodeCommand(command),
    }),
  );
  return { term: 7, commit, snapshot, entries };
}

const drained = {
  ...spec,
  frontends: spec.frontends.map((each) => ({
    ...each,
    backends: { ...each.backends, drainedMembers: ['n2', 'n3'] },
  })),
};
const history: readonly Command[] = [
  join('b', 'n2'),
  join('c', 'n3'),
  join('w', 'n4', 'witness'),
  { type: 'promote-members', ids: ['b', 'c'] },
  {
    type: 'update-member',
    ...{ id: 'b', address: 'n2:7443', version: '1', formatVersion: 2, certExpires: '' },
    macs: ['02:00:00:00:00:0b'],
  },
  { type: 'set-spec', spec: drained, expectedRevision: null },
  { type: 'set-member', id: 'c', priority: 3, address: null, draining: true },
];
const all = log(history, history.length + 1);

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof OperatingError, String(error));
    assert.ok(error.hint !== undefined);
    return error.code;
  }
  return 'accepted';
}

test('newEpoch() leaves the survivor alone, with the spec and the tokens, at a later term', () => {
  const { meta, data } = newEpoch(survivorOf(all, 'c'));

  assert.deepEqual(meta, { index: 9, term: 8, config: { ...emptyConfig, voters: ['c'] } });
  const state = decodeState(data);
  assert.deepEqual(
    state.members.map(({ id, name, role, draining, priority }) => [
      ...[id, name, role],
      ...[draining, priority],
    ]),
    [['c', 'n3', 'voter', false, 3]],
  );
  assert.deepEqual(state.removedIds, ['a', 'b', 'w']);
  assert.deepEqual(state.tokens, [token]);
  assert.equal(state.clusterId, 'c1');
  assert.equal(state.specRevision, 9);
  assert.deepEqual(state.spec.frontends[0]?.backends.drainedMembers, ['n3']);
});

test('a member that was not fenced after all is a stranger to the new epoch', () => {
  assert.deepEqual(decodeState(newEpoch(survivorOf(all, 'c')).data).removedMacs, []);
});

test('newEpoch() under another cluster id is another cluster with the same state', () => {
  const survivor = survivorOf(all, 'c');
  const fresh = { ...survivor, self: { ...survivor.self, id: 'z' } };

  const state = decodeState(newEpoch(fresh, 'c2').data);

  assert.equal(state.clusterId, 'c2');
  assert.deepEqual(state.removedIds, ['a', 'b', 'c', 'w']);
  assert.deepEqual(
    state.members.map(({ id }) => id),
    ['z'],
  );
});

test('survivorOf() counts also what it does not know to be committed', () => {
  const { state, at } = survivorOf(log(history, 5), 'b');

  assert.equal(state.members.find(({ id }) => id === 'c')?.priority, 3);
  assert.equal(at.index, 9);
});

test('survivorOf() does not take an unconfirmed removal of itself for one', () => {
  const removed = [...history, { type: 'remove-member', id: 'b' } as const];

  assert.equal(survivorOf(log(removed, 8), 'b').self.name, 'n2');
  assert.equal(
    refusal(() => survivorOf(log(removed, 9), 'b')),
    'removed-member',
  );
});

test('survivorOf() refuses whoever cannot carry a cluster on', () => {
  const empty = { term: 0, commit: 0, entries: [] };
  const admitted = { meta: { index: 0, term: 0, config: emptyConfig }, data: snapshot.data };

  assert.equal(
    refusal(() => survivorOf({ ...empty, snapshot: undefined }, 'b')),
    'nothing-known',
  );
  assert.equal(
    refusal(() => survivorOf({ ...empty, snapshot: admitted }, 'b')),
    'nothing-known',
  );
  assert.equal(
    refusal(() => survivorOf(all, 'w')),
    'witness',
  );
  assert.equal(
    refusal(() => survivorOf(all, 'nobody')),
    'removed-member',
  );
});

test('checkFenced() wants every other member named, and nobody else', () => {
  const { members } = survivorOf(all, 'c').state;
  const check = (...names: string[]) => refusal(() => checkFenced(members, 'n3', names));

  assert.equal(check('n1', 'n2', 'n4'), 'accepted');
  assert.equal(check('n4', 'n1', 'n2'), 'accepted');
  assert.equal(check('n1', 'n2'), 'not-all-fenced');
  assert.equal(check('n1', 'n2', 'n4', 'n9'), 'not-all-fenced');
  assert.equal(check('n1', 'n2', 'n3', 'n4'), 'not-all-fenced');
});
