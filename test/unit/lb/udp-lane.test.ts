/** Datagrams on real sockets: flows, their limits, and what a client sees when nobody serves. */
import assert from 'node:assert/strict';
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import type { LaneBackend, LaneCounts } from '../../../src/lb/carrier-protocol.ts';
import type { Scheduler } from '../../../src/lb/ports.ts';
import { FLOW_IDLE_MS, UdpLane } from '../../../src/lb/udp-lane.ts';
import { createDatagramDoors } from '../../../src/linux/datagram-sockets.ts';
import { ManualClock } from './manual-clock.ts';
import { Balance, frontendOf, TCP_CHECK } from './world.ts';

/** Answers each datagram with its name, the port that asked and what was asked. */
class Server {
  readonly name: string;
  readonly #socket: dgram.Socket;

  constructor(name: string, address: string) {
    this.name = name;
    this.#socket = socketFor(address);
    this.#socket.on('message', (bytes, from) =>
      this.#socket.send(`${name} ${from.port} ${bytes}`, from.port, from.address),
    );
  }

  async start(address: string): Promise<LaneBackend> {
    this.#socket.bind(0, address);
    await once(this.#socket, 'listening');
    const { port } = this.#socket.address();
    return { name: this.name, address, port, weight: 1, preferred: true };
  }

  stop(): void {
    this.#socket.close();
  }
}

/** Hears only those whom it asks, as most programs do. */
class Client {
  readonly #socket: dgram.Socket;
  readonly #connected: Promise<unknown>;

  constructor(port: number, address: string) {
    this.#socket = socketFor(address);
    this.#socket.connect(port, address);
    this.#connected = once(this.#socket, 'connect');
  }

  /** The answer, or the code of the error by which there is none. */
  async ask(text: string): Promise<string> {
    await this.#connected;
    const { promise, resolve } = Promise.withResolvers<string>();
    const answered = (bytes: Buffer): void => resolve(String(bytes));
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    this.#socket.once('message', answered).once('error', failed);
    this.#socket.send(text);
    const answer = await promise;
    this.#socket.off('message', answered).off('error', failed);
    return answer;
  }

  /** Sends without waiting for an answer. */
  async say(text: string): Promise<void> {
    await this.#connected;
    this.#socket.send(text);
  }

  close(): void {
    this.#socket.close();
  }
}

function socketFor(address: string): dgram.Socket {
  return dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
}

interface Bed {
  readonly address?: string;
  readonly servers?: number;
  readonly maxFlows?: number;
  readonly scheduler?: Scheduler;
}

/** A lane between one door and servers named a, b, … on one loopback address. */
class World {
  readonly clock = new ManualClock();
  readonly servers: Server[] = [];
  readonly failures: string[] = [];
  readonly backends: LaneBackend[] = [];
  readonly #address: string;
  readonly #clients: Client[] = [];
  readonly #waiting = new Set<() => void>();
  #counts: LaneCounts | null = null;
  #port = 0;
  readonly lane: UdpLane;

  constructor({ address = '127.0.0.1', maxFlows = 100 }: Bed) {
    this.#address = address;
    this.lane = new UdpLane(
      {
        failed: (backend, { kind, reason }) => {
          this.failures.push(`${backend} ${kind} ${reason}`);
          this.#look();
        },
        counted: (counts) => {
          this.#counts = counts;
          this.#look();
        },
      },
      { clock: this.clock, address, maxFlows },
    );
  }

  async begin({ servers = 2, scheduler = 'round-robin' }: Bed): Promise<void> {
    for (const name of ['a', 'b', 'c'].slice(0, servers)) {
      const server = new Server(name, this.#address);
      this.servers.push(server);
      this.backends.push(await server.start(this.#address));
    }
    this.lane.plan({ scheduler, backends: this.backends });
    const doors = createDatagramDoors(this.#address);
    const { fd, port } = doors.claim(0);
    this.#port = port;
    this.lane.open(doors.listen(port));
    doors.close(fd);
  }

  client(): Client {
    const client = new Client(this.#port, this.#address);
    this.#clients.push(client);
    return client;
  }

  /** Resolves when what is counted fits. */
  counted(fits: (counts: LaneCounts) => boolean): Promise<LaneCounts> {
    const { promise, resolve } = Promise.withResolvers<LaneCounts>();
    const look = (): void => {
      if (this.#counts === null || !fits(this.#counts)) return;
      this.#waiting.delete(look);
      resolve(this.#counts);
    };
    this.#waiting.add(look);
    look();
    return promise;
  }

  end(): void {
    this.lane.leave();
    for (const each of [...this.#clients, ...this.servers]) {
      if (each instanceof Client) each.close();
      else each.stop();
    }
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }
}

async function withLane(bed: Bed, play: (world: World) => Promise<void>): Promise<void> {
  const world = new World(bed);
  await world.begin(bed);
  try {
    await play(world);
  } finally {
    world.end();
  }
}

/** `a 4711 hello` → `a hello`: whose source port it was is another matter. */
function who(answer: string): string {
  return answer.replace(/ \d+ /, ' ');
}

suite('a lane for datagrams', () => {
  for (const address of ['127.0.0.1', '::1']) {
    test(`keeps each client with one backend, and spreads the clients (${address})`, async () => {
      await withLane({ address }, async (world) => {
        const clients = Array.from({ length: 4 }, () => world.client());
        const first: string[] = [];
        for (const client of clients) first.push(await client.ask('hello'));
        const again: string[] = [];
        for (const client of clients) again.push(await client.ask('hello'));

        assert.deepEqual(first.map(who), ['a hello', 'b hello', 'a hello', 'b hello']);
        // To the backend, a flow is one client: one source port.
        assert.deepEqual(again, first);
        assert.equal(new Set(first).size, 4);
        const counts = await world.counted(({ clients: open }) => open === 4);
        assert.deepEqual(counts.backends.get('a'), { open: 2, total: 2 });
      });
    });
  }

  test('passes on whatever a backend says, without being asked', async () => {
    await withLane({ servers: 1 }, async (world) => {
      const client = world.client();
      const answers = [await client.ask('one'), await client.ask('two')];

      assert.deepEqual(answers.map(who), ['a one', 'a two']);
      assert.equal(answers[0]?.split(' ')[1], answers[1]?.split(' ')[1]);
    });
  });

  test('sends one address to one backend by source-hash', async () => {
    await withLane({ servers: 3, scheduler: 'source-hash' }, async (world) => {
      const names = new Set<string>();
      for (let i = 0; i < 6; i++) names.add(who(await world.client().ask('x')));

      assert.equal(names.size, 1);
    });
  });

  test('forgets a flow in which nothing moves, and begins another', async () => {
    await withLane({}, async (world) => {
      const [client, talker] = [world.client(), world.client()];
      assert.equal(who(await client.ask('1')), 'a 1');
      assert.equal(who(await talker.ask('1')), 'b 1');
      await world.clock.advance(FLOW_IDLE_MS - 1_000);
      assert.equal(who(await talker.ask('2')), 'b 2');
      await world.clock.advance(10_000);

      await world.counted(({ clients }) => clients === 1);
      assert.equal(who(await talker.ask('3')), 'b 3');
      assert.equal(who(await client.ask('2')), 'a 2');
      await world.counted(({ backends }) => backends.get('a')?.total === 2);
    });
  });

  test('drops the datagram of one client too many; a silent flow gives way', async () => {
    await withLane({ maxFlows: 2 }, async (world) => {
      const [first, second, third] = [world.client(), world.client(), world.client()];
      await first.ask('1');
      await second.ask('1');
      await third.say('lost');
      const full = await world.counted(({ counters }) => counters.overLimit === 1);
      assert.equal(full.clients, 2);
      await world.clock.advance(6_000);
      await first.ask('2');

      assert.equal(who(await third.ask('2')), 'a 2');
      const counts = await world.counted(({ counters }) => counters.accepted === 4);
      assert.equal(counts.clients, 2);
      assert.equal(who(await first.ask('3')), 'a 3');
    });
  });

  test('tells of a backend where nobody listens; the next datagram goes elsewhere', async () => {
    await withLane({}, async (world) => {
      world.servers.shift()?.stop();
      const client = world.client();
      await client.say('lost');
      await world.counted(({ counters }) => counters.connectFailures === 1);

      assert.deepEqual(world.failures, ['a refused ECONNREFUSED']);
      assert.equal(who(await client.ask('again')), 'b again');
    });
  });

  test('ends the flows of a backend that is severed, and no others', async () => {
    await withLane({}, async (world) => {
      const [first, second] = [world.client(), world.client()];
      await first.ask('1');
      const kept = await second.ask('1');
      world.lane.sever('a');
      await world.counted(({ clients }) => clients === 1);

      assert.equal(await second.ask('1'), kept);
    });
  });
});

suite('a UDP frontend', () => {
  test('refuses datagrams at once while no backend is up, and serves again', async () => {
    const server = new Server('a', '127.0.0.1');
    const { preferred: _, ...backend } = await server.start('127.0.0.1');
    const desired = { ...backend, draining: true, mode: 'masquerade' } as const;
    const more = { protocol: 'udp', address: '127.0.0.1' } as const;
    const healthCheck = { ...TCP_CHECK, type: 'none' } as const;
    const proxy = new Balance(frontendOf([desired], { ...more, healthCheck }));
    const { port } = await proxy.report((report) => report.port > 0);
    const client = new Client(port, '127.0.0.1');
    try {
      assert.equal(await client.ask('x'), 'ECONNREFUSED');
      proxy.assign(frontendOf([{ ...desired, draining: false }], { ...more, healthCheck }));
      await proxy.report(({ serving }) => serving);
      assert.equal(who(await client.ask('x')), 'a x');
      proxy.assign(frontendOf([desired], { ...more, healthCheck }));
      await proxy.report(({ serving }) => !serving);
      assert.equal(await client.ask('x'), 'ECONNREFUSED');
    } finally {
      client.close();
      proxy.close();
      server.stop();
    }
  });
});
