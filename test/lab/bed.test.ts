/** The bed itself, proven with keepalived as the owner of the VIP: no product is needed here. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ApiServer, apiServerPort } from './api-server.ts';
import { monotonicMs, until } from './clock.ts';
import type { Fetched } from './host.ts';
import { startKeepalived } from './keepalived.ts';
import { createLab } from './lab.ts';
import { assertNeverTwo, Observer } from './observer.ts';
import { must } from './shell.ts';
import { clientGap, perFailure, perServer, Traffic } from './traffic.ts';

test('a lab leaves no namespace, process or file behind', async () => {
  const lab = await createLab({ hosts: 2 });
  const sleeper = lab.host('n1').spawn(['sleep', '300'], { log: 'sleep' });

  await lab.close();

  assert.equal(isRunning(sleeper.pid), false);
  assert.equal(existsSync(lab.directory), false);
  assert.deepEqual(
    readdirSync('/run/netns').filter((name) => name.startsWith(lab.switchNamespace.slice(0, -6))),
    [],
  );
});

/** A program that makes a lab with a process in it, says so, and waits. */
const labProgram = `
  import { createLab } from '${new URL('lab.ts', import.meta.url).href}';
  const lab = await createLab({ hosts: 2 });
  const sleeper = lab.host('n1').spawn(['sleep', '300'], { log: 'sleep' });
  console.log(JSON.stringify({ pid: sleeper.pid, directory: lab.directory }));
  setInterval(() => undefined, 1000);
`;

interface StartedLab {
  readonly child: ChildProcess;
  readonly sleeperPid: number;
  readonly directory: string;
}

async function startLabProgram(): Promise<StartedLab> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', labProgram], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { pid, directory } = JSON.parse(line.toString()) as { pid: number; directory: string };
  return { child, sleeperPid: pid, directory };
}

function remains({ child, sleeperPid, directory }: StartedLab): readonly string[] {
  const namespaces = readdirSync('/run/netns').filter((name) => name.includes(`${child.pid}x`));
  const process = isRunning(sleeperPid) ? [`process ${sleeperPid}`] : [];
  return [...namespaces, ...process, ...(existsSync(directory) ? [directory] : [])];
}

/** Not so when only its entry waits for somebody to read its exit status. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/status`)) return false;
  return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`a lab interrupted by ${signal} leaves nothing behind`, async () => {
    const program = await startLabProgram();

    program.child.kill(signal);
    await once(program.child, 'exit');

    assert.deepEqual(remains(program), []);
  });
}

test('what a killed lab left is swept by the next', async () => {
  const program = await startLabProgram();
  program.child.kill('SIGKILL');
  await once(program.child, 'exit');
  assert.equal(remains(program).length, 6);

  const next = await createLab({ hosts: 1 });
  await next.close();

  assert.deepEqual(remains(program), []);
});

test('a graceful hand-over of keepalived is seen as one move and one gap', async () => {
  await using lab = await createLab();
  await ApiServer.startAll(lab.hosts);
  const observer = await Observer.start(lab);
  const daemons = startKeepalived(lab.hosts, { vip: lab.vip, advertSeconds: 0.1 });
  const first = await observer.waitForQuiet(lab.vip);
  const traffic = await Traffic.start(lab.client, { address: lab.vip, port: apiServerPort });
  await until(async () => (await traffic.report()).successes.length > 20, {
    timeoutMs: 5_000,
    what: 'traffic through the VIP',
  });
  const stoppedAt = monotonicMs();

  await daemons.get(first)?.stop();
  const second = await observer.waitForHolder(lab.vip, 5_000, (host) => host !== first);
  await until(async () => (await traffic.report()).successes.at(-1)?.server === second, {
    timeoutMs: 5_000,
    what: 'traffic through the new holder',
  });

  const report = await traffic.stop();
  const wire = await observer.report(lab.vip);
  assertNeverTwo(wire);
  assert.deepEqual(
    wire.tenures.map(({ host }) => host),
    [first, second],
  );
  const gap = clientGap(report);
  assert.equal(clientGap(report, stoppedAt).lengthMs, gap.lengthMs);
  assert.ok(gap.at + gap.lengthMs > stoppedAt, 'the gap lies at the hand-over');
  assert.ok(gap.lengthMs > 5 && gap.lengthMs < 1_000, `gap of ${gap.lengthMs} ms`);
  assert.deepEqual([...perServer(report).keys()].sort(), [first, second].sort());
});

test('SIGKILL of keepalived leaves two holders, and the observer sees them', async () => {
  await using lab = await createLab();
  const observer = await Observer.start(lab);
  const daemons = startKeepalived(lab.hosts, { vip: lab.vip, advertSeconds: 0.1 });
  const first = await observer.waitForQuiet(lab.vip);

  daemons.get(first)?.signalGroup('SIGKILL');
  await observer.waitForHolder(lab.vip, 5_000, (host) => host !== first);
  await until(async () => (await observer.report(lab.vip)).overlaps.length > 0, {
    timeoutMs: 5_000,
    what: 'the second holder on the wire',
  });

  const wire = await observer.report(lab.vip);
  assert.throws(() => assertNeverTwo(wire), /two holders at once/);
  const kinds = new Set(wire.records.map(({ kind }) => kind));
  assert.deepEqual([...kinds].sort(), ['accept', 'announce', 'answer']);
});

test('the observer also asks hosts that the switch cuts off', async () => {
  await using lab = await createLab({ hosts: 2, ipv6: true });
  const [a] = lab.hosts;
  const [v4, v6] = lab.vips;
  assert.ok(a !== undefined && v4 !== undefined && v6 !== undefined);
  const observer = await Observer.start(lab);
  for (const vip of lab.vips) {
    const prefix = vip === v4 ? `${vip}/24` : `${vip}/64`;
    await must(['ip', '-n', a.namespace, 'addr', 'add', prefix, 'dev', 'eth0', 'nodad']);
    assert.equal(await observer.waitForHolder(vip, 2_000), a.name);
  }

  await lab.switch.cut(a.name);
  const reaches = async (): Promise<boolean> => {
    const arping = ['arping', '-q', '-c', '1', '-w', '1', '-I', 'eth0', a.address];
    return (await lab.client.exec(arping)).code === 0;
  };
  const reachedWhileCut = await reaches();
  await observer.forget();

  assert.equal(reachedWhileCut, false, 'the client does not reach a host that is cut off');
  for (const vip of lab.vips) {
    const kinds = await until(
      async () => {
        const seen = new Set((await observer.report(vip)).records.map(({ kind }) => kind));
        return seen.size === 2 ? seen : undefined;
      },
      { timeoutMs: 2_000, what: `answers and accepted packets for ${vip}` },
    );
    assert.deepEqual([...kinds].sort(), ['accept', 'answer']);
  }
  await lab.switch.heal();
  assert.equal(await reaches(), true);
});

test('a stand-in API server behaves as it is told', async () => {
  await using lab = await createLab({ hosts: 1 });
  const [host] = lab.hosts;
  const [server] = await ApiServer.startAll(lab.hosts);
  assert.ok(host !== undefined && server !== undefined);
  const https = (): Promise<Fetched> => lab.client.fetch(`https://${host.address}:6443/readyz`);
  const line = (): Promise<Fetched> => lab.client.fetch(`line://${host.address}:6443/whoami`);

  assert.deepEqual([(await https()).status, (await line()).body], [200, 'n1\n']);
  for (const status of [401, 403, 500] as const) {
    await server.setMode(status);
    assert.deepEqual([(await https()).status, (await line()).body], [status, 'n1\n']);
  }
  await server.setMode('refuse');
  assert.deepEqual([(await https()).error, (await line()).error], ['ECONNREFUSED', 'ECONNREFUSED']);
  await server.setMode('hang');
  assert.equal((await line()).error, 'timeout');
  await server.setMode('ok');
  assert.equal((await https()).status, 200);
});

test('the traffic client notices refusals, resets and lost streams', async () => {
  await using lab = await createLab({ hosts: 1 });
  const [host] = lab.hosts;
  const [server] = await ApiServer.startAll(lab.hosts);
  assert.ok(host !== undefined && server !== undefined);
  const target = { address: host.address, port: apiServerPort, streams: 2 };
  const traffic = await Traffic.start(lab.client, target);
  await until(async () => (await traffic.report()).openStreams === 2, {
    timeoutMs: 5_000,
    what: 'two streams',
  });

  await server.setMode('refuse');
  const report = await until(
    async () => {
      const soFar = await traffic.report();
      return soFar.failures.length > 10 && soFar.streamEnds.length === 2 ? soFar : undefined;
    },
    { timeoutMs: 5_000, what: 'failures' },
  );

  assert.deepEqual(
    report.streamEnds.map(({ reason }) => reason),
    ['ECONNRESET', 'ECONNRESET'],
  );
  assert.ok((perFailure(report).get('ECONNREFUSED') ?? 0) > 5);
});
