/** The agent's side of a path in the kernel, with a fake worker, a fake kernel and time by hand. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { LbController } from '../../../src/lb/controller.ts';
import type {
  DesiredBackend,
  DesiredFrontend,
  ForwardCount,
  Forwarder,
  ForwardPlan,
  Redirect,
  WorkerProcess,
} from '../../../src/lb/ports.ts';
import type { Assignment, BackendReport, ToWorker } from '../../../src/lb/protocol.ts';
import { ManualClock } from './manual-clock.ts';
import { frontendOf } from './world.ts';

const BACKENDS: readonly DesiredBackend[] = ['n1', 'n2', 'n3'].map((name, index) => ({
  name,
  address: `10.0.0.1${index + 1}`,
  port: 6443,
  weight: 1,
  draining: false,
  mode: 'masquerade',
}));

class FakeForwarder implements Forwarder {
  readonly kind = 'nftables';
  readonly log: string[] = [];
  plans: readonly ForwardPlan[] = [];
  error: string | null = null;
  missing: string | null = null;
  open: readonly ForwardCount[] = [];

  unavailable(): string | null {
    return this.missing;
  }

  async set(plans: readonly ForwardPlan[]): Promise<void> {
    if (this.error !== null) throw new Error(this.error);
    this.plans = plans;
    this.log.push(`set ${plans.map(({ backends }) => backends.map(({ name }) => name)).join()}`);
  }

  async sever(_: unknown, backend: { readonly address: string }): Promise<number> {
    this.log.push(`sever ${backend.address}`);
    return 1;
  }

  async release(address: string): Promise<number> {
    this.log.push(`release ${address}`);
    return 1;
  }

  async counts(): Promise<readonly ForwardCount[]> {
    return this.open;
  }

  async clear(): Promise<void> {
    this.log.push('clear');
  }
}

class World {
  readonly clock = new ManualClock();
  readonly forwarder = new FakeForwarder();
  readonly inbox: ToWorker[] = [];
  redirects: readonly Redirect[] = [];
  fault: string | null = null;
  home: ReadonlySet<string> = new Set();
  say: (message: unknown) => void = () => undefined;
  exit: (reason: string) => void = () => undefined;
  readonly controller = new LbController({
    clock: this.clock,
    random: prng(1),
    log: silentLogger,
    workerCount: 1,
    workers: { spawn: () => this.#spawn() },
    steering: {
      set: async (redirects) => {
        this.redirects = redirects;
      },
      clear: async () => undefined,
    },
    kernel: {
      forwarders: [this.forwarder],
      trial: {
        isRemote: (address) => address !== BACKENDS[0]?.address,
        run: async () => this.fault,
        close: () => undefined,
      },
      connects: async () => true,
    },
    localAddresses: () => this.home,
  });

  begin(frontend: DesiredFrontend): Promise<void> {
    this.controller.set({ frontends: [frontend] });
    this.controller.start();
    return this.clock.advance(1);
  }

  /** Says how each backend stands, in order: `up`, `down`, …, `gone` or `unknown`. */
  async report(frontend: DesiredFrontend, ...states: readonly string[]): Promise<void> {
    const carries = this.assigned()?.carries === true;
    const backends = frontend.backends.map((backend, index): BackendReport => {
      const state = states[index] ?? 'up';
      const isState = state === 'up' || state === 'degraded' || state === 'draining';
      const { draining: _, ...rest } = backend;
      return {
        ...rest,
        state: isState ? state : 'down',
        sinceWallMs: 1,
        reason: state,
        connections: 0,
        totalConnections: 0,
        judged: state !== 'unknown',
        gone: state === 'gone',
      };
    });
    const serving = carries && backends.some(({ state }) => state === 'up');
    const counters = { accepted: 0, unserved: 0, overLimit: 0, connectFailures: 0 };
    const base = { name: frontend.name, serving, error: null, clients: 0, counters, backends };
    this.say({ kind: 'report', frontends: [{ ...base, port: carries ? 40_000 : 0 }] });
    await this.clock.advance(1);
  }

  assigned(): Pick<Assignment, 'carries' | 'favoured'> | undefined {
    const last = this.inbox.findLast((message) => message.kind === 'assign');
    return last?.kind === 'assign' ? last.assignments[0] : undefined;
  }

  get path(): string {
    return this.controller.view()[0]?.dataPath ?? '';
  }

  get reason(): string {
    return this.controller.view()[0]?.dataPathReason ?? '';
  }

  /** The names of those that are chosen in the kernel; null without a plan. */
  get chosen(): string | null {
    const plan = this.forwarder.plans[0];
    return plan === undefined ? null : plan.backends.map(({ name }) => name).join(' ');
  }

  #spawn(): WorkerProcess {
    return {
      pid: 1,
      send: (message) => this.inbox.push(message as ToWorker),
      onMessage: (listener) => {
        this.say = listener;
      },
      onExit: (listener) => {
        this.exit = listener;
      },
      kill: () => undefined,
    };
  }
}

const ASKED = frontendOf(BACKENDS, { dataPath: 'nftables' });
const AUTO = frontendOf(BACKENDS, { dataPath: 'auto' });

suite('dataPath nftables', () => {
  test('has the worker judge and not carry, and plans by its verdicts', async () => {
    const world = new World();
    await world.begin(ASKED);
    assert.deepEqual(world.assigned()?.carries, false);
    assert.equal(world.chosen, '', 'nobody is chosen before a verdict');
    await world.report(ASKED, 'up', 'degraded', 'down');

    assert.equal(world.chosen, 'n1 n2');
    assert.deepEqual(world.redirects, []);
    assert.equal(world.path, 'nftables');
    assert.equal(world.reason, 'as asked');
  });

  test('says when nobody serves, and when the kernel refuses', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.report(ASKED, 'down', 'down', 'draining');
    assert.match(world.reason, /refused: no backend accepts TCP/);
    world.forwarder.error = 'Operation not permitted';
    await world.report(ASKED, 'up', 'up', 'up');

    assert.match(world.reason, /not forwarded, retrying: Operation not permitted/);
    assert.ok(world.controller.counters().steeringFailures > 0);
  });

  test('goes on by the last verdicts while the worker is replaced', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.report(ASKED, 'up', 'up', 'down');
    world.exit('was ended by SIGKILL');
    await world.clock.advance(200);
    await world.report(ASKED, 'unknown', 'unknown', 'unknown');
    assert.equal(world.chosen, 'n1 n2');
    await world.report(ASKED, 'unknown', 'down', 'up');

    assert.equal(world.chosen, 'n1 n3');
  });

  test('ends the connections to a backend that is gone, once, and after the plan', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.report(ASKED, 'up', 'up', 'up');
    await world.report(ASKED, 'up', 'down', 'up');
    assert.ok(!world.forwarder.log.some((line) => line.startsWith('sever')), 'down is not gone');
    await world.report(ASKED, 'up', 'gone', 'up');
    await world.report(ASKED, 'up', 'gone', 'up');

    const severed = world.forwarder.log.filter((line) => line.startsWith('sever'));
    assert.deepEqual(severed, ['sever 10.0.0.12']);
    assert.ok(
      world.forwarder.log.indexOf('set n1,n3') < world.forwarder.log.indexOf(severed[0] ?? ''),
    );
  });

  test('counts what is open, and releases the connections of a VIP that left', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.report(ASKED);
    world.forwarder.open = [{ frontend: 'api', backend: 'n2', connections: 7, total: 9 }];
    await world.clock.advance(2_100);
    world.forwarder.log.length = 0;
    world.controller.releaseClients(ASKED.address);
    await world.clock.advance(1);

    const counts = world.controller.view()[0]?.backends.map(({ connections }) => connections);
    assert.deepEqual(counts, [0, 7, 0]);
    assert.equal(world.controller.counters().frontends[0]?.clients, 7);
    assert.ok(world.forwarder.log.includes(`release ${ASKED.address}`));
  });

  test('counts what was led to each, also when a counter begins anew', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.report(ASKED);
    for (const [first, second] of [
      [3, 10],
      [3, 2],
      [4, 2],
    ]) {
      world.forwarder.open = [
        { frontend: 'api', backend: 'n1', connections: 0, total: first ?? 0 },
        { frontend: 'api', backend: 'n2', connections: 0, total: second ?? 0 },
      ];
      await world.clock.advance(2_100);
    }

    const [view] = world.controller.view();
    assert.deepEqual(
      view?.backends.map(({ totalConnections }) => totalConnections),
      [4, 12, 0],
    );
    assert.equal(world.controller.counters().frontends[0]?.accepted, 16);
  });

  test('ends what a former process has left, and only once', async () => {
    const world = new World();
    await world.begin(ASKED);
    await world.begin({ ...ASKED, scheduler: 'source-hash' });

    const released = world.forwarder.log.filter((line) => line.startsWith('release'));
    assert.deepEqual(released, [`release ${ASKED.address}`]);
  });

  test('resolves to none, with the reason, where this host has no such path', async () => {
    const world = new World();
    world.forwarder.missing = 'the program nft is not installed';
    const late = new LbController({
      clock: world.clock,
      random: prng(1),
      log: silentLogger,
      workerCount: 1,
      workers: { spawn: () => assert.fail('nobody is needed') },
      steering: { set: async () => undefined, clear: async () => undefined },
      kernel: {
        forwarders: [world.forwarder],
        trial: { isRemote: () => true, run: async () => null, close: () => undefined },
        connects: async () => true,
      },
      localAddresses: () => new Set(),
    });
    late.set({ frontends: [ASKED] });
    late.start();

    assert.equal(late.view()[0]?.dataPath, 'none');
    assert.match(late.view()[0]?.dataPathReason ?? '', /nft is not installed/);
  });
});

suite('dataPath auto', () => {
  test('begins with the proxy, and takes the kernel once it has shown that it works', async () => {
    const world = new World();
    await world.begin(AUTO);
    assert.equal(world.path, 'proxy');
    await world.report(AUTO, 'unknown', 'unknown', 'unknown');
    assert.equal(world.redirects.length, 1);
    await world.report(AUTO);
    await world.clock.advance(10);

    assert.equal(world.path, 'nftables');
    assert.match(world.reason, /auto: a connection through the kernel to n2, n3 succeeded/);
    assert.equal(world.chosen, 'n1 n2 n3');
    assert.deepEqual(world.redirects, []);
    assert.equal(world.assigned()?.carries, false);
  });

  test('falls back without a gap: the plan stands until the proxy serves', async () => {
    const world = new World();
    await world.begin(AUTO);
    await world.report(AUTO);
    await world.clock.advance(10);
    await world.report(AUTO);
    world.fault = 'a firewall drops it';
    world.controller.hostChanged();
    await world.clock.advance(2_000);
    assert.equal(world.path, 'proxy');
    assert.match(world.reason, /a firewall drops it/);
    assert.equal(world.assigned()?.carries, true);
    assert.equal(world.chosen, 'n1 n2 n3', 'the proxy does not serve yet');
    await world.report(AUTO);
    await world.clock.advance(10);

    assert.equal(world.redirects.length, 1);
    assert.equal(world.chosen, null);
  });

  test('stays with the proxy where the only backend is this host', async () => {
    const alone = frontendOf(BACKENDS.slice(0, 1), { dataPath: 'auto' });
    const world = new World();
    await world.begin(alone);
    await world.report(alone);
    await world.clock.advance(60_000);

    assert.equal(world.path, 'proxy');
    assert.match(world.reason, /to a remote backend has been tried yet/);
  });
});

suite('prefer: local', () => {
  const PREFERS = frontendOf(BACKENDS, { dataPath: 'nftables', prefer: 'local' });
  const HOME = new Set(['127.0.0.1', '10.0.0.12']);

  test('plans with this host alone while it may be chosen, and says so', async () => {
    const world = new World();
    world.home = HOME;
    await world.begin(PREFERS);
    await world.report(PREFERS, 'up', 'up', 'up');

    assert.equal(world.chosen, 'n2');
    assert.deepEqual(world.assigned()?.favoured, ['n2']);
    assert.match(world.reason, /; prefer local: new connections go to n2$/);
  });

  test('leaves it to the others while it may not be, and comes back', async () => {
    const world = new World();
    world.home = HOME;
    await world.begin(PREFERS);
    for (const state of ['down', 'draining']) {
      await world.report(PREFERS, 'up', state, 'up');
      assert.equal(world.chosen, 'n1 n3', state);
      assert.match(world.reason, /prefer local: n2 on this host may not be chosen, the others/);
    }

    await world.report(PREFERS, 'up', 'up', 'up');

    assert.equal(world.chosen, 'n2');
    assert.ok(!world.forwarder.log.some((line) => line.startsWith('sever')), 'nobody is let go');
  });

  test('holds also while nobody is up, for whoever accepts TCP', async () => {
    const world = new World();
    world.home = HOME;
    await world.begin(PREFERS);
    await world.report(PREFERS, 'degraded', 'degraded', 'degraded');

    assert.equal(world.chosen, 'n2');
  });

  test('is no preference where no backend is on this host', async () => {
    const world = new World();
    await world.begin(PREFERS);
    await world.report(PREFERS, 'up', 'up', 'up');

    assert.equal(world.chosen, 'n1 n2 n3');
    assert.match(world.reason, /; prefer local: no backend is on this host/);
  });

  test('follows an address that comes to this host, and takes no VIP for one of its own', async () => {
    const onVip = { ...(BACKENDS[0] as DesiredBackend), address: '192.0.2.10', port: 7000 };
    const frontend = { ...PREFERS, backends: [onVip, ...BACKENDS.slice(1)] };
    const world = new World();
    world.home = new Set(['192.0.2.10']);
    await world.begin(frontend);
    await world.report(frontend, 'up', 'up', 'up');
    assert.equal(world.chosen, 'n1 n2 n3');

    world.home = new Set(['192.0.2.10', '10.0.0.13']);
    world.controller.hostChanged();
    await world.clock.advance(1);

    assert.equal(world.chosen, 'n3');
    assert.deepEqual(world.assigned()?.favoured, ['n3']);
  });

  test('has auto try the backends of the other hosts all the same', async () => {
    const frontend = { ...PREFERS, dataPath: 'auto' } as const;
    const world = new World();
    world.home = new Set([BACKENDS[0]?.address ?? '']);
    await world.begin(frontend);
    await world.report(frontend, 'up', 'up', 'up');

    assert.equal(world.path, 'nftables');
    assert.match(world.reason, /through the kernel to n2, n3 succeeded/);
    assert.equal(world.chosen, 'n1');
  });

  test('is any other frontend where nothing is said', async () => {
    const world = new World();
    world.home = HOME;
    await world.begin(ASKED);
    await world.report(ASKED, 'up', 'up', 'up');

    assert.equal(world.chosen, 'n1 n2 n3');
    assert.doesNotMatch(world.reason, /prefer/);
  });
});
