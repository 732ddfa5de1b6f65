/** One probe against one server: what it reports, and in which words. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../src/base/clock.ts';
import type { ProbeResult } from '../../../src/lb/health.ts';
import type { HealthCheck } from '../../../src/lb/ports.ts';
import { createProber } from '../../../src/lb/probe.ts';
import { certificateFor } from './certificates.ts';
import { ManualClock } from './manual-clock.ts';
import { closedPort, TCP_CHECK } from './world.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-probe-'));
const keyFile = join(directory, 'key.pem');
const certFile = join(directory, 'cert.pem');
execFileSync(
  'openssl',
  [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', keyFile, '-out', certFile, '-days', '2', '-subj', '/CN=probe test'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1'],
  ],
  { stdio: 'ignore' },
);
const certificate = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
after(() => rmSync(directory, { recursive: true }));

function probe(
  port: number,
  check: Partial<HealthCheck>,
  signal = new AbortController().signal,
): Promise<ProbeResult> {
  const prober = createProber(
    { ...TCP_CHECK, ...check },
    { clock: systemClock(), readFile: (path) => readFile(path, 'utf8') },
  );
  return prober({ address: '127.0.0.1', port }, signal);
}

/** Probes `server` and closes it. */
async function probing(server: net.Server, check: Partial<HealthCheck>): Promise<ProbeResult> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await probe((server.address() as net.AddressInfo).port, check);
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}

function answering(status: number, seen: (request: http.IncomingMessage) => void = () => {}) {
  return (request: http.IncomingMessage, response: http.ServerResponse): void => {
    seen(request);
    response.writeHead(status).end('x');
  };
}

suite('a TCP probe', () => {
  test('is content with a connection', async () => {
    const result = await probing(net.createServer(), { type: 'tcp' });

    assert.deepEqual(result, { acceptsTcp: true, healthy: true, reason: 'connects' });
  });

  test('says that it was refused', async () => {
    const result = await probe(await closedPort(), { type: 'tcp' });

    assert.deepEqual(result, { acceptsTcp: false, healthy: false, reason: 'connect refused' });
  });

  test('ends when it is given up', async () => {
    const giveUp = new AbortController();
    const result = probe(await closedPort(), { type: 'tcp' }, giveUp.signal);
    giveUp.abort();

    assert.equal((await result).reason, 'given up');
  });
});

suite('an HTTP probe', () => {
  const table = [
    { status: 200, healthy: true, reason: '200 OK' },
    { status: 204, healthy: false, reason: '204 No Content, not 200' },
    { status: 401, healthy: true, reason: 'up, anonymous refused' },
    { status: 403, healthy: true, reason: 'up, anonymous refused' },
    { status: 404, healthy: false, reason: '404 Not Found' },
    { status: 500, healthy: false, reason: '500 Internal Server Error' },
  ];
  for (const { status, healthy, reason } of table) {
    test(`takes ${status} for ${healthy ? 'up' : 'down'}`, async () => {
      const result = await probing(http.createServer(answering(status)), { type: 'http' });

      assert.deepEqual(result, { acceptsTcp: true, healthy, reason });
    });
  }

  test('expects the status that it was told', async () => {
    const result = await probing(http.createServer(answering(404)), {
      type: 'http',
      expectStatus: 404,
    });

    assert.equal(result.healthy, true);
  });

  test('asks for path and query, by a name of its own', async () => {
    const seen: (string | undefined)[] = [];
    const server = http.createServer(
      answering(200, ({ url, headers }) => seen.push(url, headers['user-agent'])),
    );
    await probing(server, { type: 'http', path: '/readyz?exclude=etcd' });

    assert.deepEqual(seen, ['/readyz?exclude=etcd', 'holdfast-probe']);
  });

  test('tells silence after connecting from silence before it', async () => {
    const result = await probing(net.createServer(), { type: 'http', timeoutMs: 50 });
    const { late, ...seen } = result;

    assert.deepEqual(seen, {
      acceptsTcp: true,
      healthy: false,
      reason: 'connected, but no answer within 50 ms',
    });
    assert.equal(await late?.came, true, 'the end of the connection is an answer');
  });

  test('goes on listening for an answer that comes too late, for half a minute', async () => {
    const clock = new ManualClock();
    const prober = createProber(
      { ...TCP_CHECK, type: 'http' },
      {
        clock,
        readFile: () => Promise.reject(new Error('no such file')),
      },
    );
    for (const answers of [true, false]) {
      const server = http.createServer((_, response) => {
        if (answers) void late.then(() => response.end());
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as net.AddressInfo;
      const { promise: late, resolve: answer } = Promise.withResolvers<void>();
      const asked = once(server, 'request');
      const probing = prober({ address: '127.0.0.1', port }, new AbortController().signal);
      await asked;
      await clock.advance(501);
      const result = await probing;
      answer();
      if (!answers) await clock.advance(30_001);

      assert.equal(result.acceptsTcp, true);
      assert.equal(await result.late?.came, answers);
      server.close();
      server.closeAllConnections();
    }
  });

  test('does not blame the server for a pause of this process', async () => {
    const server = http.createServer((_, response) => {
      response.end('x');
      const resumeAt = performance.now() + 120;
      while (performance.now() < resumeAt);
    });
    const result = await probing(server, { type: 'http', timeoutMs: 50 });

    assert.equal(result.reason, '200 OK');
  });

  test('says when it was hung up on', async () => {
    const result = await probing(
      net.createServer((socket) => socket.destroy()),
      { type: 'http' },
    );

    assert.equal(result.acceptsTcp, true);
    assert.equal(result.reason, 'connected, but closed without an answer');
  });

  test('says when the answer is no HTTP', async () => {
    const result = await probing(
      net.createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n')),
      { type: 'http' },
    );

    assert.equal(result.reason, 'connected, but no HTTP is spoken');
  });

  test('does not swallow an endless body', async () => {
    let closed = Promise.resolve<unknown>(null);
    const server = http.createServer((_, response) => {
      closed = once(response, 'close');
      const pour = (): void => {
        while (!response.destroyed && response.write('x'.repeat(16 * 1024)));
      };
      response.on('drain', pour);
      pour();
    });
    const result = await probing(server, { type: 'http' });

    assert.equal(result.healthy, true);
    await closed;
  });

  test('finds out that a path cannot be asked for, and still whether TCP is accepted', async () => {
    const result = await probing(net.createServer(), { type: 'http', path: '/a b' });

    assert.equal(result.acceptsTcp, true);
    assert.match(result.reason, /^cannot probe: /);
  });
});

suite('an HTTPS probe', () => {
  test('verifies nothing without a caFile', async () => {
    const server = https.createServer(certificate, answering(200));
    const result = await probing(server, { type: 'https' });

    assert.deepEqual(result, { acceptsTcp: true, healthy: true, reason: '200 OK' });
  });

  test('accepts a certificate that the caFile vouches for', async () => {
    const server = https.createServer(certificate, answering(200));
    const result = await probing(server, { type: 'https', caFile: certFile });

    assert.equal(result.reason, '200 OK');
  });

  test('refuses a certificate that the caFile does not vouch for', async () => {
    const otherCert = join(directory, 'other.pem');
    execFileSync(
      'openssl',
      ['req', '-x509', '-key', keyFile, '-out', otherCert, '-days', '2', '-subj', '/CN=other'],
      { stdio: 'ignore' },
    );
    const server = https.createServer(certificate, answering(200));
    const result = await probing(server, { type: 'https', caFile: otherCert });

    assert.equal(result.acceptsTcp, true);
    assert.equal(result.healthy, false);
    assert.match(result.reason, /^connected, but: .*certificate/);
  });

  test('asks for the name it is told, and wants to find it in the certificate', async () => {
    const named = certificateFor('api', 'DNS:api.example');
    const { cert, key, certFile: caFile } = named;
    const names: unknown[] = [];
    const ask = async (serverName: string | null): Promise<ProbeResult> => {
      const server = https.createServer(
        { cert, key },
        answering(200, ({ socket }) => names.push((socket as TLSSocket).servername)),
      );
      return await probing(server, { type: 'https', caFile, serverName });
    };

    assert.equal((await ask('api.example')).reason, '200 OK');
    assert.deepEqual(names, ['api.example']);
    assert.match((await ask('other.example')).reason, /^connected, but: .*altnames/);
    assert.match((await ask(null)).reason, /^connected, but: .*altnames/);
  });

  test('believes whom this host trusts, and nobody else, when told to', async () => {
    const server = https.createServer(certificate, answering(200));
    const result = await probing(server, { type: 'https', systemTrust: true });

    assert.equal(result.acceptsTcp, true);
    assert.match(result.reason, /^connected, but: .*self-signed/);
  });

  test('says that the caFile cannot be read, and still whether TCP is accepted', async () => {
    const server = https.createServer(certificate, answering(200));
    const result = await probing(server, { type: 'https', caFile: join(directory, 'none.pem') });

    assert.equal(result.acceptsTcp, true);
    assert.match(result.reason, /^cannot probe: ENOENT/);
  });

  test('says when no TLS is spoken', async () => {
    const result = await probing(http.createServer(answering(200)), { type: 'https' });

    assert.equal(result.reason, 'connected, but no TLS is spoken');
  });
});

test('type none asks nobody', async () => {
  const result = await probe(await closedPort(), { type: 'none' });

  assert.deepEqual(result, { acceptsTcp: true, healthy: true, reason: 'not checked' });
});
