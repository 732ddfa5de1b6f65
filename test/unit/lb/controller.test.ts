/** The agent's side, with a fake worker, a fake kernel and time by hand. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Fields, Logger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { LbController } from '../../../src/lb/controller.ts';
import type {
  BackendState,
  DesiredBackend,
  DesiredFrontend,
  Redirect,
  Steering,
  WorkerHost,
  WorkerProcess,
} from '../../../src/lb/ports.ts';
import type { FrontendReport, ToWorker } from '../../../src/lb/protocol.ts';
import { ManualClock } from './manual-clock.ts';
import { frontendOf } from './world.ts';

class FakeWorker implements WorkerProcess {
  readonly pid = 4242;
  readonly inbox: ToWorker[] = [];
  killed = false;
  #onMessage: (message: unknown) => void = () => undefined;
  #onExit: (reason: string) => void = () => undefined;

  send(message: unknown): void {
    this.inbox.push(message as ToWorker);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#onMessage = listener;
  }

  onExit(listener: (reason: string) => void): void {
    this.#onExit = listener;
  }

  kill(): void {
    this.killed = true;
    this.exit('was ended by SIGKILL');
  }

  say(message: unknown): void {
    this.#onMessage(message);
  }

  exit(reason: string): void {
    this.#onExit(reason);
  }
}

class World implements WorkerHost, Steering {
  readonly clock = new ManualClock();
  readonly workers: FakeWorker[] = [];
  readonly declared: (readonly Redirect[])[] = [];
  readonly log: string[] = [];
  failSpawn = false;
  steeringError: string | null = null;
  steeringDelay: Promise<void> = Promise.resolve();
  cleared = 0;
  readonly controller = new LbController({
    clock: this.clock,
    random: prng(1),
    log: recorder(this.log),
    workers: this,
    workerCount: 1,
    steering: this,
    kernel: {
      forwarders: [],
      trial: { isRemote: () => false, run: async () => 'no kernel', close: () => undefined },
      connects: async () => true,
    },
    localAddresses: () => new Set(),
  });

  spawn(): WorkerProcess {
    if (this.failSpawn) throw new Error('EAGAIN');
    const worker = new FakeWorker();
    this.workers.push(worker);
    return worker;
  }

  async set(redirects: readonly Redirect[]): Promise<void> {
    if (this.steeringError !== null) throw new Error(this.steeringError);
    this.declared.push(redirects);
    await this.steeringDelay;
  }

  async clear(): Promise<void> {
    this.cleared++;
  }

  get worker(): FakeWorker {
    const worker = this.workers.at(-1);
    assert.ok(worker);
    return worker;
  }

  /** Starts with `frontends` and lets the worker report them as serving on ports from 40000. */
  async begin(...frontends: readonly DesiredFrontend[]): Promise<void> {
    this.controller.set({ frontends });
    this.controller.start();
    this.worker.say({ kind: 'report', frontends: frontends.map((each, i) => report(each, i)) });
    await this.clock.advance(1);
  }
}

function recorder(lines: string[]): Logger {
  const write = (event: string, fields: Fields = {}): void => {
    lines.push(`${event} ${fields.reason ?? ''}`.trim());
  };
  return { debug: write, info: write, warn: write, error: write, child: () => recorder(lines) };
}

const NODE: DesiredBackend = {
  name: 'n1',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  draining: false,
  mode: 'masquerade',
};

function report(
  frontend: DesiredFrontend,
  index: number,
  more: Partial<FrontendReport> & { state?: BackendState; total?: number } = {},
): FrontendReport {
  const { state = 'up', total = 0, ...rest } = more;
  return {
    name: frontend.name,
    port: 40_000 + index,
    serving: true,
    error: null,
    clients: 0,
    counters: { accepted: total, unserved: 0, overLimit: 0, connectFailures: 0 },
    backends: frontend.backends.map(({ name, address, port, weight }) => ({
      name,
      address,
      port,
      weight,
      state,
      sinceWallMs: 1,
      reason: '200 OK',
      connections: 0,
      totalConnections: total,
      judged: true,
      gone: false,
    })),
    ...rest,
  };
}

const API = frontendOf([NODE]);

function redirect(toPort: number): Redirect {
  return { address: '192.0.2.10', port: 6443, protocol: 'tcp', toPort };
}

suite('LbController', () => {
  test('assigns the proxied frontends, then steers the VIP to the ports it hears', async () => {
    const world = new World();
    await world.begin(API);

    assert.deepEqual(world.worker.inbox, [
      {
        kind: 'assign',
        leads: true,
        assignments: [{ frontend: API, carries: true, preferredPort: 0, favoured: [] }],
      },
    ]);
    assert.deepEqual(world.declared.at(-1), [redirect(40_000)]);
    const [view] = world.controller.view();
    assert.equal(view?.dataPath, 'proxy');
    assert.equal(view?.backends[0]?.state, 'up');
  });

  test('starts no worker while nothing is proxied, and removes stale redirects', async () => {
    const world = new World();
    world.controller.set({ frontends: [frontendOf([NODE], { dataPath: 'none' })] });
    world.controller.start();
    await world.clock.advance(60_000);

    assert.equal(world.workers.length, 0);
    assert.deepEqual(world.declared, [[]]);
    assert.match(world.controller.view()[0]?.dataPathReason ?? '', /VIP only/);
  });

  test('refuses in the view what is not built, and proxies the rest', async () => {
    const world = new World();
    const ipvs = frontendOf([NODE], { name: 'ipvs', dataPath: 'ipvs', port: 53 });
    await world.begin(API);
    world.controller.set({ frontends: [API, ipvs] });
    const views = world.controller.view();

    assert.equal(views[0]?.dataPath, 'proxy');
    assert.equal(views[1]?.dataPath, 'none');
    assert.match(views[1]?.dataPathReason ?? '', /ipvs is not built/);
  });

  test('gives no backend to a worker that is itself a frontend', async () => {
    const world = new World();
    const vip = { ...NODE, name: 'vip', address: API.address, port: API.port };
    const looping = frontendOf([NODE, vip]);
    await world.begin(looping);

    assert.deepEqual(world.worker.inbox, [
      {
        kind: 'assign',
        leads: true,
        assignments: [{ frontend: API, carries: true, preferredPort: 0, favoured: [] }],
      },
    ]);
    world.worker.say({ kind: 'report', frontends: [report(API, 0)] });
    assert.deepEqual(
      world.controller.view()[0]?.backends.map(({ name, state, reason }) => [name, state, reason]),
      [
        ['n1', 'up', '200 OK'],
        ['vip', 'down', 'is a frontend itself: never used'],
      ],
    );
  });

  test('set() twice is set() once, for the kernel, the worker and the listeners', async () => {
    const world = new World();
    await world.begin(API);
    const calls = world.declared.length;
    world.controller.onChange(() => assert.fail('nothing changed'));
    world.controller.set({ frontends: [API] });
    world.controller.set({ frontends: [API] });
    await world.clock.advance(1_000);

    assert.equal(world.declared.length, calls);
    assert.equal(world.worker.inbox.length, 1);
  });

  test('declares the redirects again now and then, because others flush them', async () => {
    const world = new World();
    await world.begin(API);
    const calls = world.declared.length;
    await world.clock.advance(20_000);

    assert.equal(world.declared.length, calls + 4);
    assert.deepEqual(world.declared.at(-1), [redirect(40_000)]);
  });

  test('drops the redirect of a frontend that is gone', async () => {
    const world = new World();
    const second = frontendOf([NODE], { name: 'rke2', port: 9345 });
    await world.begin(API, second);
    assert.equal(world.declared.at(-1)?.length, 2);
    world.controller.set({ frontends: [API] });
    await world.clock.advance(1);

    assert.deepEqual(world.declared.at(-1), [redirect(40_000)]);
  });

  test('follows a frontend to another address with the same port', async () => {
    const world = new World();
    await world.begin(API);
    world.controller.set({ frontends: [frontendOf([NODE], { address: '192.0.2.20' })] });
    await world.clock.advance(1);

    assert.deepEqual(world.declared.at(-1), [{ ...redirect(40_000), address: '192.0.2.20' }]);
  });
});

suite('a lost worker', () => {
  test('is replaced after growing delays, with the same ports, the kernel untouched', async () => {
    const world = new World();
    await world.begin(API);
    const calls = world.declared.length;
    world.worker.exit('was ended by SIGSEGV');

    assert.equal(world.controller.view()[0]?.backends[0]?.state, 'down');
    assert.match(
      world.controller.view()[0]?.dataPathReason ?? '',
      /the proxy worker was ended by SIGSEGV; it is restarted/,
    );
    await world.clock.advance(100);
    assert.equal(world.workers.length, 2);
    assert.deepEqual(world.worker.inbox, [
      {
        kind: 'assign',
        leads: true,
        assignments: [{ frontend: API, carries: true, preferredPort: 40_000, favoured: [] }],
      },
    ]);
    world.worker.exit('was ended by SIGSEGV');
    await world.clock.advance(100);
    assert.equal(world.workers.length, 2);
    await world.clock.advance(100);
    assert.equal(world.workers.length, 3);
    assert.equal(world.declared.length, calls);
    assert.equal(world.controller.counters().workerRestarts, 2);
  });

  test('keeps its counters in the sum', async () => {
    const world = new World();
    await world.begin(API);
    world.worker.say({ kind: 'report', frontends: [report(API, 0, { total: 7 })] });
    world.worker.exit('was ended by SIGSEGV');
    assert.equal(world.controller.view()[0]?.backends[0]?.totalConnections, 7);
    await world.clock.advance(100);
    world.worker.say({ kind: 'report', frontends: [report(API, 0, { total: 5 })] });

    assert.equal(world.controller.view()[0]?.backends[0]?.totalConnections, 12);
    assert.equal(world.controller.counters().frontends[0]?.accepted, 12);
  });

  test('that cannot be started is tried again', async () => {
    const world = new World();
    world.failSpawn = true;
    world.controller.set({ frontends: [API] });
    world.controller.start();
    assert.match(world.controller.view()[0]?.dataPathReason ?? '', /cannot be started: EAGAIN/);
    world.failSpawn = false;
    await world.clock.advance(100);

    assert.equal(world.workers.length, 1);
  });

  test('that hangs is asked, then killed and replaced', async () => {
    const world = new World();
    await world.begin(API);
    await world.clock.advance(10_000);
    assert.deepEqual(world.worker.inbox.at(-1), { kind: 'ping' });
    assert.equal(world.worker.killed, false);
    world.worker.say({ kind: 'pong' });
    await world.clock.advance(9_999);
    assert.equal(world.worker.killed, false);
    const [first] = world.workers;
    await world.clock.advance(6_000);

    assert.equal(first?.killed, true);
    assert.equal(world.workers.length, 2);
  });
});

suite('failing steering', () => {
  test('shows in the view, is tried again and logged once', async () => {
    const world = new World();
    world.steeringError = 'nft: Operation not permitted';
    await world.begin(API);
    await world.clock.advance(3_000);

    assert.match(
      world.controller.view()[0]?.dataPathReason ?? '',
      /not steered to the proxy, retrying: nft: Operation not permitted/,
    );
    assert.ok(world.controller.counters().steeringFailures >= 3);
    world.steeringError = null;
    await world.clock.advance(5_000);
    assert.equal(world.controller.view()[0]?.dataPathReason, 'as asked');
    const lines = world.log.filter((line) => /steered/.test(line));
    assert.deepEqual(lines, ['lb.not-steered nft: Operation not permitted', 'lb.steered']);
  });

  test('waits between attempts, however often the worker reports', async () => {
    const world = new World();
    world.steeringError = 'no';
    await world.begin(API);
    await world.clock.advance(3_000);
    const before = world.controller.counters().steeringFailures;
    for (let i = 0; i < 50; i++) {
      world.worker.say({ kind: 'report', frontends: [report(API, 0, { total: i })] });
    }
    await world.clock.advance(1);

    assert.ok(world.controller.counters().steeringFailures - before <= 1);
  });
});

suite('a wish that changes while the kernel is at work', () => {
  test('is declared next, at once', async () => {
    const world = new World();
    await world.begin(API);
    const slow = Promise.withResolvers<void>();
    world.steeringDelay = slow.promise;
    world.controller.set({ frontends: [] });
    world.controller.set({ frontends: [frontendOf([NODE], { port: 9345 })] });
    world.worker.say({ kind: 'report', frontends: [report(API, 0)] });
    slow.resolve();
    await world.clock.advance(1);

    assert.deepEqual(world.declared.at(-2), []);
    assert.deepEqual(world.declared.at(-1), [{ ...redirect(40_000), port: 9345 }]);
  });
});

suite('the view', () => {
  test('says why clients are not served', async () => {
    const world = new World();
    await world.begin(API);
    const say = (more: Partial<FrontendReport>): string => {
      world.worker.say({ kind: 'report', frontends: [report(API, 0, more)] });
      return world.controller.view()[0]?.dataPathReason ?? '';
    };

    assert.match(say({ serving: false }), /refused: no backend accepts TCP/);
    assert.match(say({ error: 'listen EMFILE', serving: false }), /cannot listen: listen EMFILE/);
    assert.equal(say({}), 'as asked');
  });

  test('shows a backend that the worker has not heard of yet as down', async () => {
    const world = new World();
    await world.begin(API);
    const n2 = { ...NODE, name: 'n2', address: '10.0.0.12' };
    world.controller.set({ frontends: [frontendOf([NODE, n2])] });
    const backends = world.controller.view()[0]?.backends;

    assert.deepEqual(
      backends?.map(({ name, state, reason }) => [name, state, reason]),
      [
        ['n1', 'up', '200 OK'],
        ['n2', 'down', 'no probe has ended yet'],
      ],
    );
  });

  test('is announced when it changes, until nobody listens', async () => {
    const world = new World();
    let changes = 0;
    const stop = world.controller.onChange(() => changes++);
    await world.begin(API);
    const heard = changes;
    assert.ok(heard > 0);
    stop();
    world.worker.exit('was ended by SIGKILL');

    assert.equal(changes, heard);
  });
});

suite('stop()', () => {
  test('drains, then kills a worker that does not end, then clears the kernel', async () => {
    const world = new World();
    await world.begin(API);
    const { worker } = world;
    const stopped = world.controller.stop(2_000);
    assert.deepEqual(worker.inbox.at(-1), { kind: 'drain', graceMs: 2_000 });
    await world.clock.advance(2_999);
    assert.equal(world.cleared, 0);
    await world.clock.advance(1);
    await stopped;

    assert.equal(worker.killed, true);
    assert.equal(world.cleared, 1);
    await world.clock.advance(60_000);
    assert.equal(world.workers.length, 1);
  });

  test('works before anything was started', async () => {
    const world = new World();
    await world.controller.stop(1_000);

    assert.equal(world.cleared, 1);
  });
});

test('nonsense from a worker is named in the log and changes nothing', async () => {
  const world = new World();
  await world.begin(API);
  const before = world.controller.view();
  for (const message of [
    null,
    'hello',
    { kind: 'report' },
    { kind: 'report', frontends: [{ name: 'api' }] },
    { kind: 'log', level: 'panic', event: 'x', fields: {} },
    { kind: 'surprise' },
  ]) {
    world.worker.say(message);
  }

  assert.deepEqual(world.controller.view(), before);
  assert.equal(world.log.filter((line) => line.startsWith('lb.bad-message')).length, 6);
});
