/** The real worker as a real process: it serves, reports, obeys, and does not outlive its agent. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { suite, test } from 'node:test';
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
  readonly controller = new LbController({
    clock: systemClock(),
    random: prng(1),
    log: silentLogger,
    workers: this.host,
    steering: this.steering,
    kernel: {
      forwarders: [],
      trial: { isRemote: () => false, run: async () => 'no kernel', close: () => undefined },
      connects: async () => true,
    },
  });

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

async function withAgent(play: (agent: Agent, backend: Backend) => Promise<void>): Promise<void> {
  const backend = await new Backend('a').start();
  const agent = new Agent();
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
    const agent = new Agent();
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
