/**
 * The Raft paper, section by section: each test sets a state, hands over a message and looks at
 * what comes out. Section numbers are those of "In Search of an Understandable Consensus Algorithm"
 * (extended version). Where a pre-vote or a promise comes before what the paper describes, the test
 * goes through it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '../../src/raft/message.ts';
import type { Entry, NodeId, Role, Term } from '../../src/raft/types.ts';
import { bytes, draws, lan } from './network.ts';
import {
  acks,
  append,
  appendReply,
  grant,
  heartbeat,
  names,
  ofType,
  only,
  Solo,
  vote,
  voteReply,
} from './solo.ts';
import { MemoryLog } from './storage.ts';

const noData = new Uint8Array(0);

function entry(index: number, term: Term, data: Uint8Array = noData): Entry {
  return { index, term, type: 'normal', data };
}

/** One of three in `role`, whatever term that takes. */
function inRole(role: Role, ...terms: readonly Term[]): Solo {
  const solo = Solo.of(3, ...terms);
  if (role === 'candidate') solo.runForOffice();
  if (role === 'leader') solo.lead();
  assert.equal(solo.role, role);
  return solo;
}

function newerTermMakesFollower(role: Role): void {
  const solo = inRole(role);

  solo.step(append({ term: 7 }));

  assert.deepEqual([solo.term, solo.role, solo.status.leader], [7, 'follower', 'b']);
}

test('§5.1 a follower updates its term from a message', () => newerTermMakesFollower('follower'));
test('§5.1 a candidate updates its term and gives way', () => newerTermMakesFollower('candidate'));
test('§5.1 a leader updates its term and gives way', () => newerTermMakesFollower('leader'));

test('§5.1 a message of a stale term changes nothing but tells its sender', () => {
  const solo = Solo.of(3);
  solo.step(append({ term: 5, from: 'c' }));

  const out = solo.step(append({ term: 4, entries: [entry(2, 4)] }));

  assert.deepEqual([solo.status.leader, solo.status.lastIndex], ['c', 1]);
  assert.equal(only(out, 'append-reply').rejected, true);
  assert.equal(only(out, 'append-reply').term, 5);
});

test('§5.2 a server starts as follower', () => {
  assert.equal(Solo.of(3).role, 'follower');
});

test('§5.2 a leader sends heartbeats at each interval to everybody', () => {
  const solo = inRole('leader');
  solo.drain();

  const out = solo.pass(lan.heartbeatMs);

  assert.deepEqual(
    ofType(out, 'heartbeat').map((m) => [m.to, m.term]),
    [
      ['b', solo.term],
      ['c', solo.term],
    ],
  );
});

test('§5.2 a follower that hears nothing starts an election in the next term', () => {
  const solo = inRole('follower');
  const before = solo.term;

  const asked = solo.pass(lan.promiseMs + lan.jitterMs);
  assert.deepEqual(
    ofType(asked, 'pre-vote').map((m) => m.to),
    ['b', 'c'],
  );
  assert.deepEqual([solo.term, solo.role], [before, 'pre-candidate'], 'asking changes nothing');
  const out = solo.step(grant(ofType(asked, 'pre-vote')[0] ?? assert.fail()));

  assert.deepEqual([solo.term, solo.role, solo.status.vote], [before + 1, 'candidate', 'a']);
  assert.deepEqual(
    ofType(out, 'vote').map((m) => [m.to, m.term]),
    [
      ['b', before + 1],
      ['c', before + 1],
    ],
  );
});

test('§5.2 a candidate without an outcome starts anew in the next term', () => {
  const solo = inRole('candidate');
  const before = solo.term;

  const asked = solo.pass(lan.promiseMs + lan.jitterMs);
  const out = solo.step(grant(ofType(asked, 'pre-vote')[0] ?? assert.fail()));

  assert.deepEqual([solo.term, solo.role], [before + 1, 'candidate']);
  assert.equal(ofType(out, 'vote').length, 2);
});

test('§5.2 one round of votes elects a leader, keeps a candidate or ends the candidacy', () => {
  const rows: readonly [number, Record<NodeId, boolean>, Role][] = [
    [3, { b: true, c: true }, 'leader'],
    [3, { b: true }, 'leader'],
    [5, { b: true, c: true, d: true, e: true }, 'leader'],
    [5, { b: true, c: true, d: true }, 'leader'],
    [5, { b: true, c: true }, 'leader'],
    [3, { b: false, c: false }, 'follower'],
    [5, { b: false, c: false, d: false, e: false }, 'follower'],
    [5, { b: true, c: false, d: false, e: false }, 'follower'],
    [3, {}, 'candidate'],
    [3, { b: false }, 'candidate'],
    [5, { b: true }, 'candidate'],
    [5, { b: false, c: false }, 'candidate'],
    [5, {}, 'candidate'],
  ];
  for (const [size, votes, want] of rows) {
    const solo = Solo.of(size);
    solo.runForOffice();
    const { term } = solo;
    for (const [from, granted] of Object.entries(votes)) {
      solo.step(voteReply({ from, term, granted }));
    }
    assert.deepEqual([solo.role, solo.term], [want, term], JSON.stringify(votes));
  }
  const alone = Solo.of(1);
  alone.pass(0);
  assert.equal(alone.role, 'leader');
});

test('§5.2 a follower votes once a term, first come first served', () => {
  const rows: readonly [NodeId | null, NodeId, boolean][] = [
    [null, 'b', true],
    [null, 'c', true],
    ['b', 'b', true],
    ['c', 'c', true],
    ['b', 'c', false],
    ['c', 'b', false],
  ];
  for (const [given, asks, want] of rows) {
    const solo = Solo.of(3);
    if (given === null) solo.step(voteReply({ term: 2, granted: false }));
    else solo.step(vote({ from: given, term: 2 }));
    const reply = only(solo.step(vote({ from: asks, term: 2 })), 'vote-reply');
    assert.deepEqual([reply.granted, reply.to, reply.term], [want, asks, 2], `${given} ${asks}`);
  }
});

test('§5.2 a candidate gives way to a leader of its own or a later term', () => {
  for (const later of [0, 1]) {
    const solo = inRole('candidate');
    const term = solo.term + later;
    solo.step(append({ term, from: 'c' }));
    assert.deepEqual([solo.role, solo.status.leader, solo.term], ['follower', 'c', term]);
  }
});

/** How long it takes one of three to campaign, by the draws of `seed`. */
function timeToCampaign(role: 'follower' | 'candidate', seed: number): number {
  const solo = new Solo(MemoryLog.booted({ voters: names(3) }), { rng: draws(seed) });
  if (role === 'candidate') solo.runForOffice();
  return solo.raft.nextDeadline() - solo.now;
}

for (const role of ['follower', 'candidate'] as const) {
  test(`§5.2 the election timeout of a ${role} is spread over its whole interval`, () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 2_000; seed++) {
      const timeout = timeToCampaign(role, seed);
      assert.ok(timeout >= lan.promiseMs && timeout < lan.promiseMs + lan.jitterMs, `${timeout}`);
      seen.add(Math.floor(timeout));
    }
    assert.equal(seen.size, lan.jitterMs);
  });

  test(`§5.2 the timeouts of five ${role}s rarely end together`, () => {
    let conflicts = 0;
    const rounds = 1_000;
    for (let round = 0; round < rounds; round++) {
      const times = names(5).map((_, i) => timeToCampaign(role, round * 5 + i));
      const [first, second] = times.sort((x, y) => x - y);
      // Two that end within a round trip of a LAN get in each other's way.
      if ((second ?? 0) - (first ?? 0) < 2) conflicts += 1;
    }
    assert.ok(conflicts / rounds <= 0.3, `${conflicts} of ${rounds}`);
  });
}

/** A leader of `count` that has committed its own first entry everywhere. */
function settled(count: number, ...terms: readonly Term[]): Solo {
  const solo = Solo.of(count, ...terms);
  solo.step(...acks(solo.lead()));
  solo.step(...acks(solo.drain()));
  assert.equal(solo.status.commit, solo.status.lastIndex);
  return solo;
}

function propose(solo: Solo, payload: string): Message[] {
  assert.ok(solo.raft.propose(bytes(payload)).ok);
  return solo.drain();
}

test('§5.3 a leader appends a proposal to its log and sends it to everybody', () => {
  const solo = settled(3);
  const { lastIndex, term } = solo.status;

  const out = propose(solo, 'x');

  assert.deepEqual(solo.disk.all().at(-1), entry(lastIndex + 1, term, bytes('x')));
  assert.deepEqual(
    ofType(out, 'append').map((m) => [m.to, m.prevIndex, m.entries.length, m.commit]),
    [
      ['b', lastIndex, 1, lastIndex],
      ['c', lastIndex, 1, lastIndex],
    ],
  );
});

test('§5.3 a leader commits and applies what a majority holds, and says so', () => {
  const solo = settled(3);
  const { lastIndex } = solo.status;
  const sent = propose(solo, 'x');
  assert.equal(solo.status.commit, lastIndex);

  const out = solo.step(...acks(sent, 'b'));

  assert.equal(solo.status.commit, lastIndex + 1);
  assert.equal(solo.applied.at(-1)?.index, lastIndex + 1);
  assert.ok(ofType(out, 'append').every((m) => m.commit === lastIndex + 1));
});

test('§5.3 an entry is committed once a majority has acknowledged it', () => {
  const rows: readonly [number, readonly NodeId[], boolean][] = [
    [1, [], true],
    [3, [], false],
    [3, ['b'], true],
    [3, ['b', 'c'], true],
    [5, [], false],
    [5, ['b'], false],
    [5, ['b', 'c'], true],
    [5, ['b', 'c', 'd'], true],
    [5, ['b', 'c', 'd', 'e'], true],
  ];
  for (const [size, from, want] of rows) {
    const solo = settled(size);
    const sent = propose(solo, 'x');
    for (const id of from) solo.step(...acks(sent, id));
    const { commit, lastIndex } = solo.status;
    assert.equal(commit === lastIndex, want, `${size}: ${from}`);
  }
});

test('§5.3 a commit covers all entries before it, those of earlier terms too', () => {
  const rows: readonly (readonly Term[])[] = [[], [2], [1, 2], [1]];
  for (const terms of rows) {
    const solo = settled(3, ...terms);
    const sent = propose(solo, 'x');
    solo.step(...acks(sent, 'b'));
    assert.deepEqual(
      solo.applied.map((applied) => applied.index),
      Array.from({ length: terms.length + 2 }, (_, i) => i + 2),
    );
    assert.equal(solo.applied.at(-1)?.data.length, 1);
  }
});

test('§5.3 a follower applies in order what it learns to be committed', () => {
  const rows: readonly [readonly string[], number][] = [
    [['x'], 2],
    [['x', 'y'], 3],
    [['x', 'y'], 2],
    [['y', 'x'], 3],
  ];
  for (const [payloads, commit] of rows) {
    const solo = Solo.of(3);
    const entries = payloads.map((payload, i) => entry(i + 2, 2, bytes(payload)));
    solo.step(append({ term: 2, entries, commit }));
    assert.deepEqual(solo.applied, entries.slice(0, commit - 1));
  }
});

test('§5.3 a follower takes an append only if its log has the entry before it', () => {
  const rows: readonly [Term, number, readonly [number, Term] | null][] = [
    [1, 1, null],
    [1, 2, null],
    [2, 3, null],
    [2, 2, [2, 1]],
    [3, 3, [3, 2]],
    [4, 4, [3, 2]],
    [1, 9, [2, 1]],
  ];
  for (const [prevTerm, prevIndex, hint] of rows) {
    const solo = Solo.of(3, 1, 2);
    const reply = only(solo.step(append({ term: 4, prevTerm, prevIndex })), 'append-reply');
    assert.equal(reply.rejected, hint !== null, `${prevTerm}/${prevIndex}`);
    assert.equal(reply.index, prevIndex);
    if (hint !== null) assert.deepEqual([reply.hintIndex, reply.hintTerm], hint);
  }
});

test('§5.3 a follower drops what conflicts with a valid append, and nothing else', () => {
  const rows: readonly [number, Term, readonly Entry[], readonly Term[], number][] = [
    [3, 2, [entry(4, 3)], [1, 2, 3], 1],
    [2, 1, [entry(3, 3), entry(4, 4)], [1, 3, 4], 2],
    [1, 1, [entry(2, 1)], [1, 2], 0],
    [1, 1, [entry(2, 3)], [3], 1],
  ];
  for (const [prevIndex, prevTerm, entries, want, written] of rows) {
    const solo = Solo.of(3, 1, 2);
    solo.raft.step(solo.now, append({ term: 4, prevIndex, prevTerm, entries }));
    const ready = solo.raft.ready(solo.now);
    assert.equal(ready.entries.length, written);
    solo.disk.write(ready);
    assert.deepEqual(
      solo.disk.all().map((e) => e.term),
      want,
    );
  }
});

/** Figure 7: the log of a leader in term 8 and those that its followers may have. */
const figure7: readonly Term[] = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
const figure7Followers: readonly (readonly Term[])[] = [
  [1, 1, 1, 4, 4, 5, 5, 6, 6],
  [1, 1, 1, 4],
  [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
  [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
  [1, 1, 1, 4, 4, 4, 4],
  [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
];

/** Carries appends and their answers between two cores until nothing is left to say. */
function exchange(leader: Solo, follower: Solo, first: readonly Message[]): number {
  let probes = 0;
  let toFollower = first.filter((m) => m.to === 'b');
  while (toFollower.length > 0) {
    const answers = follower.step(...toFollower).filter((m) => m.to === 'a');
    probes += ofType(answers, 'append-reply').filter((m) => m.rejected).length;
    toFollower = leader.step(...answers).filter((m) => m.to === 'b');
  }
  return probes;
}

test('§5.3 a leader brings each log of Figure 7 in line with its own', () => {
  for (const terms of figure7Followers) {
    const leader = Solo.of(3, ...figure7);
    leader.disk.hard = { ...leader.disk.hard, term: 7 };
    const elected = new Solo(leader.disk);
    const follower = new Solo(MemoryLog.withTerms({ voters: names(3) }, ...terms), {}, 'b');

    const rejected = exchange(
      elected,
      follower,
      elected.lead().filter((m) => m.type !== 'vote'),
    );

    assert.equal(elected.term, 8);
    assert.deepEqual(follower.disk.all(), elected.disk.all(), `${terms}`);
    assert.ok(rejected <= new Set(terms).size, `${rejected} probes for ${terms}`);
  }
});

test('§5.4.1 a vote request tells where the log ends', () => {
  const rows: readonly (readonly Term[])[] = [[2], [2, 3]];
  for (const terms of rows) {
    const solo = Solo.of(3, ...terms);
    const requests = ofType(solo.runForOffice(), 'vote');
    assert.deepEqual(
      requests.map((m) => [m.to, m.lastTerm, m.lastIndex]),
      ['b', 'c'].map((id) => [id, terms.at(-1), terms.length + 1]),
    );
  }
});

test('§5.4.1 a voter refuses a log that is less complete than its own', () => {
  const rows: readonly [readonly Term[], Term, number, boolean][] = [
    [[1], 1, 2, true],
    [[1], 1, 3, true],
    [[1, 1], 1, 2, false],
    [[1], 2, 2, true],
    [[1], 2, 3, true],
    [[1, 1], 2, 2, true],
    [[2], 1, 2, false],
    [[2], 1, 3, false],
    [[2, 1].sort(), 1, 2, false],
    [[1, 2], 2, 3, true],
  ];
  for (const type of ['vote', 'pre-vote'] as const) {
    for (const [terms, lastTerm, lastIndex, want] of rows) {
      const solo = Solo.of(3, ...terms);
      const out = solo.step(vote({ type, term: 3, lastTerm, lastIndex }));
      assert.equal(only(out, `${type}-reply`).granted, want, `${terms}: ${lastTerm}/${lastIndex}`);
    }
  }
});

test('§5.4.2 a leader commits by counting only entries of its own term (Figure 8)', () => {
  const rows: readonly [number, boolean][] = [
    [2, false],
    [3, false],
    [4, true],
  ];
  for (const [index, want] of rows) {
    const solo = Solo.of(3, 1, 2);
    solo.lead();
    assert.equal(solo.term, 3);
    solo.step(appendReply({ term: 3, index }));
    assert.equal(solo.status.commit, want ? index : 1);
  }
});

test('§5.2 a heartbeat of the leader keeps a follower from campaigning', () => {
  const solo = inRole('follower');
  for (let i = 0; i < 20; i++) {
    solo.step(heartbeat({ term: 2, round: i + 1 }));
    assert.deepEqual(ofType(solo.pass(lan.promiseMs - 1), 'pre-vote'), []);
  }
});
