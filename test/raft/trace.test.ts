/** The trace has the names and the shape that etcd's specification of Raft is checked with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TraceEvent, traceLine } from '../../src/raft/trace.ts';
import { simulate } from '../sim/simulation.ts';
import { Trace } from '../sim/trace.ts';
import { append, Solo } from './solo.ts';
import { MemoryLog } from './storage.ts';

function traced(voters: readonly string[]): { solo: Solo; events: TraceEvent[] } {
  const events: TraceEvent[] = [];
  const disk = MemoryLog.withTerms({ voters });
  const solo = new Solo(disk, { trace: (event) => void events.push(event) });
  return { solo, events };
}

function names(events: readonly TraceEvent[]): readonly string[] {
  return events.map(({ name }) => name).filter((name) => name !== 'Ready');
}

test('a term from its beginning to its first commit', () => {
  const { solo, events } = traced(['a']);
  solo.pass(0);
  assert.deepEqual(names(events), [
    ...['InitState', 'BecomeFollower', 'BecomeCandidate'],
    ...['BecomeLeader', 'Replicate', 'Commit'],
  ]);
});

test('a follower tells what it received and sent, in lines that a machine reads', () => {
  const { solo, events } = traced(['a', 'b']);
  const entries = [{ index: 2, term: 1, type: 'normal', data: new Uint8Array(0) }] as const;
  solo.step(append({ entries, commit: 2 }));

  const received = events.find(({ name }) => name === 'ReceiveAppendEntriesRequest');
  assert.deepEqual(JSON.parse(received === undefined ? '' : traceLine(received)), {
    tag: 'trace',
    event: {
      name: 'ReceiveAppendEntriesRequest',
      nid: 'a',
      state: { term: 1, vote: '0', commit: 1 },
      role: 'StateFollower',
      log: 1,
      conf: [['a', 'b'], []],
      msg: {
        ...{ type: 'MsgApp', term: 1, from: 'b', to: 'a', entries: 1, logTerm: 1, index: 1 },
        ...{ commit: 2, vote: '0', reject: false, rejectHint: 0 },
      },
    },
  });
  const after = ['ReceiveAppendEntriesRequest', 'Commit', 'SendAppendEntriesResponse'];
  assert.deepEqual(names(events).slice(-3), after);
});

test('a whole simulated run is told, and runs as without it', async () => {
  const events: TraceEvent[] = [];
  const seed = 3;
  const told = await simulate(
    seed,
    new Trace(),
    undefined,
    'jump',
    (event) => void events.push(event),
  );
  const plain = await simulate(seed);

  assert.equal(told.hash, plain.hash);
  const seen = new Set(names(events));
  for (const name of ['BecomeLeader', 'Commit', 'SendRequestVoteResponse', 'Replicate'])
    assert.ok(seen.has(name), name);
  for (const { name, nid, state, log, msg } of events) {
    assert.ok(state.commit <= log, `${nid} ${name}: commit ${state.commit} of ${log}`);
    assert.equal(msg !== undefined, /^(Send|Receive)/.test(name));
  }
});
