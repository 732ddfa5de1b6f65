/** Commands, their codec, and the log applied to state: total, deterministic, refusing in words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClusterState as ClusterStateRecord } from '../../../proto/gen/state.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import { apply } from '../../../src/cluster/apply.ts';
import { bootstrapSnapshot } from '../../../src/cluster/bootstrap.ts';
import { type Command, commandFormat, confChangeOf } from '../../../src/cluster/command.ts';
import { Compaction } from '../../../src/cluster/compaction.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { parseSpecDocument } from '../../../src/cluster/spec-schema.ts';
import { type ClusterState, clusterFormatVersion, maxMembers } from '../../../src/cluster/state.ts';
import {
  decodeCommand,
  decodeState,
  encodeCommand,
  encodeState,
} from '../../../src/cluster/state-codec.ts';
import { replay, StateMachine } from '../../../src/cluster/state-machine.ts';
import { emptyConfig } from '../../../src/raft/types.ts';

const nowWallMs = Date.UTC(2026, 0, 1);
const token = {
  id: 'aaaaaa',
  secretHash: 'f00',
  expiresWallMs: nowWallMs + 1000,
  usesLeft: 1,
  description: 'for n2',
  revoked: false,
};
const spec = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [],
});
const snapshot = bootstrapSnapshot({
  clusterId: 'c1',
  clusterName: 'prod',
  spec,
  founder: {
    id: 'n1',
    name: 'one',
    address: '10.0.0.11:7443',
    publicKeyHash: 'key1',
    version: '1.0.0',
    certExpires: '2027-01-01T00:00:00.000Z',
  },
  tokens: [token],
});
const founded = decodeState(snapshot.data);

const joiner = {
  type: 'add-member',
  id: 'n2',
  name: 'two',
  address: '10.0.0.12:7443',
  joinsAs: 'voter',
  publicKeyHash: 'key2',
  version: '1.0.0',
  formatVersion: 1,
  certExpires: '',
  tokenId: 'aaaaaa',
  nowWallMs,
} as const satisfies Command;

const setting = {
  type: 'set-member',
  id: 'n2',
  priority: null,
  address: null,
  draining: null,
} as const satisfies Command;

function changed(state: ClusterState, command: Command, index = 10): ClusterState {
  const { state: next, result } = apply(state, command, index);
  assert.equal(result.ok, true, JSON.stringify(result));
  return next;
}

function refusal(state: ClusterState, command: Command): string {
  const { state: next, result } = apply(state, command, 10);
  assert.equal(next, state);
  return result.ok ? 'accepted' : result.code;
}

const withTwo = changed(founded, joiner);

const commands: readonly Command[] = [
  { type: 'noop' },
  { type: 'set-spec', spec, expectedRevision: null },
  { type: 'set-spec', spec, expectedRevision: 0 },
  joiner,
  { ...joiner, joinsAs: 'witness' },
  { ...joiner, replaces: 'n9' },
  { type: 'promote-members', ids: ['n2', 'n3'] },
  { type: 'set-member', id: 'n2', priority: -3, address: null, draining: false },
  { type: 'set-member', id: 'n2', priority: null, address: '10.0.0.9:1', draining: true },
  { type: 'remove-member', id: 'n2' },
  {
    type: 'update-member',
    id: 'n2',
    address: '10.0.0.13:7443',
    version: '2',
    formatVersion: 2,
    certExpires: 'x',
    macs: ['02:00:00:00:00:01'],
  },
  { type: 'add-token', token, nowWallMs },
  { type: 'add-token', token: { ...token, usesLeft: null }, nowWallMs },
  { type: 'add-token', token: { ...token, usesLeft: 0, revoked: true }, nowWallMs },
  { type: 'revoke-token', id: 'aaaaaa' },
];

for (const command of commands) {
  test(`${command.type} survives the way to bytes and back`, () => {
    assert.deepEqual(decodeCommand(encodeCommand(command)), command);
  });
}

test('a state survives the way to bytes and back', () => {
  const state = changed(changed(withTwo, { type: 'promote-members', ids: ['n2'] }), {
    type: 'remove-member',
    id: 'n1',
  });

  assert.deepEqual(decodeState(encodeState(state)), state);
});

test('decodeCommand() answers any bytes with a command or one operating error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeCommand(bytes);
      } catch (error) {
        assert.ok(error instanceof OperatingError, String(error));
        assert.match(error.code, /^(entry-unknown|data-newer)$/);
      }
    }),
    { numRuns: 2000 },
  );
});

test('apply() answers any sequence of commands, and the same with the same', () => {
  const some = fc.constantFrom(...commands);
  fc.assert(
    fc.property(fc.array(some, { maxLength: 40 }), (sequence) => {
      const run = () =>
        sequence.reduce((state, command, at) => apply(state, command, at + 2).state, founded);
      assert.deepEqual(run(), run());
      assert.deepEqual(decodeState(encodeState(run())), run());
    }),
    { numRuns: 200 },
  );
});

test('a joiner becomes a learner and uses up its token', () => {
  assert.deepEqual(
    withTwo.members.map(({ name, role }) => [name, role]),
    [
      ['one', 'voter'],
      ['two', 'learner'],
    ],
  );
  assert.equal(withTwo.tokens[0]?.usesLeft, 0);
  assert.equal(
    refusal(withTwo, { ...joiner, id: 'n3', name: 'three', address: 'x:1', publicKeyHash: 'k3' }),
    'token-used-up',
  );
});

test('the same key under the same name again is no change', () => {
  const { state, result } = apply(withTwo, { ...joiner, id: 'n9' }, 11);

  assert.equal(state, withTwo);
  assert.deepEqual(result, { ok: true, index: 11, changed: false });
});

const refusals: readonly {
  readonly name: string;
  readonly give: Command;
  readonly want: string;
}[] = [
  { name: 'a taken name', give: { ...joiner, publicKeyHash: 'k9' }, want: 'name-taken' },
  { name: 'a key under a second name', give: { ...joiner, name: 'x' }, want: 'key-taken' },
  {
    name: 'a taken address',
    give: { ...joiner, name: 'x', publicKeyHash: 'k9' },
    want: 'address-taken',
  },
  {
    name: 'a used id',
    give: { ...joiner, name: 'x', publicKeyHash: 'k9', address: 'x:1' },
    want: 'id-taken',
  },
  {
    name: 'a promotion of a voter',
    give: { type: 'promote-members', ids: ['n1'] },
    want: 'not-a-learner',
  },
  {
    name: 'the removal of nobody',
    give: { type: 'remove-member', id: 'n7' },
    want: 'member-unknown',
  },
  {
    name: 'the removal of the last voter',
    give: { type: 'remove-member', id: 'n1' },
    want: 'last-voter',
  },
  { name: 'a token id twice', give: { type: 'add-token', token, nowWallMs }, want: 'token-exists' },
  {
    name: 'the revocation of nothing',
    give: { type: 'revoke-token', id: 'zzzzzz' },
    want: 'token-unknown',
  },
  {
    name: 'a stale revision',
    give: { type: 'set-spec', spec, expectedRevision: 5 },
    want: 'stale-revision',
  },
];

for (const { name, give, want } of refusals) {
  test(`apply() refuses ${name}`, () => assert.equal(refusal(withTwo, give), want));
}

test('apply() refuses a token that is expired, revoked or unknown, and says which', () => {
  const revoked = changed(founded, { type: 'revoke-token', id: 'aaaaaa' });

  assert.equal(refusal(founded, { ...joiner, nowWallMs: nowWallMs + 1000 }), 'token-expired');
  assert.equal(refusal(revoked, joiner), 'token-revoked');
  assert.equal(refusal(founded, { ...joiner, tokenId: 'zzzzzz' }), 'token-unknown');
});

test('apply() refuses more members than a control plane has', () => {
  let state = changed(founded, {
    type: 'add-token',
    token: { ...token, id: 'bb', usesLeft: null },
    nowWallMs,
  });
  const another = (n: number): Command => ({
    ...joiner,
    id: `m${n}`,
    name: `m${n}`,
    address: `m${n}:1`,
    publicKeyHash: `m${n}`,
    tokenId: 'bb',
  });
  for (let n = 1; n < maxMembers; n++) state = changed(state, another(n));

  assert.equal(refusal(state, another(99)), 'too-many-members');
});

test('a removed id stays used, its MACs stay known, and its drain mark goes', () => {
  const drained = {
    ...spec,
    frontends: spec.frontends.map((each) => ({
      ...each,
      backends: { ...each.backends, drainedMembers: ['two'] },
    })),
  };
  const marked = changed(withTwo, { type: 'set-spec', spec: drained, expectedRevision: null });
  const known = changed(marked, {
    type: 'update-member',
    id: 'n2',
    address: '10.0.0.12:7443',
    version: '1',
    formatVersion: 1,
    certExpires: '',
    macs: ['02:00:00:00:00:02'],
  });

  const state = changed(known, { type: 'remove-member', id: 'n2' }, 20);

  assert.deepEqual(state.removedIds, ['n2']);
  assert.deepEqual(state.removedMacs, ['02:00:00:00:00:02']);
  assert.deepEqual(state.spec, spec);
  assert.equal(state.specRevision, 20);
});

test('a joiner takes the place of a lost member in one step', () => {
  const two = changed(withTwo, { type: 'promote-members', ids: ['n2'] });
  const preferred = changed(two, { ...setting, priority: 4, draining: true });
  const third = { ...joiner, id: 'n3', publicKeyHash: 'key3', replaces: 'n2' };
  const more = { ...preferred, tokens: [{ ...token, usesLeft: null }] };

  const state = changed(more, third, 20);

  assert.deepEqual(
    state.members.map(({ id, name, role, priority, draining }) => [
      ...[id, name, role],
      ...[priority, draining],
    ]),
    [
      ['n1', 'one', 'voter', 0, false],
      ['n3', 'two', 'learner', 4, false],
    ],
  );
  assert.deepEqual(state.removedIds, ['n2']);
  assert.deepEqual(confChangeOf(third)?.changes, [
    { type: 'remove', id: 'n2' },
    { type: 'add-learner', id: 'n3' },
  ]);
  const again = apply(state, third, 30);
  assert.deepEqual(again, { state, result: { ok: true, index: 30, changed: false } });
});

test('nobody replaces a member that is not there, or the only voter', () => {
  const third = { ...joiner, id: 'n3', name: 'three', address: '10.0.0.13:7443' };

  assert.equal(refusal(founded, { ...third, replaces: 'n9' }), 'member-unknown');
  assert.equal(refusal(founded, { ...third, replaces: 'n1' }), 'last-voter');
});

test('what an operator sets of a member stays until it is set anew', () => {
  const state = changed(withTwo, { ...setting, priority: 7, address: '10.0.0.42:7443' });
  const drained = changed(state, { ...setting, draining: true });

  const { priority, address, draining } = drained.members[1] ?? founded.members[0] ?? {};
  assert.deepEqual([priority, address, draining], [7, '10.0.0.42:7443', true]);
  const again = apply(drained, { ...setting, draining: true }, 40);
  assert.deepEqual(again.result, { ok: true, index: 40, changed: false });
  assert.equal(refusal(drained, { ...setting, address: '10.0.0.11:7443' }), 'address-taken');
  assert.equal(refusal(drained, { ...setting, id: 'n9' }), 'member-unknown');
});

test('only what an older program would misread asks for a newer one', () => {
  assert.equal(commandFormat(joiner), 1);
  assert.equal(commandFormat({ ...joiner, replaces: 'n9' }), 2);
  assert.equal(commandFormat(setting), 2);
  const frontend = { name: 'api', vip: '10.0.0.100', port: 443 };
  const formatOf = (fields: Record<string, unknown>): number =>
    commandFormat({
      type: 'set-spec',
      expectedRevision: null,
      spec: parseSpecDocument(
        {
          apiVersion: 'holdfast/v1',
          kind: 'Cluster',
          spec: { vips: [{ address: '10.0.0.100' }], frontends: [{ ...frontend, ...fields }] },
        },
        { unsupportedDataPath: () => null },
      ).spec,
    });
  assert.equal(formatOf({}), 1);
  assert.equal(formatOf({ dataPath: 'http', http: {} }), 4);
  assert.equal(formatOf({ healthCheck: { trust: 'system' } }), 4);
  assert.equal(formatOf({ prefer: 'local' }), 5);
  const fixed = { address: '10.0.0.21', port: 443 };
  const reached = (mode: string) => ({
    dataPath: 'ipvs',
    backends: { static: [{ ...fixed, mode }] },
  });
  assert.equal(formatOf(reached('masquerade')), 1);
  assert.equal(formatOf(reached('direct')), 5);
  assert.equal(formatOf(reached('tunnel')), 5);
  const older = { ...withTwo, members: withTwo.members.map((m) => ({ ...m, formatVersion: 1 })) };
  assert.equal(ClusterStateRecord.decode(encodeState(older)).formatVersion, 1);
});

test('apply() never takes the id of a removed member again', () => {
  const state = changed(withTwo, { type: 'remove-member', id: 'n2' });

  assert.equal(refusal(state, { ...joiner, publicKeyHash: 'k9', address: 'x:1' }), 'id-taken');
});

test('the same spec again is no change and keeps its revision', () => {
  const { state, result } = apply(founded, { type: 'set-spec', spec, expectedRevision: 1 }, 30);

  assert.equal(state.specRevision, 1);
  assert.deepEqual(result, { ok: true, index: 30, changed: false });
});

test('dead tokens are swept a week after their end', () => {
  const later = nowWallMs + 8 * 24 * 3600 * 1000;
  const fresh = { ...token, id: 'bbbbbb', expiresWallMs: later + 1000 };

  const state = changed(founded, { type: 'add-token', token: fresh, nowWallMs: later });

  assert.deepEqual(
    state.tokens.map(({ id }) => id),
    ['bbbbbb'],
  );
});

test('the cluster acts at the version of its oldest member', () => {
  const older = { ...withTwo, members: withTwo.members.map((m) => ({ ...m, formatVersion: 0 })) };

  assert.equal(clusterFormatVersion(withTwo), 1);
  assert.equal(clusterFormatVersion(older), 0);
});

test('one learner is promoted simply, two through joint consensus', () => {
  assert.equal(confChangeOf({ type: 'promote-members', ids: ['a'] })?.mode, 'simple');
  assert.equal(confChangeOf({ type: 'promote-members', ids: ['a', 'b'] })?.mode, 'joint');
});

test('a refused membership change leaves the configuration alone', () => {
  const machine = new StateMachine(snapshot);
  const calls: string[] = [];
  const target = {
    applyConfChange: () => {
      calls.push('apply');
      return emptyConfig;
    },
    rejectConfChange: () => void calls.push('reject'),
  };
  const entry = (index: number, command: Command) =>
    ({ index, term: 1, type: 'conf-change', data: encodeCommand(command) }) as const;

  machine.apply(entry(2, { ...joiner, tokenId: 'zzzzzz' }), target);
  machine.apply(entry(3, joiner), target);
  machine.apply(entry(4, joiner), target);

  assert.deepEqual(calls, ['reject', 'apply', 'reject']);
  assert.equal(machine.appliedIndex, 4);
});

test('replay() gives the state that a node at rest had', () => {
  const committed = [
    { index: 2, term: 2, type: 'normal', data: new Uint8Array() },
    { index: 3, term: 2, type: 'conf-change', data: encodeCommand(joiner) },
  ] as const;

  assert.deepEqual(replay(snapshot, committed), { ...withTwo, members: membersJoinedAt(3) });
});

function membersJoinedAt(index: number): ClusterState['members'] {
  return withTwo.members.map((member) =>
    member.id === 'n2' ? { ...member, joinedIndex: index } : member,
  );
}

test('the log is cut half a limit behind its end', () => {
  const compaction = new Compaction({ maxEntries: 10, maxBytes: 1000 });
  const cuts: number[] = [];
  for (let index = 2; index <= 31; index++) {
    const entry = { index, term: 1, type: 'normal', data: Uint8Array.of(1) } as const;
    const cut = compaction.applied(entry, emptyConfig, founded);
    if (cut !== null) cuts.push(index, cut.meta.index);
  }

  assert.deepEqual(cuts, [11, 6, 16, 11, 21, 16, 26, 21, 31, 26]);
});
