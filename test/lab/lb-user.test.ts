/**
 * The data paths in user space, through the real VIP: a worker that dies, datagrams, silence,
 * half-closed connections, and HTTP with TLS and upgrades.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { lasting, until } from './clock.ts';
import { Cluster } from './cluster.ts';
import type { Held, Target } from './echo-client-child.ts';
import type { EchoServerConfig } from './echo-server-child.ts';
import { metric, metricsOf } from './endpoints.ts';
import type { Host } from './host.ts';
import { createLab, type Lab } from './lab.ts';
import { must } from './shell.ts';
import { changeSpec } from './spec.ts';
import { Station } from './station.ts';

const port = 7000;
const httpPort = 7001;
const webPort = 8443;

let lab: Lab;
let cluster: Cluster;
let holder: Host;
let outside: Station;
let inside: Station;

before(async () => {
  lab = await createLab({ hosts: 3, ipv6: true });
  const [first, ...backends] = lab.hosts;
  assert.ok(first !== undefined);
  holder = first;
  await Promise.all(backends.map(startServer));
  cluster = await Cluster.form(lab, { members: 1 });
  await certificate(holder);
  await changeSpec({ lab, cluster }, (spec) => {
    spec.frontends = lab.vips.flatMap((vip, index) => [
      frontend(`tcp-${index}`, vip, { port, dataPath: 'proxy', healthCheck: { type: 'tcp' } }),
      frontend(`udp-${index}`, vip, { port, dataPath: 'proxy', protocol: 'udp' }),
      frontend(`web-${index}`, vip, {
        port: webPort,
        dataPath: 'http',
        healthCheck: { type: 'http', path: '/healthz' },
        http: { tls: { certFile: certFile(holder), keyFile: keyFile(holder) } },
      }),
    ]);
  });
  [outside, inside] = await Promise.all([startClient(lab.client), startClient(holder)]);
  await until(async () => (await states()).every((state) => state === 'up'), {
    timeoutMs: 15_000,
    what: 'every backend to be up',
  });
});

after(() => lab?.close());

function frontend(name: string, vip: string, more: Record<string, unknown>): unknown {
  const isSix = vip.includes(':');
  const backendPort = more.dataPath === 'http' ? httpPort : port;
  const fixed = lab.hosts.slice(1).map((host) => ({
    address: (isSix ? host.address6 : host.address) ?? '',
    port: backendPort,
  }));
  return { name, vip, backends: { static: fixed }, ...more };
}

async function startServer(host: Host): Promise<void> {
  const config: EchoServerConfig = { name: host.name, port, httpPort };
  const station = await Station.start({
    namespace: host.namespace,
    program: 'echo-server-child.ts',
    config,
    logFile: `${host.directory}/echo-server.log`,
  });
  host.adopt(station.child);
}

async function startClient(host: Host): Promise<Station> {
  const station = await Station.start({
    namespace: host.namespace,
    program: 'echo-client-child.ts',
    config: null,
    logFile: `${host.directory}/echo-client.log`,
  });
  host.adopt(station.child);
  return station;
}

function certFile(host: Host): string {
  return join(host.directory, 'tls.crt');
}

function keyFile(host: Host): string {
  return join(host.directory, 'tls.key');
}

async function certificate(host: Host): Promise<void> {
  await must([
    ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
    ...['-nodes', '-keyout', keyFile(host), '-out', certFile(host), '-days', '2'],
    ...['-subj', '/CN=lab'],
  ]);
}

async function states(): Promise<readonly (string | null)[]> {
  const { frontends } = await cluster.status(holder);
  return frontends.flatMap(({ backends }) => backends.map(({ state }) => state));
}

function target(vip: string): Target {
  return { address: vip, port };
}

/** The agent's worker processes, and the number of connections to the VIP's proxies in each. */
async function workers(): Promise<readonly number[]> {
  const { stdout } = await holder.exec(['pgrep', '-P', String(holder.agent.pid)]);
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** `n2` of `n2 hello`. */
function names(answers: readonly string[]): readonly string[] {
  return [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].sort();
}

async function heldBy(station: Station): Promise<Held> {
  return (await station.request('held', null)) as Held;
}

suite('connections through workers', () => {
  test('outlive every worker but their own, and the VIP stays where it is', async () => {
    const count = 200;
    const answers = await outside.request('hold', { target: target(lab.vip), count });
    assert.deepEqual(names(answers as string[]), ['n2', 'n3']);
    const pids = await workers();
    assert.ok(pids.length >= 2, `${pids.length} workers`);
    const { vips: before } = await cluster.status(holder);

    process.kill(pids[0] ?? 0, 'SIGKILL');
    await until(async () => (await heldBy(outside)).open < count, {
      timeoutMs: 5_000,
      what: 'the connections of a dead worker to end',
    });
    const again = (await outside.request('hold', {
      target: target(lab.vip),
      count: 50,
    })) as string[];
    const kept = (await outside.request('askAll', null)) as string[];

    const { open, ended } = await heldBy(outside);
    const lost = count + 50 - open;
    // The kernel spreads by a hash: a quarter would be far out.
    const share = count / pids.length;
    assert.ok(lost > share / 2 && lost < share * 1.5, `lost ${lost} of ${count}`);
    assert.deepEqual(ended, { end: lost }, 'the kernel ends them for the dead');
    assert.deepEqual(names(again), ['n2', 'n3']);
    assert.deepEqual(
      kept.filter((answer) => !answer.endsWith(' again')),
      [],
      'whoever is still connected is still served',
    );
    const { vips: now } = await cluster.status(holder);
    assert.deepEqual(
      now.map(({ holder: name, since }) => [name, since]),
      before.map(({ holder: name, since }) => [name, since]),
    );
    await until(async () => (await workers()).length === pids.length, {
      timeoutMs: 5_000,
      what: 'another worker',
    });
    assert.equal(metric(await metricsOf(holder), 'holdfast_proxy_worker_restarts_total'), 1);
  });

  test('may be silent for longer than anybody asks whether they live', async () => {
    const { open } = await heldBy(outside);
    await lasting(22_000);
    const answers = (await outside.request('askAll', null)) as string[];

    assert.equal(answers.filter((answer) => answer.endsWith(' again')).length, open);
  });

  for (const family of [0, 1] as const) {
    test(`may be closed by half (IPv${family === 0 ? 4 : 6})`, async () => {
      const text = await outside.request('halfClose', target(lab.vips[family] ?? ''));

      assert.match(String(text), /^(n[23]) last words\n\1 bye\n$/);
    });
  }
});

suite('datagrams through the VIP', () => {
  for (const family of [0, 1] as const) {
    for (const place of ['outside', 'the holder'] as const) {
      test(`come back from it (IPv${family === 0 ? 4 : 6}, from ${place})`, async () => {
        const station = place === 'outside' ? outside : inside;
        const lines = (await station.request('datagrams', {
          target: target(lab.vips[family] ?? ''),
          flows: 4,
        })) as string[];

        assert.deepEqual(names(lines), ['n2', 'n3']);
        for (const line of lines) assert.match(line, /^(n[23]) one \| \1 two$/);
      });
    }
  }
});

suite('HTTP through the VIP', () => {
  test('is decrypted here, and says who asks', async () => {
    for (const vip of lab.vips) {
      const host = vip.includes(':') ? `[${vip}]` : vip;
      const { status, body } = await lab.client.fetch(`https://${host}:${webPort}/some/path?x=1`);
      const client = vip.includes(':') ? lab.client.address6 : lab.client.address;

      assert.equal(status, 200, body);
      assert.match(body, new RegExp(`^n[23] /some/path\\?x=1 ${client} https$`));
    }
  });

  test('becomes a connection where both sides want one', async () => {
    const program = `
      const request = require('node:https').request({
        host: '${lab.vip}', port: ${webPort}, method: 'POST', rejectUnauthorized: false,
        headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
      });
      request.on('upgrade', (response, socket) => {
        socket.pipe(process.stdout);
        socket.write('hello\\n');
        socket.end();
      });
      request.end();`;
    const { stdout, stderr } = await lab.client.exec([process.execPath, '-e', program]);

    assert.match(stdout, /^(n[23]) hello\n\1 bye\n$/, stderr);
  });

  test('says at once which file it lacks, and serves when it is there', async () => {
    const [lacking, there] = [join(holder.directory, 'later.crt'), certFile(holder)];
    await changeSpec({ lab, cluster }, (spec) => {
      spec.frontends.push(
        frontend('later', lab.vip, {
          ...{ port: 9443, dataPath: 'http', healthCheck: { type: 'none' } },
          http: { tls: { certFile: lacking, keyFile: keyFile(holder) } },
        }),
      );
    });
    const url = `https://${lab.vip}:9443/`;
    await until(
      async () => {
        const { frontends } = await cluster.status(holder);
        const later = frontends.find(({ name }) => name === 'later');
        return later?.dataPathReason?.includes(`no such file or directory, open '${lacking}'`);
      },
      { timeoutMs: 5_000, what: 'the reason' },
    );
    assert.equal((await lab.client.fetch(url)).error, 'ECONNREFUSED');
    writeFileSync(lacking, (await holder.exec(['cat', there])).stdout);

    await until(async () => (await lab.client.fetch(url)).status === 200, {
      timeoutMs: 5_000,
      what: 'an answer',
    });
  });
});
