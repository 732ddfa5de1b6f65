/** The userspace proxy on real sockets: what a client sees, whatever the backends do. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import * as net from 'node:net';
import { suite, test } from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { Worker as Thread } from 'node:worker_threads';
import { CONNECT_TIMEOUT_MS, FINAL_CONNECT_TIMEOUT_MS } from '../../../src/lb/carrier.ts';
import type { DesiredFrontend } from '../../../src/lb/ports.ts';
import {
  ask,
  Backend,
  Balance,
  closedPort,
  errorOf,
  frontendOf,
  HttpBackend,
  TCP_CHECK,
} from './world.ts';

/** Probes that come once: what follows is seen by clients alone. */
const ONE_PROBE = { ...TCP_CHECK, intervalMs: 60_000 };

async function withProxy(
  backends: readonly Backend[],
  play: (proxy: Balance) => Promise<void>,
  more: Partial<DesiredFrontend> = {},
  options: { readonly maxConnections?: number } = {},
): Promise<void> {
  await Promise.all(backends.map((backend) => backend.start()));
  const proxy = new Balance(
    frontendOf(
      backends.map((each) => each.desired()),
      more,
    ),
    options,
  );
  try {
    await play(proxy);
  } finally {
    proxy.close();
    for (const backend of backends) backend.stop();
  }
}

/** A backend that keeps its connections: `accepted()` is the next one that a client talks on. */
function listening(name: string): { backend: Backend; accepted: () => Promise<net.Socket> } {
  const takers: ((socket: net.Socket) => void)[] = [];
  const backend = new Backend(name, (socket) => {
    socket.once('readable', () => {
      // A probe says nothing before it ends.
      if (socket.readableLength > 0) takers.shift()?.(socket);
      else socket.destroy();
    });
  });
  return { backend, accepted: () => new Promise((resolve) => takers.push(resolve)) };
}

async function readAll(socket: net.Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

suite('a proxied connection', () => {
  test('spreads 1,000 connections in a row evenly', async () => {
    const backends = ['a', 'b', 'c'].map((name) => new Backend(name));
    await withProxy(backends, async (proxy) => {
      await proxy.states('up', 'up', 'up');
      const counts = new Map<string, number>();
      for (let i = 0; i < 1_000; i++) {
        const name = await proxy.ask();
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }

      assert.deepEqual([...counts.values()].sort(), [333, 333, 334]);
      const report = await proxy.report(({ counters }) => counters.accepted === 1_000);
      assert.equal(report.counters.connectFailures, 0);
      assert.deepEqual(
        report.backends.map(({ totalConnections }) => totalConnections).sort(),
        [333, 333, 334],
      );
    });
  });

  test('goes on from client to backend after the backend has ended its side', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.write('hello ');
      const there = await server;
      there.end('bye');

      assert.equal(await readAll(client), 'bye');
      client.end('world');
      assert.equal(await readAll(there), 'hello world');
    });
  });

  test('goes on from backend to client after the client has ended its side', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.end('request');
      const there = await server;

      assert.equal(await readAll(there), 'request');
      there.write('part one, ');
      there.end('part two');
      assert.equal(await readAll(client), 'part one, part two');
      await proxy.report(({ clients }) => clients === 0);
    });
  });

  test('slows a backend down to the pace of its client, and loses nothing', async () => {
    const total = 64 * 1024 * 1024;
    const chunk = randomBytes(64 * 1024);
    const [said, heard] = [createHash('sha256'), createHash('sha256')];
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.pause();
      client.write('go');
      const there = await server;
      let written = 0;
      const blocked = Promise.withResolvers<void>();
      const pour = (): void => {
        while (written < total) {
          written += chunk.length;
          chunk.writeUInt32LE(written);
          said.update(chunk);
          if (!there.write(Buffer.from(chunk))) {
            blocked.resolve();
            return void there.once('drain', pour);
          }
        }
        there.end();
      };
      pour();
      await blocked.promise;
      let before = -1;
      while (before !== written) {
        before = written;
        for (let i = 0; i < 500; i++) await turn();
      }

      assert.ok(written < total / 2, `${written} bytes left the backend for a client that sleeps`);
      let read = 0;
      for await (const part of client) {
        read += (part as Buffer).length;
        heard.update(part as Buffer);
      }
      assert.equal(read, written);
      assert.equal(read, total);
      assert.equal(heard.digest('hex'), said.digest('hex'), 'byte for byte');
    });
  });

  test('may sleep on what it asked for, and takes nothing along when it goes', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const descriptors = (): number => readdirSync('/proc/self/fd').length;
      const before = descriptors();
      const much = Buffer.alloc(32 * 1024 * 1024);
      const pairs: { readonly client: net.Socket; readonly there: net.Socket }[] = [];
      for (let i = 0; i < 3; i++) {
        const client = await proxy.connect();
        const server = accepted();
        client.pause();
        client.write('go');
        const there = await server;
        there.write(much);
        pairs.push({ client, there });
      }
      // Its two sockets on this side, two on that one, and a duct.
      while (descriptors() < before + 6 * pairs.length) await turn();

      for (const { client, there } of pairs) {
        client.resetAndDestroy();
        assert.equal(await errorOf(there), 'ECONNRESET');
      }
      await proxy.report(({ clients }) => clients === 0);
      assert.ok(descriptors() <= before + 2 * pairs.length, 'no more than spare ducts');
    });
  });

  test('is not cut off for being idle: it outlives every timeout of the proxy', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.write('watch');
      const there = await server;
      there.resume();

      await sleep(FINAL_CONNECT_TIMEOUT_MS + 100);
      there.end('event');
      assert.equal(await readAll(client), 'event');
    });
  });

  test('passes a reset of the backend on as a reset', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.write('x');
      (await server).resetAndDestroy();

      assert.equal(await errorOf(client), 'ECONNRESET');
    });
  });

  test('leaves nothing behind when the client aborts', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      for (let i = 0; i < 20; i++) {
        const client = await proxy.connect();
        const server = accepted();
        client.write('x');
        const there = await server;
        there.resume();
        client.resetAndDestroy();
        assert.equal(await errorOf(there), 'ECONNRESET');
      }

      const report = await proxy.report(
        ({ clients, counters }) => clients === 0 && counters.accepted === 20,
      );
      await proxy.report(({ backends }) => backends[0]?.connections === 0);
      assert.equal(report.counters.unserved, 0);
    });
  });
});

suite('a backend that refuses connections', () => {
  test('is made good by the next one, and found out by the clients', async () => {
    const [a, b] = [new Backend('a'), new Backend('b')];
    await withProxy(
      [a, b],
      async (proxy) => {
        await proxy.states('up', 'up');
        a.stop();
        for (let i = 0; i < 10; i++) assert.equal(await proxy.ask(), 'b');

        const report = await proxy.states('down', 'up');
        assert.equal(report.backends[0]?.reason, 'connect refused');
        assert.equal(report.counters.unserved, 0);
        assert.ok(report.counters.connectFailures >= 1);
      },
      { healthCheck: ONE_PROBE },
    );
  });

  test('is served again after `rise` probes', async () => {
    const [a, b] = [new Backend('a'), new Backend('b')];
    await withProxy([a, b], async (proxy) => {
      await proxy.states('up', 'up');
      a.stop();
      await proxy.states('down', 'up');
      await a.start();
      await proxy.states('up', 'up');

      assert.deepEqual([await proxy.ask(), await proxy.ask()].sort(), ['a', 'b']);
    });
  });

  test('resets the client when there is no other', async () => {
    const a = new Backend('a');
    await withProxy(
      [a],
      async (proxy) => {
        await proxy.states('up');
        a.stop();

        assert.equal(await proxy.ask(), 'ECONNRESET');
        const report = await proxy.report(({ counters }) => counters.unserved === 1);
        assert.equal(report.counters.accepted, 1);
      },
      { healthCheck: { ...ONE_PROBE, fall: 3 } },
    );
  });
});

suite('a favoured backend', () => {
  const [first, second, third] = ['a', 'b', 'c'].map((name) => new Backend(name));
  assert.ok(first && second && third);

  test('gets every connection, until it refuses: then the others, and nobody is lost', async () => {
    await withProxy(
      [first, second, third],
      async (proxy) => {
        await proxy.states('up', 'up', 'up');
        proxy.assign(proxy.frontend, ['b']);
        const before = await askTimes(proxy, 20);

        second.stop();
        const after = await askTimes(proxy, 20);

        assert.deepEqual(before, { b: 20 });
        assert.deepEqual(Object.keys(after).sort(), ['a', 'c']);
        assert.equal((after.a ?? 0) + (after.c ?? 0), 20, 'nobody was let down');
        await proxy.states('up', 'down', 'up');
        await second.start();
        await proxy.states('up', 'up', 'up');
        assert.deepEqual(await askTimes(proxy, 20), { b: 20 });
      },
      { healthCheck: TCP_CHECK },
    );
  });
});

async function askTimes(proxy: Balance, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const name = await proxy.ask();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

suite('established connections', () => {
  test('are reset when connections to their backend are refused `fall` times', async () => {
    const a = listening('a');
    const b = new Backend('b');
    await withProxy([a.backend, b], async (proxy) => {
      await proxy.states('up', 'up');
      // The first in rotation, and so the one that is held.
      const client = await proxy.connect();
      const there = a.accepted();
      client.write('watch');
      (await there).resume();
      a.backend.refuse();

      assert.equal(await errorOf(client), 'ECONNRESET');
      const report = await proxy.states('down', 'up');
      assert.equal(report.backends[0]?.reason, 'connect refused');
      await proxy.report(({ backends }) => backends[0]?.connections === 0);
    });
  });

  test('go on when probes are answered badly, however long', async () => {
    const sick = await new HttpBackend('a').start();
    const well = await new HttpBackend('b').start();
    const proxy = new Balance(
      frontendOf([sick.desired(), well.desired()], {
        healthCheck: { ...TCP_CHECK, type: 'http' },
      }),
    );
    try {
      await proxy.states('up', 'up');
      const client = await proxy.connect();
      await proxy.report(({ backends }) => backends[0]?.connections === 1);
      sick.status = 500;
      await proxy.states('down', 'up');
      await sleep(20 * TCP_CHECK.intervalMs);
      client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');

      assert.match(await readAll(client), /500 Internal Server Error/);
    } finally {
      proxy.close();
      sick.stop();
      well.stop();
    }
  });
});

suite('a backend that does not answer', () => {
  /** A port of loopback that leaves every SYN without an answer, and how to end that. */
  async function silentPort(): Promise<{ port: number; end: () => Promise<unknown> }> {
    const thread = new Thread(new URL('./hung-backend.ts', import.meta.url), {
      workerData: new SharedArrayBuffer(4),
    });
    const [port] = (await once(thread, 'message')) as [number];
    const fillers: net.Socket[] = [];
    for (;;) {
      const filler = net.connect(port, '127.0.0.1');
      filler.on('error', () => undefined);
      fillers.push(filler);
      const connected = once(filler, 'connect').then(() => true);
      if (!(await Promise.race([connected, sleep(100, false)]))) break;
    }
    const end = async (): Promise<void> => {
      for (const filler of fillers) filler.destroy();
      await thread.terminate();
    };
    return { port, end };
  }

  test('costs one client a moment, and the clients after it nothing', async () => {
    const { port, end } = await silentPort();
    const silent = new Backend('a').desired({ port });
    const b = new Backend('b');
    const durations: number[] = [];
    await withProxy([b], async (proxy) => {
      const healthCheck = { ...ONE_PROBE, type: 'none' } as const;
      proxy.assign(frontendOf([silent, b.desired()], { healthCheck }));
      await proxy.states('up', 'up');
      for (let i = 0; i < 4; i++) {
        const began = performance.now();
        assert.equal(await proxy.ask(), 'b');
        durations.push(performance.now() - began);
      }
    }).finally(end);

    const slow = durations.filter((ms) => ms >= CONNECT_TIMEOUT_MS);
    assert.equal(slow.length, 1, durations.join());
    assert.ok(Math.max(...durations) < FINAL_CONNECT_TIMEOUT_MS, durations.join());
  });
});

suite('with no backend that accepts TCP', () => {
  test('clients are refused at once, and served again on the same port', async () => {
    const [a, b] = [new Backend('a'), new Backend('b')];
    await withProxy([a, b], async (proxy) => {
      const { port } = await proxy.states('up', 'up');
      a.stop();
      b.stop();
      await proxy.states('down', 'down');
      const began = performance.now();

      assert.equal(await ask(port), 'ECONNREFUSED');
      assert.ok(performance.now() - began < 100);
      await b.start();
      const back = await proxy.report((report) => report.serving);
      assert.equal(back.port, port);
      assert.equal(await ask(port), 'b');
    });
  });

  test('a port is known before the first backend is', async () => {
    const proxy = new Balance(frontendOf([]));
    const report = await proxy.report(({ port }) => port > 0);

    assert.equal(report.serving, false);
    assert.equal(await ask(report.port), 'ECONNREFUSED');
    proxy.close();
  });

  test('nobody else gets the port meanwhile', async () => {
    const proxy = new Balance(frontendOf([]));
    const { port } = await proxy.report((report) => report.port > 0);
    const thief = net.createServer();
    thief.listen(port);

    const [error] = (await once(thief, 'error')) as [NodeJS.ErrnoException];
    assert.equal(error.code, 'EADDRINUSE');
    proxy.close();
  });

  test('a connection that lives stays alive', async () => {
    const { backend, accepted } = listening('a');
    const dead = { name: 'a', address: '127.0.0.1', port: await closedPort() };
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.write('x');
      const there = await server;
      proxy.assign(frontendOf([backend.desired(dead)]));
      await proxy.report((report) => !report.serving);
      there.end('still here');

      assert.equal(await readAll(client), 'still here');
    });
  });
});

suite('health checks over HTTP', () => {
  const check = { ...TCP_CHECK, type: 'http' } as const;

  async function withHttp(play: (proxy: Balance, backends: HttpBackend[]) => Promise<void>) {
    const backends = ['a', 'b'].map((name) => new HttpBackend(name));
    await Promise.all(backends.map((backend) => backend.start()));
    const desired = backends.map((backend) => backend.desired());
    const proxy = new Balance(frontendOf(desired, { healthCheck: check }));
    try {
      await play(proxy, backends);
    } finally {
      proxy.close();
      for (const backend of backends) backend.stop();
    }
  }

  async function get(proxy: Balance): Promise<string> {
    const client = await proxy.connect();
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    return (await readAll(client)).split('\r\n')[0] ?? '';
  }

  test('a backend that answers 500 gets no new connection while another is up', async () => {
    await withHttp(async (proxy, [a]) => {
      await proxy.states('up', 'up');
      assert.ok(a);
      a.status = 500;
      const report = await proxy.states('down', 'up');

      assert.equal(report.backends[0]?.reason, '500 Internal Server Error');
      for (let i = 0; i < 6; i++) assert.equal(await get(proxy), 'HTTP/1.1 200 OK');
    });
  });

  test('when all answer 500, nobody is refused at any time', async () => {
    await withHttp(async (proxy, backends) => {
      await proxy.states('up', 'up');
      for (const backend of backends) backend.status = 500;
      const done = proxy.states('degraded', 'degraded');
      let degraded = false;
      void done.then(() => {
        degraded = true;
      });
      do {
        assert.equal(await get(proxy), 'HTTP/1.1 500 Internal Server Error');
      } while (!degraded);

      for (const backend of backends) backend.status = 200;
      await proxy.states('up', 'up');
      const report = await proxy.report(({ counters }) => counters.accepted > 0);
      assert.equal(report.counters.unserved, 0);
    });
  });

  for (const status of [401, 403]) {
    test(`${status} counts as up`, async () => {
      await withHttp(async (proxy, backends) => {
        for (const backend of backends) backend.status = status;
        const report = await proxy.report(
          ({ backends: [first] }) => first?.reason === 'up, anonymous refused',
        );

        assert.equal(report.backends[0]?.state, 'up');
      });
    });
  }
});

suite('a changed wish', () => {
  test('drains: no new connection, those that live go on', async () => {
    const { backend: a, accepted } = listening('a');
    const b = new Backend('b');
    await withProxy([a], async (proxy) => {
      await b.start();
      const client = await proxy.connect();
      const server = accepted();
      client.write('x');
      const there = await server;
      proxy.assign(frontendOf([a.desired({ draining: true }), b.desired()]));
      await proxy.states('draining', 'up');

      for (let i = 0; i < 4; i++) assert.equal(await proxy.ask(), 'b');
      await proxy.report(({ backends }) => backends[0]?.connections === 1);
      await proxy.states('draining', 'up');
      there.end('done');
      assert.equal(await readAll(client), 'done');
      b.stop();
    });
  });

  test('resets the clients of a VIP that is released, and of no other', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const server = accepted();
      client.write('x');
      const there = await server;
      there.resume();
      proxy.release('192.0.2.99');
      there.write('alive');
      assert.equal(String((await once(client, 'data'))[0]), 'alive');
      const upstreamGone = errorOf(there);
      proxy.release('192.0.2.10');

      assert.equal(await errorOf(client), 'ECONNRESET');
      assert.equal(await upstreamGone, 'ECONNRESET');
      await proxy.report(({ clients }) => clients === 0);
    });
  });

  test('a frontend that is gone refuses, and its clients are reset', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const client = await proxy.connect();
      const { port } = await proxy.report((report) => report.serving);
      const server = accepted();
      client.write('x');
      await server;
      proxy.assign(frontendOf([backend.desired()], { name: 'other' }));

      assert.equal(await errorOf(client), 'ECONNRESET');
      assert.equal(await ask(port), 'ECONNREFUSED');
    });
  });

  test('drain() waits for connections, up to its grace', async () => {
    const { backend, accepted } = listening('a');
    await withProxy([backend], async (proxy) => {
      const [first, second] = [await proxy.connect(), await proxy.connect()];
      for (const client of [first, second]) {
        const server = accepted();
        client.write('x');
        await server;
      }
      const drained = proxy.drain(300);
      const [there] = backend.sockets;
      assert.ok(there);
      const reset = Promise.race([errorOf(first), errorOf(second)]);
      there.end('');

      assert.equal(await reset, 'ECONNRESET');
      await drained;
    });
  });
});

test('a process that holds as many connections as it may resets further ones', async () => {
  const { backend } = listening('a');
  await withProxy(
    [backend],
    async (proxy) => {
      const held = [await proxy.connect(), await proxy.connect()];
      await proxy.report(({ clients }) => clients === 2);

      assert.equal(await proxy.ask(), 'ECONNRESET');
      held[0]?.resetAndDestroy();
      const report = await proxy.report(({ clients }) => clients === 1);
      assert.equal(report.counters.overLimit, 1);
      const again = await proxy.connect();
      await proxy.report(({ clients }) => clients === 2);
      for (const client of [again, held[1]]) client?.resetAndDestroy();
    },
    {},
    { maxConnections: 2 },
  );
});
