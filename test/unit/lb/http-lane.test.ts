/** HTTP on real sockets: what passes, what is added, and what a client sees when things break. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import * as net from 'node:net';
import { suite, test } from 'node:test';
import * as tls from 'node:tls';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import type { LaneBackend, LaneCounts } from '../../../src/lb/carrier-protocol.ts';
import { HttpLane } from '../../../src/lb/http-lane.ts';
import type { HttpOptions } from '../../../src/lb/ports.ts';
import { createDoorSockets, tuneConnection } from '../../../src/linux/stream-sockets.ts';
import { certificateFor } from './certificates.ts';
import { ManualClock } from './manual-clock.ts';
import { closedPort } from './world.ts';

const HOST = '127.0.0.1';
const PLAIN: HttpOptions = { tls: null, backendTls: null };
const ours = certificateFor('holdfast.example', 'IP:127.0.0.1');
const renewed = certificateFor('renewed.example', 'IP:127.0.0.1');
const theirs = certificateFor('api.example', 'DNS:api.example');

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

/** Says its name, unless told otherwise. */
class Server {
  readonly name: string;
  readonly server: http.Server;
  handle: Handler = (_, response) => void response.end(this.name);

  constructor(name: string, encrypted = false) {
    this.name = name;
    const handle: Handler = (request, response) => this.handle(request, response);
    this.server = encrypted
      ? https.createServer({ cert: theirs.cert, key: theirs.key }, handle)
      : http.createServer(handle);
  }

  async start(): Promise<LaneBackend> {
    this.server.listen(0, HOST);
    await once(this.server, 'listening');
    const { port } = this.server.address() as net.AddressInfo;
    return { name: this.name, address: HOST, port, weight: 1, preferred: true };
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

interface Bed {
  readonly names?: readonly string[];
  readonly options?: HttpOptions;
  readonly maxClients?: number;
  readonly encrypted?: boolean;
}

class World {
  /** For certificates that are read again; everything else has the machine's. */
  readonly clock = new ManualClock();
  readonly files = new Map<string, string>();
  readonly servers: Server[] = [];
  readonly backends: LaneBackend[] = [];
  readonly failures: string[] = [];
  readonly lane: HttpLane;
  #counts: LaneCounts | null = null;
  readonly #waiting = new Set<() => void>();
  port = 0;

  constructor({ options = PLAIN, maxClients = 100 }: Bed) {
    for (const { certFile, keyFile, cert, key } of [ours, theirs]) {
      this.files.set(certFile, cert).set(keyFile, key);
    }
    const read = (path: string): string => {
      const text = this.files.get(path);
      if (text === undefined) throw new Error(`ENOENT: ${path}`);
      return text;
    };
    this.lane = new HttpLane(
      {
        failed: (backend, { kind, reason }) => {
          this.failures.push(`${backend} ${kind} ${reason}`);
        },
        counted: (counts) => {
          this.#counts = counts;
          for (const look of this.#waiting) look();
        },
      },
      {
        clock: options.tls === null ? systemClock() : this.clock,
        log: silentLogger,
        options,
        readFile: async (path) => read(path),
        readFileNow: read,
        maxClients,
        tune: tuneConnection,
      },
    );
  }

  async begin({ names = ['a', 'b'], encrypted = false }: Bed): Promise<void> {
    for (const name of names) {
      const server = new Server(name, encrypted);
      this.servers.push(server);
      this.backends.push(await server.start());
    }
    this.lane.plan({ scheduler: 'round-robin', backends: this.backends });
    this.open();
  }

  open(): void {
    const doors = createDoorSockets();
    const { fd, port } = doors.claim(0);
    this.port = port;
    try {
      this.lane.open(doors.listen(port));
    } finally {
      doors.close(fd);
    }
  }

  server(name: string): Server {
    const server = this.servers.find((each) => each.name === name);
    assert.ok(server, name);
    return server;
  }

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
    this.lane.resetClients();
    for (const server of this.servers) server.stop();
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

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request on a connection of its own, unless an agent keeps one. */
async function ask(
  port: number,
  options: https.RequestOptions & { readonly encrypted?: boolean; readonly send?: string } = {},
): Promise<Answer> {
  const { encrypted = false, send, ...rest } = options;
  const all = { host: HOST, port, agent: false, ...rest };
  const request = encrypted ? https.request({ ...all, ca: ours.cert }) : http.request(all);
  request.end(send);
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode ?? 0, body };
}

suite('a lane for HTTP', () => {
  test('spreads connections, and leaves one with its backend', async () => {
    await withLane({}, async ({ port }) => {
      const bodies: string[] = [];
      for (let i = 0; i < 4; i++) bodies.push((await ask(port)).body);
      assert.deepEqual(bodies, ['a', 'b', 'a', 'b']);

      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const kept: string[] = [];
      for (let i = 0; i < 4; i++) kept.push((await ask(port, { agent })).body);
      assert.deepEqual(kept, ['a', 'a', 'a', 'a']);
      agent.destroy();
    });
  });

  test('passes a request on word for word, and says who sent it', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      const seen: http.IncomingMessage[] = [];
      world.server('a').handle = (request, response) => {
        seen.push(request);
        request.pipe(response);
      };
      const path = '/api/v1//namespaces/x%2Fy?watch=true&labelSelector=a%3Db';
      const headers = { host: 'api.example:6443', 'x-forwarded-for': '203.0.113.9' };
      const answer = await ask(world.port, { method: 'PATCH', path, headers, send: '{"a":1}' });

      assert.deepEqual(answer, { status: 200, body: '{"a":1}' });
      assert.equal(seen[0]?.method, 'PATCH');
      assert.equal(seen[0]?.url, path);
      assert.equal(seen[0]?.headers.host, 'api.example:6443');
      assert.equal(seen[0]?.headers['x-forwarded-for'], '203.0.113.9, 127.0.0.1');
      assert.equal(seen[0]?.headers['x-forwarded-proto'], 'http');
      assert.equal(seen[0]?.headers['x-forwarded-host'], 'api.example:6443');
    });
  });

  test('passes a stream on as it comes', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      const streams: http.ServerResponse[] = [];
      world.server('a').handle = (_, response) => {
        streams.push(response);
        response.write('ADDED\n');
      };
      const request = http.get({ host: HOST, port: world.port, agent: false });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      assert.equal(String((await once(response, 'data'))[0]), 'ADDED\n');
      streams[0]?.write('MODIFIED\n');
      assert.equal(String((await once(response, 'data'))[0]), 'MODIFIED\n');
      streams[0]?.end();
      await once(response, 'end');
      assert.equal(response.complete, true);
    });
  });

  test('cuts off what its backend cuts off', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      world.server('a').handle = (_, response) => {
        response.write('ADDED\n');
        setImmediate(() => response.destroy());
      };
      const request = http.get({ host: HOST, port: world.port, agent: false });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const [error] = (await once(response.resume(), 'error')) as [NodeJS.ErrnoException];

      assert.equal(error.code, 'ECONNRESET');
      assert.equal(response.complete, false);
    });
  });

  test('tells a backend that the client of a stream has gone', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      const gone = Promise.withResolvers<void>();
      world.server('a').handle = (_, response) => {
        response.write('ADDED\n');
        response.once('close', () => gone.resolve());
      };
      const request = http.get({ host: HOST, port: world.port, agent: false });
      await once(request, 'response');
      request.destroy();

      await gone.promise;
      const counts = await world.counted(({ clients }) => clients === 0);
      assert.equal(counts.counters.accepted, 1);
      await world.counted(({ backends }) => backends.get('a')?.open === 0);
    });
  });
});

/** Answers an upgrade, then says everything twice. */
function echo(server: http.Server, heads: http.IncomingMessage[] = []): void {
  server.on('upgrade', (request, socket, head) => {
    heads.push(request);
    const { upgrade } = request.headers;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: ${upgrade}\r\n`);
    socket.write('connection: Upgrade\r\n\r\n');
    if (head.length > 0) socket.write(Buffer.concat([head, head]));
    socket.on('data', (bytes: Buffer) => socket.write(Buffer.concat([bytes, bytes])));
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end('bye'));
  });
}

suite('an upgrade through a lane for HTTP', () => {
  for (const [method, protocol] of [
    ['POST', 'SPDY/3.1'],
    ['GET', 'websocket'],
  ] as const) {
    test(`becomes a connection, both ways, to the end (${protocol})`, async () => {
      await withLane({ names: ['a'] }, async (world) => {
        const heads: http.IncomingMessage[] = [];
        echo(world.server('a').server, heads);
        const request = http.request({
          ...{ host: HOST, port: world.port, agent: false, method },
          path: '/api/v1/namespaces/x/pods/y/exec?command=sh',
          headers: { connection: 'Upgrade', upgrade: protocol },
        });
        request.end();
        const [response, socket] = (await once(request, 'upgrade')) as [
          http.IncomingMessage,
          net.Socket,
        ];
        assert.equal(response.statusCode, 101);
        socket.write('ping');
        assert.equal(String((await once(socket, 'data'))[0]), 'pingping');
        socket.end();
        assert.equal(String((await once(socket, 'data'))[0]), 'bye');

        assert.equal(heads[0]?.method, method);
        assert.equal(heads[0]?.headers.upgrade, protocol);
        assert.equal(heads[0]?.headers['x-forwarded-for'], '127.0.0.1');
        await world.counted(({ clients }) => clients === 0);
      });
    });
  }

  test('may be refused, in the words of the backend', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      world.server('a').handle = (_, response) => void response.writeHead(403).end('no exec');
      const headers = { connection: 'Upgrade', upgrade: 'websocket' };

      assert.deepEqual(await ask(world.port, { headers }), { status: 403, body: 'no exec' });
    });
  });

  test('is refused while no backend is up', async () => {
    await withLane({ names: [] }, async (world) => {
      const headers = { connection: 'Upgrade', upgrade: 'websocket' };
      const { status, body } = await ask(world.port, { headers });

      assert.equal(status, 503);
      assert.match(body, /no backend is up/);
    });
  });
});

suite('TLS on a lane for HTTP', () => {
  const options = { ...PLAIN, tls: { certFile: ours.certFile, keyFile: ours.keyFile } };

  test('ends at the lane, which says so', async () => {
    await withLane({ names: ['a'], options }, async (world) => {
      world.server('a').handle = ({ headers }, response) =>
        void response.end(`${headers['x-forwarded-proto']} ${headers['x-forwarded-for']}`);
      const { body } = await ask(world.port, { encrypted: true });

      assert.equal(body, 'https 127.0.0.1');
    });
  });

  test('leaves each side of an upgrade its own end', async () => {
    await withLane({ names: ['a'], options }, async (world) => {
      echo(world.server('a').server);
      const request = https.request({
        ...{ host: HOST, port: world.port, agent: false, ca: ours.cert, method: 'POST' },
        headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
      });
      request.end();
      const [, socket] = (await once(request, 'upgrade')) as [unknown, tls.TLSSocket];
      let text = '';
      socket.on('data', (bytes: Buffer) => {
        text += String(bytes);
      });
      socket.end('ping');
      await once(socket, 'end');

      assert.equal(text, 'pingpingbye');
    });
  });

  test('follows a certificate that is renewed, and keeps it while the files do not fit', async () => {
    await withLane({ names: ['a'], options }, async (world) => {
      const subject = async (): Promise<string> => {
        const socket = tls.connect({ host: HOST, port: world.port, rejectUnauthorized: false });
        await once(socket, 'secureConnect');
        const { CN } = socket.getPeerCertificate().subject;
        socket.destroy();
        return String(CN);
      };
      assert.equal(await subject(), 'holdfast.example');
      world.files.set(ours.certFile, renewed.cert);
      await world.clock.advance(10_000);
      assert.equal(await subject(), 'holdfast.example');
      world.files.set(ours.keyFile, renewed.key);
      await world.clock.advance(10_000);
      assert.equal(await subject(), 'renewed.example');
    });
  });

  test('without its files opens no door, and says why', () => {
    const world = new World({ options });
    world.files.clear();

    assert.throws(() => world.open(), /ENOENT/);
  });
});

suite('backends that speak TLS', () => {
  const trusting = (trust: Partial<HttpOptions['backendTls']>): HttpOptions => ({
    tls: null,
    backendTls: { caFile: null, systemTrust: false, serverName: null, ...trust },
  });

  test('are believed where their CA and their name are', async () => {
    const options = trusting({ caFile: theirs.certFile, serverName: 'api.example' });
    await withLane({ options, encrypted: true }, async ({ port }) => {
      assert.deepEqual(await ask(port), { status: 200, body: 'a' });
    });
  });

  test('are not believed under another name; their clients are told', async () => {
    const options = trusting({ caFile: theirs.certFile, serverName: 'other.example' });
    await withLane({ options, encrypted: true, names: ['a'] }, async (world) => {
      const { status, body } = await ask(world.port);

      assert.equal(status, 503);
      assert.equal(body, 'no backend of a could be connected\n');
      assert.match(world.failures[0] ?? '', /^a timeout TLS: ERR_TLS_CERT_ALTNAME_INVALID/);
    });
  });

  test('are believed without proof where the spec says so', async () => {
    await withLane({ options: trusting({}), encrypted: true }, async ({ port }) => {
      assert.deepEqual(await ask(port), { status: 200, body: 'a' });
    });
  });
});

suite('a lane for HTTP, with backends that fail', () => {
  test('takes the next one', async () => {
    await withLane({ names: ['b'] }, async (world) => {
      const dead = { name: 'a', address: HOST, port: await closedPort(), weight: 1 };
      const backends = [{ ...dead, preferred: true }, ...world.backends];
      world.lane.plan({ scheduler: 'round-robin', backends });

      assert.deepEqual(await ask(world.port), { status: 200, body: 'b' });
      assert.deepEqual(world.failures, ['a refused ECONNREFUSED']);
      await world.counted(({ counters }) => counters.connectFailures === 1);
    });
  });

  test('says that there is none', async () => {
    await withLane({ names: [] }, async (world) => {
      assert.deepEqual(await ask(world.port), { status: 503, body: 'no backend is up\n' });
      await world.counted(({ counters }) => counters.unserved === 1);
    });
  });

  test('repeats what a kept connection swallowed, if that does no harm', async () => {
    await withLane({ names: ['a'] }, async (world) => {
      const sockets: net.Socket[] = [];
      const { server } = world.server('a');
      server.on('connection', (socket: net.Socket) => void sockets.push(socket));
      let count = 0;
      world.server('a').handle = (request, response) => {
        count++;
        // The second request dies with the connection that was kept for it.
        if (count === 2 || count === 4) request.socket.destroy();
        else response.end(`${count}`);
      };
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      assert.equal((await ask(world.port, { agent })).body, '1');
      assert.equal((await ask(world.port, { agent })).body, '3');
      const post = await ask(world.port, { agent, method: 'POST', send: 'x' });

      assert.equal(post.status, 502);
      agent.destroy();
    });
  });

  test('resets the clients of one that is gone, and no others', async () => {
    await withLane({}, async (world) => {
      const open = async (): Promise<http.IncomingMessage> => {
        const request = http.get({ host: HOST, port: world.port, agent: false });
        request.on('error', () => undefined);
        const [response] = (await once(request, 'response')) as [http.IncomingMessage];
        return response;
      };
      for (const server of world.servers) {
        server.handle = (_, response) => void response.write('ADDED\n');
      }
      const [first, second] = [await open(), await open()];
      const cut = once(first.resume(), 'error');
      world.lane.sever('a');
      const [error] = (await cut) as [NodeJS.ErrnoException];

      assert.equal(error.code, 'ECONNRESET');
      await world.counted(({ clients }) => clients === 1);
      assert.equal(second.destroyed, false);
    });
  });

  test('turns one client too many away', async () => {
    await withLane({ maxClients: 1 }, async (world) => {
      const first = net.connect(world.port, HOST);
      await world.counted(({ clients }) => clients === 1);
      const second = net.connect(world.port, HOST);
      second.on('error', () => undefined);
      await once(second.resume(), 'close');

      const counts = await world.counted(({ counters }) => counters.overLimit === 1);
      assert.equal(counts.clients, 1);
      first.destroy();
    });
  });
});
