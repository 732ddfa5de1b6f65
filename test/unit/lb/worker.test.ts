/** The real worker as a real process: it serves, reports, obeys, and does not outlive its agent. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import * as net from 'node:net';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { prng } from '../../../src/base/prng.ts';
import { LbController } from '../../../src/lb/controller.ts';
import type {
  FrontendView,
  Redirect,
  Steering,
  WorkerHost,
  WorkerProcess,
} from '../../../src/lb/ports.ts';
import { ask, Backend, frontendOf } from './world.ts';

const WORKER = fileURLToPath(new URL('../../../src/lb/worker.ts', import.meta.url));

class ForkingHost implements WorkerHost {
  readonly children: ChildProcess[] = [];

  spawn(): WorkerProcess {
    const child = fork(WORKER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.children.push(child);
    assert.ok(child.pid !== undefined);
    return {
      pid: child.pid,
      send: (message) => {
        if (child.connected) child.send(message as object);
      },
      onMessage: (listener) => void child.on('message', listener),
      onExit: (listener) =>
        void child.on('exit', (code, signal) => listener(`was ended by ${signal ?? code}`)),
      kill: () => void child.kill('SIGKILL'),
    };
  }
}

class RecordingSteering implements Steering {
  redirects: readonly Redirect[] = [];
  cleared = false;

  async set(redirects: readonly Redirect[]): Promise<void> {
    this.redirects = redirects;
  }

  async clear(): Promise<void> {
    this.cleared = true;
  }
}

class Agent {
  readonly host = new ForkingHost();
  readonly steering = new RecordingSteering();
  readonly controller: LbController;

  constructor(workerCount: number) {
    this.controller = new LbController({
      clock: systemClock(),
      random: prng(1),
      log: silentLogger,
      workers: this.host,
      workerCount,
      steering: this.steering,
      kernel: {
        forwarders: [],
        trial: { isRemote: () => false, run: async () => 'no kernel', close: () => undefined },
        connects: async () => true,
      },
      localAddresses: () => new Set(),
    });
  }

  /** Resolves with the first frontend's view when it fits and the VIP is steered. */
  view(fits: (view: FrontendView) => boolean): Promise<FrontendView> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`no such view; the last one: ${JSON.stringify(this.controller.view())}`));
      }, 10_000);
      const check = (): void => {
        const [view] = this.controller.view();
        if (view === undefined || !fits(view)) return;
        clearTimeout(timer);
        stop();
        resolve(view);
      };
      const stop = this.controller.onChange(check);
      check();
    });
  }

  get port(): number {
    return this.steering.redirects[0]?.toPort ?? 0;
  }

  get worker(): ChildProcess {
    const child = this.host.children.at(-1);
    assert.ok(child);
    return child;
  }
}

async function withAgent(
  play: (agent: Agent, backend: Backend) => Promise<void>,
  workerCount = 1,
): Promise<void> {
  const backend = await new Backend('a').start();
  const agent = new Agent(workerCount);
  agent.controller.set({ frontends: [frontendOf([backend.desired()])] });
  agent.controller.start();
  try {
    await agent.view(({ backends }) => backends[0]?.state === 'up');
    await play(agent, backend);
  } finally {
    await agent.controller.stop(0);
    backend.stop();
  }
}

suite('a worker process', () => {
  test('serves what the controller is told, steered by its port', async () => {
    await withAgent(async (agent) => {
      assert.deepEqual(agent.steering.redirects, [
        { address: '192.0.2.10', port: 6443, protocol: 'tcp', toPort: agent.port },
      ]);
      assert.equal(await ask(agent.port), 'a');
      const view = await agent.view(({ backends }) => backends[0]?.totalConnections === 1);
      assert.equal(view.dataPath, 'proxy');
      assert.equal(view.dataPathReason, 'as asked');
    });
  });

  test('is replaced when it is killed: same port, counters go on', async () => {
    await withAgent(async (agent) => {
      const { port } = agent;
      await ask(port);
      await agent.view(({ backends }) => backends[0]?.totalConnections === 1);
      agent.worker.kill('SIGKILL');
      const lost = await agent.view(({ backends }) => backends[0]?.state === 'down');
      assert.match(lost.dataPathReason, /the proxy worker was ended by SIGKILL; it is restarted/);
      await agent.view(({ backends }) => backends[0]?.state === 'up');

      assert.equal(agent.port, port);
      assert.equal(await ask(port), 'a');
      await agent.view(({ backends }) => backends[0]?.totalConnections === 2);
      assert.equal(agent.controller.counters().workerRestarts, 1);
      assert.equal(agent.controller.counters().frontends[0]?.accepted, 2);
    });
  });

  test('ignores a SIGTERM to its group and ends when its agent is gone', async () => {
    await withAgent(async (agent) => {
      const { worker, port } = agent;
      worker.kill('SIGTERM');
      worker.kill('SIGINT');
      assert.equal(await ask(port), 'a');
      const exit = once(worker, 'exit');
      worker.disconnect();

      assert.deepEqual(await exit, [0, null]);
    });
  });

  test('resets the clients of a released VIP', async () => {
    await withAgent(async (agent, backend) => {
      const held = Promise.withResolvers<void>();
      backend.handle = (socket) => {
        socket.resume();
        held.resolve();
      };
      const answer = ask(agent.port);
      await held.promise;
      await agent.view(({ backends }) => backends[0]?.connections === 1);
      agent.controller.releaseClients('192.0.2.10');

      assert.equal(await answer, 'ECONNRESET');
    });
  });

  test('ends with stop(), after its connections, and no redirect is left', async () => {
    const backend = await new Backend('a').start();
    const agent = new Agent(1);
    agent.controller.set({ frontends: [frontendOf([backend.desired()])] });
    agent.controller.start();
    await agent.view(({ backends }) => backends[0]?.state === 'up');
    const { worker, port } = agent;
    const exit = once(worker, 'exit');
    await agent.controller.stop(5_000);

    assert.deepEqual(await exit, [0, null]);
    assert.equal(agent.steering.cleared, true);
    assert.equal(await ask(port), 'ECONNREFUSED');
    backend.stop();
  });
});

suite('several worker processes', () => {
  /** Twenty more connections that the backend keeps; resolves when all are served. */
  async function hold(agent: Agent, before: number): Promise<net.Socket[]> {
    const sockets = Array.from({ length: 20 }, () => net.connect(agent.port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => undefined).resume();
    await agent.view(({ backends }) => backends[0]?.connections === before + 20);
    return sockets;
  }

  /** Until each of the workers has carried some of the connections that are made meanwhile. */
  async function share(agent: Agent, backend: Backend): Promise<net.Socket[]> {
    backend.handle = (socket) => void socket.resume();
    await until(() => agent.host.children.length === 2);
    const sockets: net.Socket[] = [];
    while (sockets.length < 1_000) {
      sockets.push(...(await hold(agent, sockets.length)));
      const shares = agent.host.children.map(({ pid }) => connectionsOf(pid ?? 0, agent.port));
      if (shares.every((share) => share >= 5)) return sockets;
    }
    throw new Error('one worker has them all');
  }

  async function until(fits: () => boolean): Promise<void> {
    while (!fits()) await sleep(5);
  }

  for (const [index, who] of [
    [0, 'the one that leads'],
    [1, 'one that follows'],
  ] as const) {
    test(`share the clients; ${who} takes its own along when it dies, and no others`, async () => {
      await withAgent(async (agent, backend) => {
        const sockets = await share(agent, backend);
        const worker = agent.host.children[index];
        assert.ok(worker?.pid !== undefined);
        const { port } = agent;
        const mine = connectionsOf(worker.pid, port);
        let isDown = false;
        const stop = agent.controller.onChange(() => {
          isDown ||= agent.controller.view()[0]?.backends[0]?.state === 'down';
        });
        worker.kill('SIGKILL');
        await agent.view(({ backends }) => backends[0]?.connections === sockets.length - mine);
        await until(() => sockets.filter(({ closed }) => closed).length >= mine);

        assert.equal(sockets.filter(({ closed }) => closed).length, mine);
        assert.equal(agent.port, port);
        // Nothing had to be found out anew, and new clients are served all the time.
        backend.handle = (socket) => void socket.end('a');
        for (let i = 0; i < 20; i++) assert.equal(await ask(port), 'a');
        assert.equal(isDown, false);
        stop();
        // Whoever leads now probes.
        backend.stop();
        await agent.view(({ backends }) => backends[0]?.state === 'down');
        await backend.start();
        await agent.view(({ backends }) => backends[0]?.state === 'up');
        for (const socket of sockets) socket.destroy();
      }, 2);
    });
  }

  test('probe each backend once, not once each', async () => {
    let connections = 0;
    await withAgent(async (agent, backend) => {
      backend.handle = (socket) => {
        connections++;
        socket.resume();
      };
      await until(() => agent.host.children.length === 3);
      await until(() => connections > 0);
      connections = 0;
      await sleep(1_000);
      // One each 20 ms, a tenth earlier at most; three would make 150 of them.
      assert.ok(connections > 5 && connections < 75, `${connections} probes`);
    }, 3);
  });
});

/** Established connections to `port` of this host that a process holds; proc(5), net/tcp and fd. */
function connectionsOf(pid: number, port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = new Set<string>();
  for (const line of readFileSync(`/proc/${pid}/net/tcp6`, 'utf8').split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[1]?.endsWith(local) && fields[3] === '01') inodes.add(`socket:[${fields[9]}]`);
  }
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).filter((fd) => inodes.has(targetOf(`${folder}/${fd}`))).length;
}

/** Empty where the descriptor was closed since the folder was read. */
function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
