/**
 * The scenarios by which the labs of MIT's course on distributed systems (6.824, and MadRaft after
 * them) judge an implementation of Raft. The network checks after every event that a term has one
 * leader, that one lease lives, and that all apply the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defined } from '../../src/base/assert.ts';
import type { Millis, NodeId } from '../../src/raft/types.ts';
import { draws, lan, Network, type NetworkOptions, type TestNode } from './network.ts';

const three = ['a', 'b', 'c'];
const five = ['a', 'b', 'c', 'd', 'e'];

/** Writes until everybody in `ids` has applied `payload`, at the same index or a later one. */
function agree(net: Network, payload: string, ids: readonly NodeId[] = up(net)): void {
  const applied = (): boolean => ids.every((id) => net.node(id).payloads().includes(payload));
  const giveUpAt = net.now + 30_000;
  while (!applied()) {
    assert.ok(net.now < giveUpAt, `nobody agreed on ${payload}`);
    net.tryPropose(payload);
    const askAgainAt = net.now + 500;
    while (!applied() && net.now < askAgainAt) net.run(5);
  }
}

function up(net: Network): NodeId[] {
  return [...net.nodes.values()].filter((node) => node.up).map((node) => node.id);
}

function followers(net: Network, leader: TestNode): NodeId[] {
  return [...net.nodes.keys()].filter((id) => id !== leader.id);
}

/** Cuts every link between the two sides. */
function part(net: Network, left: readonly NodeId[], right: readonly NodeId[]): void {
  for (const a of left) {
    for (const b of right) {
      net.cut(a, b);
      net.cut(b, a);
    }
  }
}

/** Loses a tenth of the messages, and delays the rest so that they overtake each other. */
function unreliable(seed: number): { options: NetworkOptions; shake: (net: Network) => void } {
  const random = draws(seed);
  return {
    options: { latencyMs: () => (random() < 0.05 ? 60 * random() : 1 + 12 * random()) },
    shake: (net) => {
      net.filter = () => random() >= 0.1;
    },
  };
}

function leaderOf(net: Network): TestNode {
  return defined(net.leader(), 'a leader');
}

test('initial election: one leader, who stays', () => {
  const net = Network.ofVoters(three);
  const leader = net.elect();
  const { term } = leader.status(net.now);
  net.run(2_000);
  for (const node of net.nodes.values()) {
    const status = node.status(net.now);
    assert.deepEqual([status.term, status.leader], [term, leader.id]);
  }
});

test('re-election: a lost leader is replaced, and disturbs nobody when it returns', () => {
  const net = Network.ofVoters(three);
  const first = net.elect();
  net.isolate(first.id);
  net.runUntil(() => net.holder() !== undefined && net.holder() !== first);
  const second = leaderOf(net);
  net.heal();
  net.run(1_000);
  assert.equal(leaderOf(net), second);

  net.isolate(second.id);
  net.isolate(followers(net, second)[0] ?? '');
  net.run(1_000);
  assert.equal(net.holder(), undefined, 'nobody holds without a quorum');
  net.heal();
  net.elect();
});

test('many elections: of seven, any four elect', () => {
  const net = Network.ofVoters(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  const random = draws(4);
  net.elect();
  for (let round = 0; round < 10; round++) {
    const shuffled = [...net.nodes.keys()].sort(() => random() - 0.5);
    const away = shuffled.slice(0, 3);
    for (const id of away) net.isolate(id);
    net.runUntil(() => {
      const holder = net.holder();
      return holder !== undefined && !away.includes(holder.id);
    });
    net.heal();
    net.elect();
  }
});

test('basic agreement: each proposal is applied by all, in order', () => {
  const net = Network.ofVoters(five);
  net.elect();
  for (const payload of ['1', '2', '3']) agree(net, payload);
  for (const node of net.nodes.values()) assert.deepEqual(node.payloads(), ['1', '2', '3']);
});

test('agreement with a follower away: it goes on, and who comes back catches up', () => {
  const net = Network.ofVoters(three);
  const leader = net.elect();
  agree(net, 'before');
  const [away = '', other = ''] = followers(net, leader);
  net.isolate(away);
  for (const payload of ['1', '2', '3', '4']) agree(net, payload, [leader.id, other]);
  assert.deepEqual(net.node(away).payloads(), ['before']);
  net.heal();
  agree(net, 'after');
  assert.deepEqual(net.node(away).payloads(), ['before', '1', '2', '3', '4', 'after']);
});

test('no agreement without a quorum, and agreement again with it', () => {
  const net = Network.ofVoters(five);
  const leader = net.elect();
  agree(net, 'before');
  for (const id of followers(net, leader).slice(0, 3)) net.isolate(id);
  net.tryPropose('lonely');
  net.run(1_500);
  for (const node of net.nodes.values()) assert.deepEqual(node.payloads(), ['before']);
  net.heal();
  agree(net, 'after');
});

test('concurrent starts: proposals of one instant all get their own place', () => {
  const net = Network.ofVoters(three);
  net.elect();
  const payloads = Array.from({ length: 20 }, (_, at) => `p${at}`);
  for (const payload of payloads) net.propose(payload);
  net.runUntil(() => [...net.nodes.values()].every((node) => node.payloads().length === 20));
  for (const node of net.nodes.values()) assert.deepEqual(node.payloads(), payloads);
});

test('rejoin: what a cut-off leader took alone is dropped', () => {
  const net = Network.ofVoters(three);
  const first = net.elect();
  agree(net, 'before');
  net.isolate(first.id);
  for (const payload of ['x', 'y', 'z']) net.propose(payload);
  net.runUntil(() => net.holder() !== undefined && net.holder() !== first);
  agree(net, 'meanwhile', followers(net, first));
  const second = leaderOf(net);
  net.isolate(second.id);
  net.tryPropose('also lost');
  // The first leader comes back to the third node only.
  net.heal();
  part(net, [second.id], followers(net, second));
  net.runUntil(() => net.holder() !== undefined && net.holder() !== second);
  net.heal();
  agree(net, 'after');
  for (const node of net.nodes.values()) {
    assert.deepEqual(node.payloads(), ['before', 'meanwhile', 'after']);
  }
});

test('backup: long wrong tails are found by term, not by entry', () => {
  const net = Network.ofVoters(five);
  const first = net.elect();
  agree(net, 'before');
  const [near = '', ...far] = followers(net, first);
  part(net, [first.id, near], far);
  for (let at = 0; at < 50; at++) net.propose(`wrong ${at}`);
  net.runUntil(() => far.includes(net.holder()?.id ?? ''));
  for (let at = 0; at < 50; at++) net.propose(`right ${at}`);
  net.run(100);
  net.heal();
  const from = net.sent.length;
  net.runUntil(() => [...net.nodes.values()].every((node) => node.payloads().length === 51));
  const rejections = net.sent
    .slice(from)
    .filter(
      (m) =>
        m.type === 'append-reply' && m.rejected && m.term === leaderOf(net).status(net.now).term,
    );
  assert.ok(rejections.length <= 12, `${rejections.length} rejections for 50 wrong entries`);
});

test('message budget: an election, ten entries and a quiet second cost what they must', () => {
  const net = Network.ofVoters(three);
  net.elect();
  assert.ok(net.sent.length <= 40, `an election took ${net.sent.length} messages`);

  let from = net.sent.length;
  const heartbeats = (since: number): number =>
    net.sent.slice(since).filter((m) => m.type.startsWith('heartbeat')).length;
  const payloads = Array.from({ length: 10 }, (_, at) => `p${at}`);
  for (const payload of payloads) net.propose(payload);
  net.runUntil(() => [...net.nodes.values()].every((node) => node.payloads().length === 10));
  // To two followers: the entries, their answers, the news that they are committed, and answers.
  const forEntries = net.sent.length - from - heartbeats(from);
  assert.ok(forEntries <= 12, `ten entries took ${forEntries} messages`);

  net.run(100);
  from = net.sent.length;
  net.run(1_000);
  const rounds = Math.ceil(1_000 / lan.heartbeatMs);
  assert.equal(net.sent.length - from, heartbeats(from), 'nothing but heartbeats');
  assert.ok(heartbeats(from) <= 4 * (rounds + 1), `a quiet second took ${heartbeats(from)}`);
});

test('persistence: all restart, one by one and together, and nothing is lost', () => {
  const net = Network.ofVoters(three);
  net.elect();
  agree(net, '1');
  for (const id of three) net.crash(id);
  for (const id of three) net.restart(id);
  agree(net, '2');
  const leader = net.elect();
  net.crash(leader.id);
  net.restart(leader.id);
  agree(net, '3');
  const absent = leaderOf(net);
  net.crash(absent.id);
  agree(net, '4', followers(net, absent));
  net.restart(absent.id);
  agree(net, '5');
  for (const node of net.nodes.values())
    assert.deepEqual(node.payloads(), ['1', '2', '3', '4', '5']);
});

test('persistence: pairs of five crash and return in turn', () => {
  const net = Network.ofVoters(five);
  net.elect();
  for (let round = 0; round < 5; round++) {
    agree(net, `all ${round}`);
    const away = [five[round], five[(round + 1) % 5]].map((id) => defined(id, 'id'));
    for (const id of away) net.crash(id);
    agree(net, `some ${round}`);
    for (const id of away) net.restart(id);
  }
  agree(net, 'end');
});

test('persistence: a crashed leader and a crashed follower come back in a partition', () => {
  const net = Network.ofVoters(three);
  const leader = net.elect();
  agree(net, '1');
  const [other = '', third = ''] = followers(net, leader);
  net.isolate(third);
  agree(net, '2', [leader.id, other]);
  net.crash(leader.id);
  net.crash(other);
  net.heal();
  net.restart(leader.id);
  // The third lacks entry 2, so that only the former leader can be elected.
  agree(net, '3', [leader.id, third]);
  net.restart(other);
  agree(net, '4');
  for (const node of net.nodes.values()) assert.deepEqual(node.payloads(), ['1', '2', '3', '4']);
});

/** Figure 8 of the paper, by chance: leaders die right after they took something. */
function figureEight(net: Network, seed: number): void {
  const random = draws(seed);
  for (let round = 0; round < 60; round++) {
    const leader = net.leader();
    net.tryPropose(`round ${round}`);
    net.run(random() < 0.1 ? 250 * random() : 8 * random());
    if (leader !== undefined && random() < 0.7) net.crash(leader.id);
    if (up(net).length < 3) {
      const asleep = [...net.nodes.values()].filter((node) => !node.up);
      net.restart(defined(asleep[Math.floor(random() * asleep.length)], 'a crashed node').id);
    }
    net.run(600 * random());
  }
  for (const node of net.nodes.values()) if (!node.up) net.restart(node.id);
  agree(net, 'end');
}

for (const seed of [1, 2, 3]) {
  test(`Figure 8 by chance (seed ${seed})`, () => {
    const net = Network.ofVoters(five);
    net.elect();
    figureEight(net, seed);
  });

  test(`Figure 8 by chance over a bad network (seed ${seed})`, () => {
    const { options, shake } = unreliable(seed);
    const net = Network.ofVoters(five, options);
    shake(net);
    figureEight(net, seed);
  });
}

test('agreement over a network that loses, delays and reorders', () => {
  const { options, shake } = unreliable(7);
  const net = Network.ofVoters(five, options);
  shake(net);
  for (let round = 0; round < 20; round++) {
    for (let at = 0; at < 4; at++) net.tryPropose(`${round}/${at}`);
    agree(net, `${round}`);
  }
});

/** Proposals go on while nodes crash, return and are cut off; whoever had an answer keeps it. */
function churn(net: Network, seed: number, afterHeal: () => void): void {
  const random = draws(seed);
  const acknowledged: string[] = [];
  const ids = [...net.nodes.keys()];
  for (let round = 0; round < 40; round++) {
    const payload = `p${round}`;
    const leader = net.leader();
    if (net.tryPropose(payload) && leader !== undefined) {
      const giveUpAt: Millis = net.now + 60;
      while (net.now < giveUpAt && !leader.payloads().includes(payload)) net.run(2);
      if (leader.up && leader.payloads().includes(payload)) acknowledged.push(payload);
    }
    const victim = defined(ids[Math.floor(random() * ids.length)], 'a victim');
    const dice = random();
    if (dice < 0.2) net.isolate(victim);
    else if (dice < 0.4 && up(net).length > 3) net.crash(victim);
    else if (dice < 0.6 && !net.node(victim).up) net.restart(victim);
    else if (dice < 0.8) {
      net.heal();
      afterHeal();
    }
    net.run(300 * random());
  }
  for (const node of net.nodes.values()) if (!node.up) net.restart(node.id);
  net.heal();
  agree(net, 'end');
  assert.ok(acknowledged.length > 5, `only ${acknowledged.length} proposals got through`);
  for (const node of net.nodes.values()) {
    const kept = node.payloads().filter((payload) => acknowledged.includes(payload));
    assert.deepEqual(kept, acknowledged, `${node.id} lost or reordered an answer`);
  }
}

test('churn: nothing acknowledged is lost while nodes come and go', () => {
  for (const seed of [1, 2, 3]) {
    const net = Network.ofVoters(five);
    net.elect();
    churn(net, seed, () => undefined);
  }
});

test('churn over a bad network', () => {
  for (const seed of [4, 5, 6]) {
    const { options, shake } = unreliable(seed);
    const net = Network.ofVoters(five, options);
    shake(net);
    net.elect();
    churn(net, seed, () => shake(net));
  }
});

/** A follower is away while the log is cut behind it; `leave` and `back` say how. */
function snapshots(net: Network, leave: (id: NodeId) => void, back: (id: NodeId) => void): void {
  net.elect();
  for (let round = 0; round < 8; round++) {
    const leader = net.elect();
    const away = defined(followers(net, leader)[round % 2], 'a follower');
    leave(away);
    const rest = up(net).filter((id) => id !== away);
    for (let at = 0; at < 10; at++) agree(net, `${round}/${at}`, rest);
    for (const id of rest) net.compact(id);
    back(away);
    net.runUntil(() => net.leader() !== undefined);
    agree(net, `end ${round}`);
  }
  const sent = net.sent.filter((m) => m.type === 'snapshot').length;
  assert.ok(sent > 0, 'a snapshot was needed');
}

test('snapshots: who was cut off while the log was cut gets one', () => {
  const net = Network.ofVoters(three);
  snapshots(
    net,
    (id) => net.isolate(id),
    () => net.heal(),
  );
});

test('snapshots: who was down while the log was cut gets one', () => {
  const net = Network.ofVoters(three);
  snapshots(
    net,
    (id) => net.crash(id),
    (id) => net.restart(id),
  );
});

test('snapshots over a bad network, with crashes', () => {
  const { options, shake } = unreliable(9);
  const net = Network.ofVoters(three, options);
  shake(net);
  snapshots(
    net,
    (id) => net.crash(id),
    (id) => net.restart(id),
  );
});

test('snapshots: everybody restarts from one', () => {
  const net = Network.ofVoters(three);
  net.elect();
  for (let at = 0; at < 20; at++) agree(net, `p${at}`);
  for (const id of three) net.compact(id);
  for (const id of three) net.crash(id);
  for (const id of three) net.restart(id);
  agree(net, 'after');
});

test("a leader whose disk hangs goes on: the others' disks commit", () => {
  let hung: NodeId | null = null;
  const net = Network.ofVoters(three, { diskMs: (id) => (id === hung ? 1e9 : 1) });
  const leader = net.elect();
  net.run(50);
  const { term } = leader.status(net.now);
  hung = leader.id;
  net.propose('x');
  net.run(1_000);
  for (const id of followers(net, leader)) assert.deepEqual(net.node(id).payloads(), ['x']);
  const { commit, lastIndex } = leader.status(net.now);
  assert.equal(commit, lastIndex);
  // Renewing a lease needs no disk; taking one over would.
  assert.deepEqual([net.holder(), leader.status(net.now).term], [leader, term]);
});
