/**
 * What every way of forwarding promises, on whatever it is tried: a world with one holder, a few
 * backend hosts with servers that tell who they are and whom they saw, a client, and a pod behind
 * one of the hosts. The same tests run on a fake and on real kernels.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type {
  ForwardBackend,
  Forwarder,
  ForwardPlan,
  Protocol,
  Scheduler,
} from '../../src/lb/ports.ts';

/**
 * Where a connection begins: at a host that is nothing else, at the holder itself, at a host
 * without a server, at the first backend's host, or in a pod's subnet behind that host.
 */
export type Place = 'client' | 'holder' | 'member' | 'backend' | 'pod';

/**
 * What one connection met: which server answered, the address that it saw, and whether with the
 * client's own port; or an end.
 */
export type Answer =
  | { readonly server: string; readonly saw: string; readonly keptPort?: boolean }
  | { readonly refusedAfterMs: number }
  | { readonly silent: true }
  | { readonly failed: string };

/** An established connection that is kept. */
export interface OpenConnection {
  readonly server: string;
  /** Sends a line; resolves with its echo, or with `reset` where the connection has ended. */
  echo(line: string): Promise<string>;
  /** Says nothing; resolves with `reset` once it has ended all the same, else with `silence`. */
  ended(): Promise<string>;
  /** Ends its own half; resolves with what the server still said before it ended the other. */
  halfClose(): Promise<string>;
  close(): void;
}

export interface ForwarderWorld {
  readonly forwarder: Forwarder;
  readonly vip: string;
  readonly port: number;
  /** A refusal within this time is one at once. */
  readonly atOnceMs: number;
  /** Servers on hosts other than the holder. The first one's host is the place `backend`. */
  readonly remote: readonly ForwardBackend[];
  /** A server on the holder, on every address and on the VIP's own port. */
  readonly local: ForwardBackend;
  /** The holder's own address in the backends' subnet. */
  ownAddress(): string;
  /** The VIP comes to the holder, or leaves it. */
  moveVip(here: boolean): Promise<void>;
  /** One connection, from its beginning to its end. */
  ask(from: Place): Promise<Answer>;
  /** One datagram and its answer. */
  askUdp(from: Place): Promise<Answer>;
  /** Many connections: how many each server answered. */
  tally(from: Place, connections: number): Promise<ReadonlyMap<string, number>>;
  /** One connection from each of so many addresses: who answered each. */
  crowd(clients: number): Promise<readonly string[]>;
  open(from: Place): Promise<OpenConnection>;
  /** How long an established connection may be silent; null: for ever. */
  idleSeconds(): number | null;
}

export interface ForwarderSubject {
  readonly name: string;
  readonly schedulers: readonly Scheduler[];
  readonly protocols: readonly Protocol[];
  /** Whether clients that say nothing are reset, too, when their backend is severed. */
  readonly nudges?: boolean;
  /** Whether a backend sees the client's own port. */
  readonly keepsPorts?: boolean;
  /** After this time what was led has been counted (default: at once). */
  readonly countsLateMs?: number;
  /** Connections by which evenness is judged (default 10,000); fewer where each one is slow. */
  readonly many?: number;
  readonly world: (family: 4 | 6) => ForwarderWorld;
  readonly open: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const PLACES: readonly Place[] = ['client', 'holder', 'member', 'backend', 'pod'];
const MANY = 10_000;
const HOUR_SECONDS = 3_600;

export function forwarderSuite(subject: ForwarderSubject): void {
  before(subject.open);
  after(subject.close);
  for (const family of [4, 6] as const) {
    suite(`${subject.name}, IPv${family}`, () => {
      const bench = new Bench(() => subject.world(family));
      before(() => bench.world.moveVip(true));
      after(async () => {
        await bench.world.forwarder.clear();
        await bench.world.moveVip(false);
      });
      reaching(bench);
      if (subject.keepsPorts === true) keepingPorts(bench);
      rotation(bench, subject.many ?? MANY);
      shares(bench, subject.schedulers, (subject.many ?? MANY) / 5);
      refusing(bench);
      keeping(bench, subject.countsLateMs ?? 0);
      lettingGo(bench);
      if (subject.nudges === true) nudging(bench);
      if (subject.protocols.includes('udp')) datagrams(bench);
    });
  }
}

/** What the tests have in common. */
class Bench {
  readonly #world: () => ForwarderWorld;

  constructor(world: () => ForwarderWorld) {
    this.#world = world;
  }

  get world(): ForwarderWorld {
    return this.#world();
  }

  plan(backends: readonly ForwardBackend[], more: Partial<ForwardPlan> = {}): ForwardPlan {
    const { vip: address, port } = this.world;
    const base = { name: 'api', address, port, protocol: 'tcp', scheduler: 'round-robin' } as const;
    return { ...base, backends, ...more };
  }

  set(backends: readonly ForwardBackend[], more: Partial<ForwardPlan> = {}): Promise<void> {
    return this.world.forwarder.set([this.plan(backends, more)]);
  }

  remote(index: number): ForwardBackend {
    const backend = this.world.remote[index];
    assert.ok(backend);
    return backend;
  }

  /** One open connection to each remote backend. */
  async openAll(): Promise<OpenConnection[]> {
    await this.set(this.world.remote);
    const open = await Promise.all(this.world.remote.map(() => this.world.open('client')));
    assert.equal(new Set(open.map(({ server }) => server)).size, open.length);
    return open;
  }

  async count(name: string): Promise<number> {
    const counts = await this.world.forwarder.counts();
    return counts.find(({ backend }) => backend === name)?.connections ?? 0;
  }

  /** Connections ever led to each of the remote backends. */
  async totals(): Promise<readonly number[]> {
    const counts = await this.world.forwarder.counts();
    return this.world.remote.map(
      ({ name }) => counts.find(({ backend }) => backend === name)?.total ?? 0,
    );
  }
}

function reaching(bench: Bench): void {
  for (const place of PLACES) {
    test(`leads connections from the ${place} to every backend, and to the holder's own`, async () => {
      const { world } = bench;
      for (const backend of [...world.remote, world.local]) {
        await bench.set([backend]);

        const answer = await world.ask(place);

        assert.ok('server' in answer, `${backend.name}: ${JSON.stringify(answer)}`);
        assert.equal(answer.server, backend.name);
        if (backend === world.local) continue;
        assert.equal(answer.saw, world.ownAddress(), 'masqueraded, and never as the VIP');
      }
    });
  }

  test('acts only while the VIP is here', async () => {
    const { world } = bench;
    await bench.set(world.remote);
    await world.moveVip(false);

    const answer = await world.ask('holder');

    assert.ok(!('server' in answer), JSON.stringify(answer));
    await world.moveVip(true);
    assert.ok('server' in (await world.ask('client')));
  });
}

/**
 * A backend remembers who has closed (TIME-WAIT, a minute) and takes the same port again only with
 * a later time stamp, as of the same client. On a port chosen for it, every tenth connection of a
 * busy minute would meet somebody else's memory and wait a second for its second SYN.
 */
function keepingPorts(bench: Bench): void {
  test("comes to a backend from the client's own port", async () => {
    const { world } = bench;
    await bench.set([bench.remote(1)]);
    for (const place of ['client', 'member', 'pod'] as const) {
      const answer = await world.ask(place);
      assert.ok('server' in answer, JSON.stringify(answer));
      assert.equal(answer.keptPort, true, place);
    }
  });
}

function rotation(bench: Bench, many: number): void {
  test(`round-robin is even within 1 % over ${many} connections, while backends come and go`, async () => {
    const { world } = bench;
    const rounds = 4;
    await bench.set(world.remote);
    const counts = new Map<string, number>();
    for (let round = 0; round < rounds; round++) {
      for (const [name, count] of await world.tally('client', many / rounds)) {
        counts.set(name, (counts.get(name) ?? 0) + count);
      }
      await bench.set(world.remote.slice(1));
      await bench.set(world.remote);
    }

    for (const { name } of world.remote) {
      const share = (counts.get(name) ?? 0) / (many / world.remote.length);
      assert.ok(Math.abs(share - 1) <= 0.01, JSON.stringify([...counts]));
    }
  });

  test('round-robin goes on where it was, however often the backends change', async () => {
    const { world } = bench;
    const counts = new Map<string, number>();
    const changes = many < MANY ? 24 : 60;
    for (let round = 0; round < changes; round++) {
      await bench.set(round % 2 === 0 ? world.remote : world.remote.slice(0, 2));
      if (round % 2 !== 0) continue;
      const answer = await world.ask('client');
      const name = 'server' in answer ? answer.server : 'nobody';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }

    const even = changes / 2 / world.remote.length;
    for (const { name } of world.remote) {
      const off = Math.abs((counts.get(name) ?? 0) - even);
      assert.ok(off <= even / 2, JSON.stringify([...counts]));
    }
  });
}

function shares(bench: Bench, schedulers: readonly Scheduler[], connections: number): void {
  if (schedulers.includes('weighted')) {
    test('weighted gives each its share within 2 %', async () => {
      const { world } = bench;
      const weights = [1, 2, 5];
      await bench.set(
        world.remote.map((backend, index) => ({ ...backend, weight: weights[index] ?? 1 })),
        { scheduler: 'weighted' },
      );
      const counts = await world.tally('client', connections);

      for (const [index, { name }] of world.remote.entries()) {
        const share = ((counts.get(name) ?? 0) / connections) * (8 / (weights[index] ?? 1));
        assert.ok(Math.abs(share - 1) <= 0.02, JSON.stringify([...counts]));
      }
    });
  }

  if (schedulers.includes('source-hash')) {
    test('source-hash keeps clients where they are, and moves only those it must', async () => {
      const { world } = bench;
      const clients = connections;
      const scheduler = 'source-hash';
      await bench.set(world.remote, { scheduler });
      const first = await world.crowd(clients);
      await bench.set(world.remote.slice(1), { scheduler });
      const fewer = await world.crowd(clients);
      await bench.set(world.remote, { scheduler });
      const back = await world.crowd(clients);

      const moved = first.filter((name, index) => name !== fewer[index]).length / clients;
      const gone = bench.remote(0).name;
      assert.deepEqual(back, first);
      assert.ok(!fewer.includes(gone));
      assert.ok(moved <= 1 / world.remote.length + 0.02, `${moved} moved`);
      const stayed = first.every((name, index) => name === gone || name === fewer[index]);
      assert.ok(stayed, 'nobody else moved');
    });
  }
}

function refusing(bench: Bench): void {
  for (const place of ['client', 'holder', 'pod'] as const) {
    test(`refuses the ${place} at once without a backend, and comes back by itself`, async () => {
      const { world } = bench;
      await bench.set([]);

      const answer = await world.ask(place);

      assert.ok('refusedAfterMs' in answer, JSON.stringify(answer));
      assert.ok(answer.refusedAfterMs < bench.world.atOnceMs, JSON.stringify(answer));
      await bench.set(world.remote);
      assert.ok('server' in (await world.ask(place)));
    });
  }
}

/** @param lateMs what was led counts after this time at the latest. */
function keeping(bench: Bench, lateMs: number): void {
  test('no change ends an established connection', async () => {
    const { world } = bench;
    const open = await bench.openAll();
    const changes: (() => Promise<void>)[] = [
      () => bench.set(world.remote, { scheduler: 'weighted' }),
      () => bench.set(world.remote, { scheduler: 'source-hash' }),
      () => bench.set(world.remote.map((backend) => ({ ...backend, weight: 7 }))),
      () => bench.set([bench.remote(1)]),
      () => bench.set([]),
      () => world.forwarder.set([]),
      () => bench.set(world.remote),
    ];

    for (const [index, change] of changes.entries()) {
      await change();
      for (const each of open) assert.equal(await each.echo(`still ${index}`), `still ${index}`);
    }
    for (const each of open) each.close();
  });

  test('counts the connections that are open', async () => {
    const { world } = bench;
    await bench.set([bench.remote(2)]);
    const before = await bench.count('b3');
    const open = [await world.open('client'), await world.open('pod')];

    assert.equal(await bench.count('b3'), before + 2);
    for (const each of open) each.close();
  });

  test('counts every connection once, also across changes', async () => {
    const { world } = bench;
    await bench.set(world.remote);
    await pause(lateMs);
    const before = await bench.totals();
    await world.tally('client', 30);
    await bench.set(world.remote.toReversed(), { scheduler: 'weighted' });
    await world.tally('client', 30);

    await pause(lateMs);
    const after = await bench.totals();
    const led = after.map((total, index) => total - (before[index] ?? 0));
    assert.deepEqual(led, [20, 20, 20]);
  });

  test('half-closed connections go on in the other direction', async () => {
    await bench.set(bench.world.remote);
    const open = await bench.world.open('client');

    assert.equal(await open.halfClose(), 'bye');
  });

  test('an hour of silence changes nothing', () => {
    const seconds = bench.world.idleSeconds();

    assert.ok(seconds === null || seconds > HOUR_SECONDS, `${seconds} s`);
  });
}

function lettingGo(bench: Bench): void {
  test("sever() ends the connections to one backend, and nobody else's", async () => {
    const { world } = bench;
    const open = await bench.openAll();
    const gone = bench.remote(0);
    await bench.set(world.remote.slice(1));

    const ended = await world.forwarder.sever(bench.plan([]), gone);

    assert.equal(ended, 1);
    for (const each of open) {
      assert.equal(await each.echo('there?'), each.server === gone.name ? 'reset' : 'there?');
      each.close();
    }
  });

  test('release() ends every connection of a VIP that has left', async () => {
    const { world } = bench;
    const open = await bench.openAll();
    await world.moveVip(false);

    const ended = await world.forwarder.release(world.vip);

    await world.moveVip(true);
    assert.ok(ended >= open.length, `${ended} ended`);
    for (const each of open) assert.equal(await each.echo('there?'), 'reset');
    assert.ok('server' in (await world.ask('client')));
  });

  test('clear() leaves nothing, and once is as good as twice', async () => {
    const { world } = bench;
    await bench.set(world.remote);
    await world.forwarder.clear();
    await world.forwarder.clear();

    const answer = await world.ask('client');

    assert.equal('server' in answer ? answer.server : '', world.local.name);
  });
}

function nudging(bench: Bench): void {
  for (const place of ['client', 'holder', 'pod'] as const) {
    test(`sever() resets also the ${place} that says nothing`, async () => {
      await bench.set([bench.remote(1)]);
      const open = await bench.world.open(place);
      await bench.set([bench.remote(2)]);

      await bench.world.forwarder.sever(bench.plan([]), bench.remote(1));

      assert.equal(await open.ended(), 'reset');
    });
  }
}

function datagrams(bench: Bench): void {
  const protocol = 'udp';
  for (const place of ['client', 'holder', 'backend'] as const) {
    test(`leads datagrams from the ${place} to a backend`, async () => {
      const { world } = bench;
      await bench.set([bench.remote(0)], { protocol });

      const answer = await world.askUdp(place);

      assert.deepEqual(answer, { server: 'b1', saw: world.ownAddress() });
    });
  }

  test('tells senders at once that no backend is there', async () => {
    await bench.set([], { protocol });

    const answer = await bench.world.askUdp('client');

    assert.ok('refusedAfterMs' in answer, JSON.stringify(answer));
    assert.ok(answer.refusedAfterMs < bench.world.atOnceMs, JSON.stringify(answer));
  });
}
