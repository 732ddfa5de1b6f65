/** Bad input: one clear line, nothing changed, nothing lost. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lasting } from './clock.ts';
import { Cluster } from './cluster.ts';
import { fileTree } from './file-tree.ts';
import { type Host, launcher } from './host.ts';
import { createLab, type Lab } from './lab.ts';
import { failure, must, type Outcome } from './shell.ts';

/**
 * Exit status 1 or 2, nothing on standard output, and one last line that says what is wrong. Lines
 * before it may tell of progress; none of them is an error.
 */
function assertRefused(outcome: Outcome, says: RegExp, code = 1): void {
  assert.equal(outcome.code, code, failure(outcome));
  assert.equal(outcome.stdout, '', failure(outcome));
  const lines = outcome.stderr.trimEnd().split('\n');
  const errors = lines.filter((line) => line.startsWith('holdfast: '));
  assert.deepEqual(errors, lines.slice(-1), failure(outcome));
  assert.match(errors[0] ?? '', says);
  assert.doesNotMatch(outcome.stderr, /^\s+at /m, 'a line, not a stack');
}

/** As {@link assertRefused}, and no file under the host's data directory is other than before. */
async function assertRefusedUnchanged(
  host: Host,
  args: readonly string[],
  says: RegExp,
  code = 1,
): Promise<void> {
  const before = fileTree(host.dataDir);
  assertRefused(await host.cli(args), says, code);
  assert.deepEqual(fileTree(host.dataDir), before);
}

/**
 * As {@link assertRefused}, and the host is no member of anything. Its own new key may stay: a join
 * that is repeated must be the same join.
 */
async function assertJoinRefused(host: Host, args: readonly string[], says: RegExp): Promise<void> {
  assertRefused(await host.cli(args), says);
  const made = Object.keys(fileTree(host.dataDir)).join();
  assert.doesNotMatch(made, /agent\.yaml|node\.crt|raft/);
}

interface Row {
  readonly name: string;
  readonly args: (lab: Lab) => readonly string[];
  readonly says: RegExp;
  readonly code?: number;
}

const caHash = `sha256:${'0'.repeat(64)}`;
const someToken = 'abcdef.0123456789abcdef';

const bareHostRows: readonly Row[] = [
  { name: 'an unknown command', args: () => ['inti'], says: /unknown command 'inti'/, code: 2 },
  {
    name: 'an unknown flag',
    args: ({ vip }) => ['init', '--vip', vip, '--colour', 'blue'],
    says: /unknown option '--colour'/,
    code: 2,
  },
  { name: 'init without a VIP', args: () => ['init'], says: /--vip/, code: 2 },
  {
    name: 'a VIP that is no address',
    args: () => ['init', '--vip', '10.77.0.300'],
    says: /10\.77\.0\.300/,
    code: 2,
  },
  {
    name: 'an interface that is not there',
    args: ({ vip }) => ['init', '--vip', vip, '--interface', 'eth9'],
    says: /eth9/,
  },
  {
    name: 'a port out of range',
    args: ({ vip }) => ['init', '--vip', vip, '--vip-port', '70000'],
    says: /70000/,
    code: 2,
  },
  {
    name: 'a frontend of no known protocol',
    args: ({ vip }) => ['init', '--vip', vip, '--frontend', '9345:sctp'],
    says: /sctp/,
    code: 2,
  },
  {
    name: 'a join without a token',
    args: () => ['join', '10.77.0.11', '--ca-hash', caHash],
    says: /token/,
    code: 2,
  },
  {
    name: 'a join with two tokens',
    args: () => [
      'join',
      '10.77.0.11',
      '--ca-hash',
      caHash,
      '--token',
      someToken,
      '--token-file',
      'x',
    ],
    says: /--token.*--token-file/,
    code: 2,
  },
  {
    name: 'a join without a CA hash',
    args: () => ['join', '10.77.0.11', '--token', someToken],
    says: /--ca-hash/,
    code: 2,
  },
  {
    name: 'a token that is none',
    args: () => ['join', '10.77.0.11', '--token', 'hunter2', '--ca-hash', caHash],
    says: /not a join token/,
  },
  {
    name: 'a join where nobody listens',
    args: () => ['join', '10.77.0.12', '--token', someToken, '--ca-hash', caHash],
    says: /10\.77\.0\.12/,
  },
  { name: 'an agent before init', args: () => ['agent'], says: /init.*join/ },
  {
    name: 'a token file that is not there',
    args: ({ vip }) => ['init', '--vip', vip, '--token-file', '/nowhere/token'],
    says: /\/nowhere\/token/,
  },
];

test('on a bare host', async (t) => {
  await using lab = await createLab({ hosts: 2 });
  const [host] = lab.hosts;
  assert.ok(host !== undefined);
  for (const { name, args, says, code } of bareHostRows) {
    await t.test(`${name} is refused`, async () => {
      await assertRefusedUnchanged(host, args(lab), says, code);
      assert.equal(existsSync(host.dataDir), false, 'nothing was made');
    });
  }

  await t.test('a VIP that a stranger answers for is refused', async () => {
    await must(['ip', '-n', lab.client.namespace, 'addr', 'add', `${lab.vip}/24`, 'dev', 'eth0']);
    await assertRefusedUnchanged(host, ['init', '--vip', lab.vip], /02:00:00:4d:00:03/);
    await must(['ip', '-n', lab.client.namespace, 'addr', 'del', `${lab.vip}/24`, 'dev', 'eth0']);
  });

  await t.test('a data directory that cannot be written is refused', async () => {
    const args = [launcher, 'init', '--vip', lab.vip, '--data-dir', '/proc/holdfast'];
    assertRefused(await host.exec(args), /\/proc\/holdfast/);
  });

  await t.test('a port that somebody else uses is refused, with how to find out who', async () => {
    const listen = "require('node:net').createServer().listen(7443, '::')";
    const squatter = host.spawn([process.execPath, '-e', listen], { log: 'squatter' });
    await lasting(200);
    await assertRefusedUnchanged(host, ['init', '--vip', lab.vip], /7443.*ss -ltnp/);
    await squatter.stop();
  });

  await t.test('a VIP outside of the subnet is taken with a warning', async () => {
    const args = ['init', '--vip', '192.0.2.9', '--interface', 'eth0'];
    const outcome = await host.cli(args);
    assert.equal(outcome.code, 0, failure(outcome));
    assert.match(outcome.stderr, /192\.0\.2\.9.*subnet/);
  });
});

test('beside a running cluster', async (t) => {
  await using lab = await createLab({ hosts: 3 });
  const [member, joiner, foreign] = lab.hosts;
  assert.ok(member !== undefined && joiner !== undefined && foreign !== undefined);
  const cluster = await Cluster.form(lab, { members: 1 });
  const peer = `${member.address}:7443`;
  const join = (token: string, hash = cluster.init.caHash): readonly string[] => [
    ...['join', peer, '--token', token, '--ca-hash', hash, '--name', joiner.name],
  ];
  const created = async (...args: readonly string[]): Promise<string> =>
    ((await member.json(['token', 'create', ...args])) as { token: string }).token;

  await t.test('a token that the cluster does not know is refused', async () => {
    await assertJoinRefused(joiner, join('zzzzzz.0123456789abcdef'), /token/);
  });

  await t.test('a token with a wrong secret is refused', async () => {
    const [id = ''] = cluster.init.token.split('.');
    await assertJoinRefused(joiner, join(`${id}.0000000000000000`), /token/);
  });

  await t.test('an expired token is refused, and the line says so', async () => {
    const token = await created('--ttl', '1s');
    await lasting(1_100);
    await assertJoinRefused(joiner, join(token), /expired/);
  });

  await t.test('a revoked token is refused, and the line says so', async () => {
    const token = await created();
    await member.must(['token', 'revoke', token.slice(0, 6)]);
    await assertJoinRefused(joiner, join(token), /revoked/);
  });

  await t.test('a wrong CA hash is refused before the token leaves the host', async () => {
    await assertJoinRefused(joiner, join(cluster.init.token, caHash), /CA.*sha256:0000/);
  });

  await t.test('a name that is taken is refused', async () => {
    const args = join(cluster.init.token).with(-1, member.name);
    await assertJoinRefused(joiner, args, /n1/);
  });

  await t.test('init beside a running cluster is refused when --peers names it', async () => {
    const args = ['init', '--vip', '10.77.0.101', '--peers', member.address];
    await assertRefusedUnchanged(joiner, args, /10\.77\.0\.11/);
  });

  await t.test('init for the VIP that the cluster serves is refused', async () => {
    await assertRefusedUnchanged(joiner, ['init', '--vip', lab.vip], /10\.77\.0\.100/);
  });

  await t.test('a used-up token is refused; the first use stands', async () => {
    const token = await created('--uses', '1');
    await joiner.must(join(token));
    const args = join(token).with(-1, foreign.name);
    assertRefused(await foreign.cli(args), /used as often/);
    const again = await joiner.cli(join(token));
    assert.equal(again.code, 0, failure(again));
    assert.match(again.stdout + again.stderr, /already a member of/);
  });

  await t.test("a data directory of another cluster's node is not joined over", async () => {
    await foreign.must(['init', '--vip', '10.77.0.102', '--name', foreign.name]);
    const args = join(await created()).with(-1, foreign.name);
    await assertRefusedUnchanged(foreign, args, /cluster/);
    await assertRefusedUnchanged(foreign, ['init', '--vip', '10.77.0.103'], /cluster/);
  });

  await t.test('a data directory in use is refused to a second agent', async () => {
    const before = readFileSync(fileOf(member, 'agent.yaml'), 'utf8');
    assertRefused(await member.cli(['agent']), /an agent runs/);
    assert.equal(readFileSync(fileOf(member, 'agent.yaml'), 'utf8'), before);
    assert.equal((await cluster.settled()).self.role, 'leader', 'the first goes on');
  });

  await t.test('reset and cleanup are refused while the agent runs', async () => {
    assertRefused(await member.cli(['reset', '--yes']), /agent/);
    assertRefused(await member.cli(['cleanup']), /agent/);
    await cluster.settled();
  });

  await t.test('a follower forwards what only the leader can do', async () => {
    await joiner.startAgent();
    const text = await joiner.must(['token', 'create', '--print-join-command']);
    assert.match(text, /^holdfast join /);
  });

  await t.test('a spec with mistakes is refused with the path of each', async () => {
    const file = `${lab.directory}/spec.yaml`;
    const spec = await member.must(['get', 'spec']);
    const mistakes: readonly (readonly [string, RegExp])[] = [
      [spec.replace('port: 6443', 'port: 70000'), /spec\.frontends\[0\]\.port: .*70000/],
      [spec.replace('spec:', 'spec:\n  colour: blue'), /spec\.colour/],
      [spec.replaceAll(`vip: ${lab.vip}`, 'vip: 10.77.0.99'), /spec\.frontends\[0\]\.vip/],
      [
        spec
          .replace(/dataPath: \w+/, 'dataPath: nftables')
          .replace(/scheduler: \S+/, 'scheduler: least-connections'),
        /spec\.frontends\[0\]\.dataPath: .*least-connections/,
      ],
      [
        spec.replace(/dataPath: \w+/, 'dataPath: http'),
        /spec\.frontends\[0\]\.dataPath: .*client certificate/,
      ],
      [spec.replace('kind: Cluster', 'kind: Klaster'), /kind/],
      [`${spec}\n  - [`, /YAML/i],
    ];
    for (const [text, says] of mistakes) {
      assert.notEqual(text, spec, `${says} mistakes nothing`);
      writeFileSync(file, text);
      const outcome = await member.cli(['apply', '-f', file]);
      assert.equal(outcome.code, 1, failure(outcome));
      assert.match(outcome.stderr, says);
    }
    assert.equal(await member.must(['get', 'spec']), spec, 'nothing changed');
  });

  await t.test('a stale revision and an unconfirmed removal are refused', async () => {
    const file = `${lab.directory}/spec.yaml`;
    writeFileSync(file, await member.must(['get', 'spec']));
    await member.must(['backend', 'add', '10.77.0.200:6443']);
    assertRefused(await member.cli(['apply', '-f', file]), /revision/);
    assertRefused(await member.cli(['vip', 'remove', lab.vip]), /--yes|frontend/);
  });
});

function fileOf(host: Host, name: string): string {
  return join(host.dataDir, name);
}
