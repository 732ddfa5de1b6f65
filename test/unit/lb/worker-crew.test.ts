/** Several workers as one, with fake processes and time by hand: who leads, who is told what. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { UNKNOWN } from '../../../src/lb/health.ts';
import type { WorkerProcess } from '../../../src/lb/ports.ts';
import type { FrontendReport, FrontendVerdicts, ToWorker } from '../../../src/lb/protocol.ts';
import { WorkerCrew } from '../../../src/lb/worker-crew.ts';
import { ManualClock } from './manual-clock.ts';
import { frontendOf } from './world.ts';

const NODE = {
  name: 'n1',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  draining: false,
  mode: 'masquerade',
} as const;
const API = frontendOf([NODE]);

class FakeWorker implements WorkerProcess {
  readonly pid = 4242;
  readonly inbox: ToWorker[] = [];
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
    this.die();
  }

  say(message: unknown): void {
    this.#onMessage(message);
  }

  die(): void {
    this.#onExit('was ended by SIGKILL');
  }

  /** What it was told last to run: whether it leads, and the ports. */
  get orders(): { leads: boolean; ports: number[] } | null {
    const last = this.inbox.findLast(({ kind }) => kind === 'assign');
    if (last?.kind !== 'assign') return null;
    return { leads: last.leads, ports: last.assignments.map((each) => each.preferredPort) };
  }
}

class World {
  readonly clock = new ManualClock();
  readonly workers: FakeWorker[] = [];
  readonly losses: string[] = [];
  carries = true;
  report: FrontendReport | undefined;
  readonly crew: WorkerCrew = new WorkerCrew({
    clock: this.clock,
    random: prng(1),
    log: silentLogger,
    count: 3,
    host: {
      spawn: () => {
        const worker = new FakeWorker();
        this.workers.push(worker);
        return worker;
      },
    },
    onStart: () => this.assign(),
    onReport: ([report]) => {
      this.report = report;
    },
    onLoss: (reason) => void this.losses.push(reason),
  });

  assign(): void {
    const base = { frontend: API, preferredPort: 0, favoured: [] };
    this.crew.assign([{ ...base, carries: this.carries }]);
  }

  worker(index: number): FakeWorker {
    const worker = this.workers[index];
    assert.ok(worker, `worker ${index}`);
    return worker;
  }
}

/** Three workers that serve on port 40000; the first leads. */
function serving(): World {
  const world = new World();
  world.crew.start();
  world.worker(0).say(reported({}));
  return world;
}

function reported(more: Partial<FrontendReport> & { open?: number; total?: number }): unknown {
  const { open = 0, total = 0, ...rest } = more;
  const counters = { accepted: total, unserved: 0, overLimit: 0, connectFailures: 0 };
  const seen = { state: 'up', sinceWallMs: 1, reason: '200 OK', judged: true, gone: false };
  const { draining: _, ...backend } = NODE;
  return {
    kind: 'report',
    frontends: [
      {
        ...{ name: 'api', port: 40_000, serving: true, error: null, clients: open, counters },
        backends: [{ ...backend, ...seen, connections: open, totalConnections: total }],
        ...rest,
      },
    ],
  };
}

const VERDICTS: readonly FrontendVerdicts[] = [
  {
    frontend: 'api',
    backends: [
      {
        ...{ name: 'n1', address: '10.0.0.11', port: 6443, sinceWallMs: 1 },
        health: { ...UNKNOWN, verdict: 'up' },
      },
    ],
  },
];

suite('a crew of workers', () => {
  test('has one that leads; the others join on its port', () => {
    const world = new World();
    assert.equal(world.crew.start(), true);
    assert.deepEqual(
      world.workers.map(({ orders }) => orders),
      [
        { leads: true, ports: [0] },
        { leads: false, ports: [] },
        { leads: false, ports: [] },
      ],
    );
    world.worker(0).say(reported({ serving: false }));

    assert.deepEqual(world.worker(1).orders, { leads: false, ports: [40_000] });
    assert.deepEqual(world.worker(2).orders, { leads: false, ports: [40_000] });
    world.worker(0).say(reported({ port: 50_000 }));
    assert.deepEqual(world.worker(2).orders, { leads: false, ports: [50_000] });
  });

  test('is one worker while nobody has clients to share', () => {
    const world = new World();
    world.carries = false;
    world.crew.start();
    assert.equal(world.workers.length, 1);
    world.carries = true;
    world.assign();

    assert.equal(world.workers.length, 3);
  });

  test('is reported as one: the port of the leader, the counts of all', () => {
    const world = serving();
    world.worker(0).say(reported({ open: 2, total: 5 }));
    world.worker(1).say(reported({ open: 3, total: 7 }));
    world.worker(2).say(reported({ serving: false, error: 'listen: EMFILE', open: 1, total: 1 }));

    const { report } = world;
    assert.equal(report?.clients, 6);
    assert.equal(report?.counters.accepted, 13);
    assert.equal(report?.serving, true);
    assert.equal(report?.error, 'listen: EMFILE');
    assert.equal(report?.backends[0]?.connections, 6);
    assert.equal(report?.backends[0]?.totalConnections, 13);
  });

  test('shares the verdicts of its leader, and brings it the failures of the others', () => {
    const world = serving();
    world.worker(0).say({ kind: 'verdicts', verdicts: VERDICTS });
    assert.deepEqual(world.worker(1).inbox.at(-1), { kind: 'verdicts', verdicts: VERDICTS });
    assert.deepEqual(world.worker(2).inbox.at(-1), { kind: 'verdicts', verdicts: VERDICTS });

    const failure = { kind: 'refused', reason: 'ECONNREFUSED' };
    const failed = { kind: 'failed', frontend: 'api', backend: 'n1', failure };
    world.worker(2).say(failed);
    assert.deepEqual(world.worker(0).inbox.at(-1), failed);
    // A frontend on another port is a new one to those who follow.
    world.worker(0).say(reported({ port: 50_000 }));
    assert.deepEqual(world.worker(2).inbox.at(-1), { kind: 'verdicts', verdicts: VERDICTS });
    // Who does not lead has no say in what the others believe.
    const before = world.worker(0).inbox.length;
    world.worker(1).say({ kind: 'verdicts', verdicts: VERDICTS });
    assert.equal(world.worker(0).inbox.length, before);
  });

  test('goes on when one that follows dies; the next one is told all that is known', async () => {
    const world = serving();
    world.worker(0).say({ kind: 'verdicts', verdicts: VERDICTS });
    world.worker(0).say(reported({ open: 1, total: 5 }));
    world.worker(1).say(reported({ open: 1, total: 7 }));
    world.worker(1).die();

    assert.deepEqual(world.losses, []);
    assert.equal(world.report?.clients, 1);
    assert.equal(world.report?.counters.accepted, 12);
    assert.equal(world.report?.backends[0]?.totalConnections, 12);
    await world.clock.advance(100);
    assert.deepEqual(world.worker(3).orders, { leads: false, ports: [40_000] });
    assert.deepEqual(world.worker(3).inbox.at(-1), { kind: 'verdicts', verdicts: VERDICTS });
    world.worker(3).say(reported({ total: 1 }));
    assert.equal(world.report?.counters.accepted, 13);
    assert.equal(world.crew.restarts, 1);
  });

  test('has another leader at once when the leader dies, on the same port', async () => {
    const world = serving();
    world.worker(0).die();

    assert.deepEqual(world.worker(1).orders, { leads: true, ports: [40_000] });
    assert.deepEqual(world.losses, []);
    await world.clock.advance(100);
    assert.deepEqual(world.worker(3).orders, { leads: false, ports: [40_000] });
  });

  test('is lost when its last worker is, and begins anew', async () => {
    const world = serving();
    world.worker(0).say(reported({ total: 5 }));
    for (const worker of [...world.workers]) worker.die();
    assert.deepEqual(world.losses, ['was ended by SIGKILL']);
    await world.clock.advance(100);

    const leaders = world.workers.slice(3).filter(({ orders }) => orders?.leads);
    assert.equal(leaders.length, 1);
    assert.deepEqual(leaders[0]?.orders?.ports, [40_000]);
    // Whoever owns the crew has kept the sum; it would be counted twice.
    leaders[0]?.say(reported({ total: 1 }));
    assert.equal(world.report?.counters.accepted, 1);
  });
});
