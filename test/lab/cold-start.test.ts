/** From three bare hosts to a served VIP: by hand, unattended, all at once, and twice. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiServer, apiServerPort } from './api-server.ts';
import { until } from './clock.ts';
import { Cluster, type InitResult } from './cluster.ts';
import { assertEndpointsTellTheTruth } from './endpoints.ts';
import { unevenness } from './gaps.ts';
import { createLab } from './lab.ts';
import { assertNeverTwo, Observer } from './observer.ts';
import { logTails, Scene } from './scene.ts';
import { failure, type Outcome } from './shell.ts';
import { perServer } from './traffic.ts';

test('three bare hosts serve the VIP to everybody, the holder included', async () => {
  const scene = await Scene.create({ ipv6: true });
  const { lab, cluster, observer } = scene;
  try {
    await assertEndpointsTellTheTruth(scene);
    const holder = await scene.holder();
    for (const station of [...lab.hosts, lab.client]) {
      for (const vip of lab.vips) {
        const target = vip.includes(':') ? `[${vip}]` : vip;
        const https = await station.fetch(`https://${target}:${apiServerPort}/whoami`);
        assert.equal(https.status, 200, `${station.name} → ${vip}: ${https.error}`);
        assert.match(https.body, /^n[123]\n$/);
      }
    }
    // One client after the other: the turns of the round robin are shared by all who come.
    for (const from of [lab.client, holder]) {
      const traffic = await scene.traffic({}, from);
      await until(async () => (await traffic.report()).successes.length >= 300, {
        timeoutMs: 10_000,
        what: `300 connections from ${from.name}`,
      });
      const report = await traffic.stop();
      assert.deepEqual(report.failures, []);
      assert.equal(perServer(report).size, 3);
      const shares = [...perServer(report).values()];
      assert.ok(unevenness(shares) <= 0.1, `even within 10 %: ${shares}`);
    }
    const status = await cluster.settled();
    assert.equal(status.verdict, 'healthy', JSON.stringify(status.warnings));
    assert.equal(status.cluster.failuresLeft, 1);
    assert.deepEqual(
      status.frontends.flatMap(({ backends }) => backends.map(({ state }) => state)),
      status.frontends.flatMap(({ backends }) => backends.map(() => 'up')),
    );
    for (const vip of lab.vips) assertNeverTwo(await observer.report(vip));
  } catch (error) {
    throw new Error(`${String(error)}\n${logTails(lab)}`, { cause: error });
  } finally {
    await scene.close();
  }
});

test('unattended: hosts join at the same moment, by file, by environment and by pipe', async () => {
  await using lab = await createLab({ hosts: 5 });
  await ApiServer.startAll(lab.hosts);
  const observer = await Observer.start(lab);
  const [first, ...others] = lab.hosts;
  assert.ok(first !== undefined);
  const token = 'abcdef.0123456789abcdef';
  const tokenFile = join(lab.directory, 'token');
  writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });

  const initArgs = ['init', '--vip', lab.vip, '--name', 'n1', '--token-file', tokenFile];
  const init = (await first.json(initArgs)) as InitResult;
  await first.startAgent();
  assert.equal(init.token, token);
  const ways = [
    { args: ['--token-file', tokenFile], options: {} },
    { args: [], options: { env: { HOLDFAST_TOKEN: token } } },
    { args: ['--token-file', '-'], options: { input: `${token}\n` } },
    { args: ['--token', token], options: {} },
  ];
  const outcomes = await Promise.all(
    others.map((host, i) => {
      const way = ways[i];
      assert.ok(way !== undefined);
      const common = ['join', first.address, '--ca-hash', init.caHash, '--name', host.name];
      return host.cli([...common, ...way.args], way.options);
    }),
  );
  for (const outcome of outcomes) assert.equal(outcome.code, 0, failure(outcome));
  await Promise.all(others.map((host) => host.startAgent()));

  const cluster = Cluster.of(lab, init, lab.hosts);
  const status = await cluster.settled(30_000);
  assert.deepEqual(
    status.members.map(({ name, role }) => `${name} ${role}`).sort(),
    lab.hosts.map(({ name }) => `${name} voter`),
  );
  assertNeverTwo(await observer.report(lab.vip));
});

test('every command run twice says the same and changes nothing more', async () => {
  const scene = await Scene.create();
  const { lab, cluster } = scene;
  try {
    const [n1, n2] = lab.hosts;
    assert.ok(n1 !== undefined && n2 !== undefined);
    const again = await n1.cli(['init', '--vip', lab.vip, '--name', 'n1']);
    assert.equal(again.code, 0, failure(again));
    assert.match(again.stdout + again.stderr, /already a member of/);
    const joined = await n2.cli(cluster.joinArgs(n2, n1));
    assert.equal(joined.code, 0, failure(joined));
    assert.match(joined.stdout + joined.stderr, /already a member of/);

    const before = await cluster.settled();
    const file = join(lab.directory, 'spec.yaml');
    writeFileSync(file, await n2.must(['get', 'spec']));
    for (const args of [
      ['apply', '-f', file],
      ['diff', '-f', file],
      ['vip', 'add', lab.vip],
      ['backend', 'drain', 'n3'],
      ['backend', 'undrain', 'n3'],
      ['member', 'list'],
      ['token', 'list'],
      ['cert', 'list'],
    ]) {
      const one: Outcome = await n2.cli(args);
      const two: Outcome = await n2.cli(args);
      assert.equal(one.code, two.code, `${failure(one)}\n${failure(two)}`);
      assert.ok(one.stderr.split('\n').length <= 2, `one line at most: ${failure(one)}`);
    }
    const transfer = [await n1.cli(['transfer', 'n2']), await n1.cli(['transfer', 'n2'])];
    for (const outcome of transfer) assert.equal(outcome.code, 0, failure(outcome));
    const status = await cluster.settled();
    assert.equal(status.cluster.leader, 'n2');
    assert.equal(status.members.length, before.members.length);
  } finally {
    await scene.close();
  }
});

test('commands answer in 300 ms, also without a quorum and without an agent', async () => {
  const scene = await Scene.create();
  const { lab } = scene;
  try {
    const [n1, n2, n3] = lab.hosts;
    assert.ok(n1 !== undefined && n2 !== undefined && n3 !== undefined);
    const fastest = async (args: readonly string[]): Promise<number> => {
      const times: number[] = [];
      for (let i = 0; i < 3; i++) {
        const outcome: Outcome = await n1.cli(args);
        assert.equal(outcome.code, 0, failure(outcome));
        times.push(outcome.tookMs);
      }
      return Math.min(...times);
    };
    const slow: string[] = [];
    const expectFast = async (what: string, args: readonly string[]): Promise<void> => {
      const took = await fastest(args);
      if (took >= 300) slow.push(`${args.join(' ')} ${what}: ${took.toFixed(0)} ms`);
    };
    for (const args of [['status'], ['version'], ['member', 'list'], ['get', 'spec']]) {
      await expectFast('in a healthy cluster', args);
    }
    await Promise.all([n2.killAgent(), n3.killAgent()]);
    await expectFast('without a quorum', ['status']);
    await expectFast('without a quorum', ['member', 'list']);
    await n1.killAgent();
    await expectFast('without an agent', ['status']);
    await expectFast('without an agent', ['member', 'list']);
    assert.deepEqual(slow, []);
  } finally {
    await scene.close();
  }
});
