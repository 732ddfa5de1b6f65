/** Trust in the kernel: how it is won, lost and won back, with time by hand. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLogger } from '../../../src/base/log.ts';
import type { Trial } from '../../../src/lb/ports.ts';
import { Trials } from '../../../src/lb/trials.ts';
import { ManualClock } from './manual-clock.ts';

const N2 = { name: 'n2', address: '10.0.0.12', port: 6443 };
const HERE = { name: 'n1', address: '10.0.0.11', port: 6443 };
const API = { name: 'api', backends: [HERE, N2] };
const DROPPED = 'a firewall drops it';

class World implements Trial {
  readonly clock = new ManualClock();
  readonly tried: string[] = [];
  fault: string | null = null;
  backendLives = true;
  changes = 0;
  closed = false;
  readonly trials = new Trials({
    clock: this.clock,
    log: silentLogger,
    trial: this,
    connects: async () => this.backendLives,
    onChange: () => this.changes++,
  });

  isRemote(address: string): boolean {
    return address !== HERE.address;
  }

  async run({ address }: { readonly address: string }): Promise<string | null> {
    this.tried.push(address);
    return this.fault;
  }

  close(): void {
    this.closed = true;
  }

  get works(): boolean {
    return this.trials.trust('api').works;
  }

  /** Trusted, then lost by a firewall that appeared. */
  async lose(): Promise<void> {
    this.fault = DROPPED;
    this.trials.look();
    await this.clock.advance(2_000);
    assert.equal(this.works, false);
  }
}

async function trusting(): Promise<World> {
  const world = new World();
  world.trials.consider([API]);
  await world.clock.advance(1);
  assert.equal(world.works, true);
  return world;
}

suite('Trials', () => {
  test('trust after one success, with the remote backends alone', async () => {
    const world = await trusting();

    assert.deepEqual(world.tried, [N2.address]);
    assert.match(world.trials.trust('api').reason, /to n2 succeeded/);
  });

  test('try a backend that has just come, without waiting for their time', async () => {
    const world = await trusting();
    const n3 = { ...N2, name: 'n3', address: '10.0.0.13' };
    world.trials.consider([{ ...API, backends: [HERE, N2, n3] }]);
    world.trials.consider([{ ...API, backends: [HERE, N2, n3] }]);
    await world.clock.advance(1);
    world.trials.consider([{ ...API, backends: [HERE, N2, n3] }]);
    await world.clock.advance(1_000);

    assert.deepEqual(world.tried, [N2.address, N2.address, n3.address]);
    assert.match(world.trials.trust('api').reason, /to n2, n3 succeeded/);
  });

  test('know nothing without a remote backend', async () => {
    const world = new World();
    world.trials.consider([{ name: 'api', backends: [HERE] }]);
    await world.clock.advance(120_000);

    assert.deepEqual(world.tried, []);
    assert.match(world.trials.trust('api').reason, /has been tried yet/);
  });

  test('do not trust after one failure, and say why', async () => {
    const world = new World();
    world.fault = DROPPED;
    world.trials.consider([API]);
    await world.clock.advance(1);

    assert.deepEqual(world.trials.trust('api'), { works: false, reason: DROPPED });
  });

  test('blame nobody for a backend that does not accept connections at all', async () => {
    const world = await trusting();
    world.fault = DROPPED;
    world.backendLives = false;
    await world.clock.advance(300_000);

    assert.equal(world.works, true);
  });

  test('lose trust by two failures in a row, not by one', async () => {
    const world = await trusting();
    world.fault = DROPPED;
    world.trials.look();
    await world.clock.advance(301);
    assert.equal(world.works, true);
    world.fault = null;
    await world.clock.advance(10_000);
    assert.equal(world.works, true);
    await world.lose();

    assert.equal(world.trials.trust('api').reason, DROPPED);
  });

  test('win it back after three successes, and not before a hold that doubles', async () => {
    const world = await trusting();
    for (const holdMs of [10_000, 20_000, 40_000]) {
      await world.lose();
      world.fault = null;
      world.trials.look();
      const lostAt = world.clock.now();
      while (!world.works) await world.clock.advance(100);
      const tookMs = world.clock.now() - lostAt;
      assert.ok(tookMs >= holdMs - 2_000 && tookMs <= holdMs + 2_000, `${tookMs} ms`);
    }
  });

  test('look again now and then, and soon after a change, however many changes come', async () => {
    const world = await trusting();
    const before = world.tried.length;
    await world.clock.advance(90_000);
    assert.equal(world.tried.length, before + 3);
    for (let i = 0; i < 100; i++) {
      world.trials.look();
      await world.clock.advance(1);
    }
    await world.clock.advance(300);

    assert.equal(world.tried.length, before + 4);
  });

  test('try a backend once for all frontends, and forget those that are gone', async () => {
    const world = new World();
    world.trials.consider([API, { ...API, name: 'second' }]);
    await world.clock.advance(1);
    assert.deepEqual(world.tried, [N2.address]);
    world.trials.consider([API]);

    assert.equal(world.trials.trust('second').works, false);
  });

  test('end with their device', async () => {
    const world = await trusting();
    world.trials.stop();
    world.trials.look();
    await world.clock.advance(60_000);

    assert.equal(world.closed, true);
    assert.equal(world.tried.length, 1);
  });
});
