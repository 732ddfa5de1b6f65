/**
 * Steering on the real kernel: connections to VIP:6443 reach the proxy, from here and from another
 * host, while an API server listens on the same port of every address. Needs root.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import type { Redirect } from '../../src/lb/ports.ts';
import { createAddressTable } from '../../src/linux/address-table.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { createSteering } from '../../src/linux/nftables.ts';
import { addNamespace, cable, enterFreshNamespace, run } from './netns.ts';

const VIPS = ['10.78.0.100', 'fd78::100'];
const PORT = 6443;

enterFreshNamespace();
const peer = addNamespace('client');
cable('eth0', peer, { v4: '10.78.0', v6: 'fd78' });
const table = createAddressTable(systemClock(rawNow));
const steering = createSteering();
const servers: Server[] = [];
const redirects: Redirect[] = [];

/** A server on every address that tells its name and the address that it was called at. */
async function listen(name: string, port: number): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${name} at ${socket.localAddress}`);
  });
  servers.push(server);
  server.listen(port, '::');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function callFromHere(host: string, port: number): Promise<string> {
  const socket = createConnection({ host, port, timeout: 500 });
  socket.on('timeout', () => socket.destroy(new Error('timeout')));
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return text;
}

const CALL = `
const [, host, port] = process.argv;
const socket = require('node:net').createConnection({ host, port, timeout: 500 });
socket.on('timeout', () => socket.destroy());
socket.on('error', (error) => process.stdout.write(error.code));
socket.pipe(process.stdout);
`;

async function callFromPeer(host: string, port: number): Promise<string> {
  const args = ['netns', 'exec', peer, process.execPath, '-e', CALL, host, String(port)];
  return (await promisify(execFile)('ip', args)).stdout;
}

before(async () => {
  await listen('api', PORT);
  const toPort = await listen('proxy', 0);
  for (const address of VIPS) redirects.push({ address, port: PORT, protocol: 'tcp', toPort });
  for (const address of VIPS) table.put({ address, interface: 'eth0' }, 600);
});

after(() => {
  for (const server of servers) server.close();
  table.close();
});

test('set() leads connections for the VIP to the proxy, from here and from afar', async () => {
  await steering.set(redirects);

  for (const vip of VIPS) {
    const seen = vip.includes(':') ? vip : `::ffff:${vip}`;
    assert.equal(await callFromHere(vip, PORT), `proxy at ${seen}`);
    assert.equal(await callFromPeer(vip, PORT), `proxy at ${seen}`);
  }
});

test("the API server keeps the host's own addresses", async () => {
  assert.match(await callFromHere('10.78.0.1', PORT), /^api/);
  assert.match(await callFromPeer('10.78.0.1', PORT), /^api/);
  assert.match(await callFromPeer('fd78::1', PORT), /^api/);
});

test('the proxy is reached by nothing but the redirect', async () => {
  const toPort = redirects[0]?.toPort ?? 0;

  assert.equal(await callFromPeer('10.78.0.1', toPort), '');
  assert.equal(await callFromPeer(VIPS[0] ?? '', toPort), '');
  assert.equal(await callFromPeer('fd78::1', toPort), '');
});

test('redirects act only while the VIP is here', async () => {
  for (const vip of VIPS) table.remove(vip);
  run('ip addr add 10.78.0.100/32 dev lo');
  assert.match(await callFromHere('10.78.0.100', PORT), /^proxy/);
  run('ip addr del 10.78.0.100/32 dev lo');
  await assert.rejects(callFromHere('10.78.0.100', PORT));
  for (const vip of VIPS) table.put({ address: vip, interface: 'eth0' }, 600);
});

test('set() puts back what somebody flushed, and does nothing while all stands', async () => {
  run('nft flush ruleset');
  await steering.set(redirects);
  assert.match(await callFromPeer(VIPS[0] ?? '', PORT), /^proxy/);
  const handles = run('nft -a list table inet holdfast');

  await steering.set([...redirects]);

  assert.equal(run('nft -a list table inet holdfast'), handles);
});

test("clear() removes our table and nobody else's; twice is once", async () => {
  run('nft add table inet theirs');

  await steering.clear();
  await steering.clear();

  assert.equal(run('nft list tables').trim(), 'table inet theirs');
  assert.match(await callFromPeer(VIPS[0] ?? '', PORT), /^api/);
});
