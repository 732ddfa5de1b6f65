/**
 * The rest of the host: worker processes, priorities, systemd's socket, peers of a Unix socket, the
 * namespace's lock and capabilities, each on the real thing. Needs root.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { missingCapabilities } from '../../src/linux/capabilities.ts';
import { bind, closeFd, getSocketOption, receive, socket } from '../../src/linux/libc.ts';
import { lockNamespace } from '../../src/linux/netns-lock.ts';
import { groupId, inGroup, peerCredentials, socketDescriptor } from '../../src/linux/peer-cred.ts';
import { takeNormalPriority, takeRealTimePriority } from '../../src/linux/priority.ts';
import { createWorkerHost } from '../../src/linux/process.ts';
import { createNotifier } from '../../src/linux/systemd.ts';
import { hurry } from '../../src/linux/tcp.ts';
import { enterFreshNamespace } from './netns.ts';

enterFreshNamespace();
const folder = mkdtempSync(join(tmpdir(), 'holdfast-host-'));
after(() => rmSync(folder, { recursive: true }));

const source = (name: string): string => new URL(`../../src/linux/${name}`, import.meta.url).href;

/** A module in a file of its own, with what a worker and its agent begin with at hand. */
function module(name: string, text: string): string {
  const path = join(folder, name);
  const imports = `import { takeNormalPriority } from '${source('priority.ts')}';
import { createWorkerHost, endWithParent } from '${source('process.ts')}';
`;
  writeFileSync(path, imports + text);
  return path;
}

/** Field 41 of /proc/pid/stat: 0 is ordinary, 2 is round robin in real time. */
function policy(pid: number | string): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ');
  return Number(fields[38]);
}

function alive(pid: number): boolean {
  try {
    // A zombie that nobody has collected yet is as dead.
    return !/State:\tZ/.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('real-time priority is refused while other threads collect the garbage', () => {
  const script = `import { takeRealTimePriority } from '${source('priority.ts')}';
    console.log(JSON.stringify(takeRealTimePriority()));`;
  const run = (...flags: string[]): unknown =>
    JSON.parse(
      execFileSync(process.execPath, [...flags, '--input-type=module', '-e', script], {
        encoding: 'utf8',
      }),
    );

  assert.deepEqual(run('--single-threaded-gc'), { ok: true });
  assert.deepEqual(run(), {
    ok: false,
    reason: 'Node was started without --single-threaded-gc; use bin/holdfast',
  });
});

test('a worker talks, runs at ordinary priority, and its end is told once', async () => {
  const entry = module(
    'echo.mjs',
    "takeNormalPriority(); process.on('message', (m) => process.send({ got: m }));",
  );
  assert.deepEqual(takeRealTimePriority(), { ok: true });
  assert.equal(policy('self'), 2);
  const worker = createWorkerHost({ entry }).spawn();
  const reply = new Promise((resolve) => worker.onMessage(resolve));
  const ends: string[] = [];
  const end = new Promise<void>((resolve) => {
    worker.onExit((reason) => {
      ends.push(reason);
      resolve();
    });
  });

  worker.send({ hello: 1 });
  assert.deepEqual(await reply, { got: { hello: 1 } });
  assert.equal(policy(worker.pid), 0);
  worker.kill();
  await end;
  worker.send('into the void');

  assert.deepEqual(ends, ['was ended by SIGKILL']);
  assert.deepEqual(takeNormalPriority(), { ok: true });
  assert.equal(policy('self'), 0);
});

test('a worker that cannot be started tells that as its end', async () => {
  const worker = createWorkerHost({ entry: join(folder, 'missing.mjs') }).spawn();

  const reason = await new Promise((resolve) => worker.onExit(resolve));

  assert.equal(reason, 'exited with status 1');
});

test('a worker ends with its agent, even one that ignores its channel', async () => {
  const entry = module(
    'deaf.mjs',
    'endWithParent(); setInterval(() => undefined, 1000); process.send(process.pid);',
  );
  const agent = module(
    'agent.mjs',
    `const worker = createWorkerHost(${JSON.stringify({ entry })}).spawn();
     worker.onMessage((pid) => console.log(pid));`,
  );
  const child = spawn(process.execPath, [agent], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const worker = Number(line.toString());
  assert.equal(alive(worker), true);

  child.kill('SIGKILL');
  await once(child, 'exit');

  for (let tries = 0; tries < 100 && alive(worker); tries++) await pause(10);
  assert.equal(alive(worker), false);
});

test('the notifier speaks to paths and abstract names, and to nobody without a socket', () => {
  for (const name of [join(folder, 'notify'), '@holdfast-test-notify']) {
    const path = Buffer.from(name.replace('@', '\0'));
    const address = Buffer.concat([Buffer.from([1, 0]), path]);
    const fd = socket(1, 2 | 0x800, 0);
    assert.equal(bind(fd, address, address.length), 0);
    const notifier = createNotifier(name);

    notifier.ready();
    notifier.status('holding 10.0.0.100\nREADY=0');
    notifier.watchdog();
    notifier.stopping();

    const heard = Array.from({ length: 5 }, () => {
      const buffer = Buffer.alloc(256);
      const length = receive(fd, buffer, buffer.length, 0);
      return length < 0 ? null : buffer.toString('utf8', 0, length);
    });
    assert.deepEqual(heard, [
      'READY=1',
      'STATUS=holding 10.0.0.100 READY=0',
      'WATCHDOG=1',
      'STOPPING=1',
      null,
    ]);
    closeFd(fd);
  }
  createNotifier(undefined).ready();
  createNotifier('/nowhere/at/all').ready();
});

test('peerCredentials() tells who connected, and their groups', async () => {
  const path = join(folder, 'admin.sock');
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  const connected = once(server, 'connection');
  const entry = `require('node:net').connect(${JSON.stringify(path)})`;
  const rights = ['--reuid', '0', '--regid', '7', '--groups', '4,24'];
  const client = spawn('setpriv', [...rights, process.execPath, '-e', entry]);
  const [peer] = (await connected) as [Socket];

  const credentials = peerCredentials(socketDescriptor(peer) ?? -1);

  assert.deepEqual(credentials, { pid: client.pid, uid: 0, gid: 7, groups: [4, 24] });
  assert.equal(inGroup(credentials, 24), true);
  assert.equal(inGroup(credentials, 7), true);
  assert.equal(inGroup(credentials, 5), false);
  client.kill();
  peer.destroy();
  await once(peer, 'close');
  assert.equal(socketDescriptor(peer), null);
  server.close();
});

test('groupId() reads the host groups', () => {
  const file = join(folder, 'group');
  writeFileSync(file, 'root:x:0:\nholdfast:x:997:alice,bob\nbroken\n');

  assert.equal(groupId('holdfast', file), 997);
  assert.equal(groupId('hold', file), null);
  assert.equal(groupId('broken', file), null);
});

test('lockNamespace() is held by one process of a network namespace', async () => {
  const lock = await lockNamespace();
  await assert.rejects(lockNamespace(), { code: 'agent-running' });

  // Somebody who knocks is not let in, and does not take the lock away.
  const socket = createConnection('\0holdfast-agent');
  socket.on('error', () => undefined);
  await once(socket, 'close');
  await assert.rejects(lockNamespace(), { code: 'agent-running' });

  lock.release();
  (await lockNamespace()).release();
});

test('missingCapabilities() names what is not effective', () => {
  const status = (effective: string): string => `CapPrm:\t0\nCapEff:\t${effective}\nCapBnd:\t0\n`;

  assert.deepEqual(missingCapabilities(), []);
  assert.deepEqual(missingCapabilities(status('0000000000000000')), [
    'CAP_NET_ADMIN',
    'CAP_NET_RAW',
    'CAP_BPF',
  ]);
  assert.deepEqual(missingCapabilities(status('0000008000003000')), []);
  assert.deepEqual(missingCapabilities(status('0000000000203000')), []);
  assert.deepEqual(missingCapabilities(status('0000008000001000')), ['CAP_NET_RAW']);
});

test('a connection between members sends again after 20 ms, not after 200', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = createConnection({ host: '127.0.0.1', port });
  await once(client, 'connect');

  // TCP_RTO_MIN_US of linux/tcp.h; kernels before 6.15 lack it, and say so by the return value.
  const value = Buffer.alloc(4);
  const had =
    getSocketOption(socketDescriptor(client) ?? -1, 6, 45, value, Uint32Array.of(4)) === 0;

  assert.equal(hurry(client), had);
  getSocketOption(socketDescriptor(client) ?? -1, 6, 45, value, Uint32Array.of(4));
  assert.equal(value.readInt32LE(0), had ? 20_000 : 0);
  client.destroy();
  server.close();
});
