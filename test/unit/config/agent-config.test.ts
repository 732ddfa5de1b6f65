/** The local configuration: what is accepted, what is refused, and in which words. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { agentDocument, parseAgentConfig } from '../../../src/config/agent-config.ts';
import {
  readAgentConfig,
  readAgentConfigIfThere,
  writeAgentConfig,
} from '../../../src/config/agent-file.ts';
import { formatEndpoint, parseEndpoint } from '../../../src/config/endpoint.ts';
import { readEnvironment } from '../../../src/config/env.ts';
import { pathsFor } from '../../../src/config/paths.ts';

const least = {
  apiVersion: 'holdfast/v1',
  kind: 'Agent',
  node: { id: '0123abcd', name: 'n1' },
  cluster: { id: 'cafe', name: 'prod' },
  advertise: '10.0.0.11',
};

test('parseAgentConfig() fills in every default and freezes the result', () => {
  const config = parseAgentConfig(least, 'agent.yaml');

  assert.deepEqual(config, {
    node: { id: '0123abcd', name: 'n1' },
    cluster: { id: 'cafe', name: 'prod' },
    role: 'voter',
    listen: '[::]:7443',
    advertise: '10.0.0.11:7443',
    http: { listen: '127.0.0.1:7444' },
    interface: null,
    interfaces: {},
    preemptDelaySeconds: 30,
    log: { level: 'info', format: 'text' },
  });
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.http));
});

test('parseAgentConfig() reads back what agentDocument() writes', () => {
  const config = parseAgentConfig(
    {
      ...least,
      interface: 'bond0',
      interfaces: { 'FD00::0:1': 'eth1' },
      preemptDelaySeconds: 5,
      log: { level: 'debug' },
    },
    'agent.yaml',
  );

  assert.deepEqual(config.interfaces, { 'fd00::1': 'eth1' });
  assert.deepEqual(parseAgentConfig(agentDocument(config), 'agent.yaml'), config);
});

const refused: readonly [what: string, document: unknown, problems: readonly string[]][] = [
  ['an unknown key', { ...least, vip: 1 }, ['vip: unknown key']],
  [
    'an unknown key further in, with its path',
    { ...least, node: { ...least.node, nmae: 'x' } },
    ['node.nmae: unknown key'],
  ],
  ['a missing key', { ...least, node: { id: 'a' } }, ['node.name: is missing']],
  ['another kind', { ...least, kind: 'Cluster' }, ['kind: must be Agent (is Cluster)']],
  ['no mapping at all', 'hello', ['the document: must be a mapping']],
  ['an empty file', null, ['the document: must be a mapping']],
  [
    'a name that needs quoting',
    { ...least, node: { id: 'a', name: 'a b' } },
    ['node.name: must be 1 to 63 letters, digits, dots, dashes and underscores (is a b)'],
  ],
  [
    'an endpoint without meaning',
    { ...least, advertise: '10.0.0.300:1' },
    ['advertise: must be HOST:PORT (is 10.0.0.300:1)'],
  ],
  [
    'two listeners on one port, naming both',
    { ...least, listen: '0.0.0.0:7444' },
    ['http.listen: has the port of listen (both are 7444)'],
  ],
  [
    'a witness with a VIP interface, naming both',
    { ...least, role: 'witness', interface: 'eth0' },
    ['interface: contradicts role: witness, which never holds a VIP'],
  ],
  [
    'one VIP spelt in two ways',
    { ...least, interfaces: { 'fd00::1': 'a', 'fd00:0::1': 'b' } },
    ['interfaces.fd00:0::1: repeats interfaces.fd00::1'],
  ],
  [
    'a delay that would not keep a restarting host away',
    { ...least, preemptDelaySeconds: 0 },
    ['preemptDelaySeconds: must be at least 1 (is 0)'],
  ],
  [
    'a delay with a unit',
    { ...least, preemptDelaySeconds: '30s' },
    ['preemptDelaySeconds: must be a number'],
  ],
  [
    'an interface of something that is no address',
    { ...least, interfaces: { vip: 'eth0' } },
    ['interfaces.vip: must be named by an IP address'],
  ],
];

for (const [what, document, problems] of refused) {
  test(`parseAgentConfig() refuses ${what}`, () => {
    assert.throws(
      () => parseAgentConfig(document, '/etc/holdfast/agent.yaml'),
      (error) => {
        assert.ok(error instanceof OperatingError);
        assert.equal(error.code, 'config-invalid');
        assert.deepEqual(error.facts.problems, problems);
        assert.ok(error.message.startsWith('/etc/holdfast/agent.yaml is not valid: '));
        assert.ok(!error.line.includes('\n'));
        return true;
      },
    );
  });
}

test('readAgentConfig() says that a node is not prepared, and reads what was written', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'sub', 'agent.yaml');
  const config = parseAgentConfig(least, path);

  await assert.rejects(readAgentConfig(path), { code: 'config-missing' });
  assert.equal(await readAgentConfigIfThere(path), null);
  writeAgentConfig(path, config);

  assert.deepEqual(await readAgentConfig(path), config);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.match(readFileSync(path, 'utf8'), /^# This node/);
});

test('readAgentConfig() refuses what is no YAML in one line', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'agent.yaml');
  writeFileSync(path, 'node: { id: a\n');

  await assert.rejects(readAgentConfig(path), (error) => {
    assert.ok(error instanceof OperatingError);
    assert.match(error.line, /is not YAML: .* at line \d/);
    assert.ok(!error.line.includes('\n'));
    return true;
  });
});

const endpoints: readonly [text: string, formatted: string | null][] = [
  ['10.0.0.1', '10.0.0.1:7443'],
  ['10.0.0.1:1', '10.0.0.1:1'],
  ['node-1.example.org:65535', 'node-1.example.org:65535'],
  ['FD00::0:1', '[fd00::1]:7443'],
  ['[fd00::1]:99', '[fd00::1]:99'],
  ['[fd00::1]', '[fd00::1]:7443'],
  ['10.0.0.1:0', null],
  ['10.0.0.1:65536', null],
  ['10.0.0', null],
  ['10.0.0.256', null],
  ['[10.0.0.1]:1', null],
  ['fd00::1:99999', null],
  ['http://a', null],
  ['a b', null],
  ['', null],
  [':7443', null],
];

for (const [text, formatted] of endpoints) {
  test(`parseEndpoint() reads ${JSON.stringify(text)} as ${formatted}`, () => {
    const endpoint = parseEndpoint(text, 7443);

    assert.equal(endpoint === null ? null : formatEndpoint(endpoint), formatted);
  });
}

test('pathsFor() keeps everything in the data directory, or where Debian wants it', () => {
  assert.deepEqual(pathsFor('/x'), {
    dataDir: '/x',
    config: '/x/agent.yaml',
    socket: '/x/agent.sock',
    pki: '/x/pki',
    raft: '/x/raft',
    given: '/x',
  });
  assert.equal(pathsFor(null).config, '/etc/holdfast/agent.yaml');
  assert.equal(pathsFor(null).socket, '/run/holdfast/agent.sock');
  assert.equal(pathsFor(null).raft, '/var/lib/holdfast/raft');
});

test('readEnvironment() takes the watchdog only where it is meant for this process', () => {
  const variables = { WATCHDOG_USEC: '10000000', WATCHDOG_PID: '7', NOTIFY_SOCKET: '@x' };

  assert.equal(readEnvironment(variables, 7).watchdogMs, 10_000);
  assert.equal(readEnvironment(variables, 8).watchdogMs, null);
  assert.equal(readEnvironment({ WATCHDOG_USEC: 'x' }, 7).watchdogMs, null);
  assert.equal(readEnvironment(variables, 7).notifySocket, '@x');
  assert.equal(readEnvironment({ HOLDFAST_TOKEN: '' }, 7).token, null);
});
