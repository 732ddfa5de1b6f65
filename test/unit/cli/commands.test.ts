/** The commands against a fake agent: what they ask, what they print, how they end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvariantViolation } from '../../../src/base/assert.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import type { ApplySpecRequest, Operations } from '../../../src/cluster/operations.ts';
import { defaultSpec, specToDocument } from '../../../src/cluster/spec-document.ts';
import { decodeSnapshotFile } from '../../../src/storage/snapshot-file.ts';
import { healthy, withoutHolder } from './documents.ts';
import { command } from './world.ts';

const spec = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [],
});

/** An agent whose spec can be changed; `rivals` others change it just before our first applies. */
function specAgent(rivals = 0): Partial<Operations> & { readonly applied: ApplySpecRequest[] } {
  const applied: ApplySpecRequest[] = [];
  let revision = 7;
  let left = rivals;
  return {
    applied,
    status: async () => healthy,
    getSpec: async () => specToDocument({ clusterName: 'prod', revision, spec }),
    async applySpec(request) {
      if (left-- > 0) {
        revision++;
        throw new OperatingError({ code: 'stale-revision', message: 'stale' });
      }
      applied.push(request);
      return { revision: revision + 1, changed: true, changes: ['~ something: old → new'] };
    },
  };
}

test('status prints the document as JSON, and hangs up', async () => {
  const outcome = await command(['status', '-o', 'json'], {
    agent: { status: async () => healthy },
  });

  assert.deepEqual(JSON.parse(outcome.out), healthy);
  assert.deepEqual(outcome.asked, [['status', { linearizable: false }]]);
  assert.equal(outcome.code, 0);
  assert.equal(outcome.closed, 1);
});

test('status --check exits 0 when healthy and 1 when not, in one line each', async () => {
  const good = await command(['status', '--check'], { agent: { status: async () => healthy } });
  const bad = await command(['status', '--check'], {
    agent: { status: async () => withoutHolder },
  });

  assert.equal(good.code, 0);
  assert.match(good.out, /^HEALTHY: .*\n$/);
  assert.equal(bad.code, 1);
  assert.match(bad.out, /^DOWN: .*\n$/);
});

test('status --linearizable does not fall back to the view of a host without an agent', async () => {
  const outcome = await command(['status', '--linearizable']);

  assert.equal(outcome.code, 1);
  assert.equal(outcome.err, 'holdfast: nobody; start one\n');
});

test('a command that the agent refuses prints one line and exits 1', async () => {
  const refusal = new OperatingError({
    code: 'quorum-at-risk',
    message: 'n2 is needed:\n  no quorum without it',
    hint: 'start n3 first',
  });
  const outcome = await command(['member', 'remove', 'n2'], {
    agent: { removeMember: async () => Promise.reject(refusal) },
  });

  assert.equal(outcome.code, 1);
  assert.equal(
    outcome.err,
    'removing n2 …\nholdfast: n2 is needed: no quorum without it; start n3 first\n',
  );
  assert.equal(outcome.out, '');
});

test('member can-stop exits as the verdict says', async () => {
  const ask = (ok: boolean) =>
    command(['member', 'can-stop', 'n2'], {
      agent: { canStop: async () => ({ ok, reason: 'because' }) },
    });

  const [yes, no] = [await ask(true), await ask(false)];

  assert.deepEqual([yes.code, yes.out], [0, 'yes: because\n']);
  assert.deepEqual([no.code, no.out], [1, 'no: because\n']);
  assert.deepEqual(yes.asked, [['canStop', 'n2']]);
});

test('member promote warns on standard error of what nobody may have meant', async () => {
  const result = { promoted: 'n2', changed: true, voters: 2, warnings: ['two are few'] };
  const outcome = await command(['member', 'promote', 'n2'], {
    agent: { promoteMember: async () => result },
  });

  assert.equal(outcome.out, 'n2 is a voter now; voters: 2\n');
  assert.equal(outcome.err, 'warning: two are few\n');
});

test('member set, drain and undrain ask for that one thing alone', async () => {
  const agent = { setMember: async () => ({ name: 'n2', changed: true }) };
  const nothing = { name: 'n2', priority: null, address: null, draining: null, force: false };
  const rows: readonly [args: readonly string[], want: object][] = [
    [['set', 'n2', '--priority', '-5'], { priority: -5 }],
    [['set', 'n2', '--address', '10.0.0.9'], { address: '10.0.0.9:7443' }],
    [['drain', 'n2'], { draining: true }],
    [['drain', 'n2', '--force'], { draining: true, force: true }],
    [['undrain', 'n2'], { draining: false }],
  ];

  for (const [args, want] of rows) {
    const { asked, out } = await command(['member', ...args], { agent });
    assert.deepEqual(asked, [['setMember', { ...nothing, ...want }]], args.join(' '));
    assert.equal(out, 'n2 is changed\n');
  }
  assert.equal((await command(['member', 'set', 'n2'], { agent })).code, 2);
  assert.equal((await command(['member', 'set', 'n2', '--priority', '99'], { agent })).code, 2);
});

test('recover does nothing before everything is said', async () => {
  const here = ['--data-dir', '/nonexistent/holdfast'];
  const bare = await command(['recover', ...here]);
  const nobody = await command(['recover', '--force-new-cluster', ...here]);
  const words = ['recover', '--force-new-cluster', '--fenced', 'n1,n2', ...here];
  const unconfirmed = await command(words);
  const twice = await command(['recover', '--force-new-cluster', '--fenced', 'n1,n1', ...here]);
  const empty = await command([...words, '--yes']);

  assert.deepEqual([bare.code, nobody.code, twice.code], [2, 2, 2]);
  assert.match(bare.err, /--force-new-cluster/);
  assert.match(nobody.err, /--fenced/);
  assert.equal(unconfirmed.code, 1);
  assert.match(unconfirmed.err, /nothing was done; if one of n1, n2 still runs, two hosts may/);
  assert.match(empty.err, /there is no node in/);
});

test('snapshot save writes what restore reads, and restore wants a confirmation', async () => {
  const saveSnapshot = async () => ({ index: 5, term: 2, state: Buffer.from('s') });
  const agent = { saveSnapshot, status: async () => healthy };
  const { out, err } = await command(['snapshot', 'save', '-'], { agent });
  const lost = { ...healthy, cluster: { ...healthy.cluster, quorum: false } };
  const behind = await command(['snapshot', 'save', '-'], {
    agent: { saveSnapshot, status: async () => lost },
  });

  assert.equal(err, '');
  assert.match(behind.err, /^warning: this node hears no quorum/);
  assert.equal(behind.out, out);

  assert.deepEqual(decodeSnapshotFile(out), { index: 5, term: 2, state: new Uint8Array([115]) });
  const here = ['--name', 'n1', '--data-dir', '/nonexistent/holdfast'];
  const restore = await command(['snapshot', 'restore', '-', ...here], { input: out });
  assert.equal(restore.code, 1);
  assert.match(restore.err, /nothing was done; where a former member still runs/);
  const foreign = await command(['snapshot', 'restore', '-', '--yes', ...here], { input: 'x' });
  assert.match(foreign.err, /not a snapshot of Holdfast/);
});

test('token create asks for 24 hours and any number of joins unless told otherwise', async () => {
  const created = {
    token: 'abcdef.0123456789abcdef',
    id: 'abcdef',
    expires: '2026-01-02T00:00:00.000Z',
    caHash: 'sha256:00',
    joinCommand: 'holdfast join 10.0.0.11:7443 --token abcdef.0123456789abcdef',
  };
  const agent = { createToken: async () => created };

  const usual = await command(['token', 'create', '--print-join-command'], { agent });
  const short = await command(['token', 'create', '--ttl', '90m', '--uses', '3'], { agent });

  assert.equal(usual.out, `${created.joinCommand}\n`);
  const request = { description: '', token: null };
  assert.deepEqual(usual.asked, [['createToken', { ...request, ttlMs: 86_400_000, uses: null }]]);
  assert.deepEqual(short.asked, [['createToken', { ...request, ttlMs: 5_400_000, uses: 3 }]]);
});

test('token revoke sends the id alone, even where the whole token was pasted', async () => {
  const outcome = await command(['token', 'revoke', 'abcdef.0123456789abcdef'], {
    agent: { revokeToken: async () => undefined },
  });

  assert.deepEqual(outcome.asked, [['revokeToken', 'abcdef']]);
  assert.ok(!outcome.out.includes('0123456789abcdef'));
});

test('apply passes a document from standard input on, and prints what changed', async () => {
  const agent = specAgent();
  const outcome = await command(['apply', '-f', '-', '--yes'], { agent, input: 'kind: Cluster\n' });

  assert.deepEqual(agent.applied, [{ document: { kind: 'Cluster' }, dryRun: false, yes: true }]);
  assert.equal(outcome.out, '~ something: old → new\nrevision 8\n');
});

test('diff changes nothing and says so', async () => {
  const agent = specAgent();
  const outcome = await command(['diff', '-f', '-'], { agent, input: '{"kind":"Cluster"}' });

  assert.equal(agent.applied[0]?.dryRun, true);
  assert.match(outcome.out, /nothing was changed: this was a dry run\n$/);
});

test('apply refuses what is no YAML, or is not there, before it asks anybody', async () => {
  const broken = await command(['apply', '-f', '-'], { agent: {}, input: 'a: [1,\n' });
  const missing = await command(['apply', '-f', '/nowhere/spec.yaml'], { agent: {} });

  assert.equal(broken.code, 1);
  assert.match(broken.err, /^holdfast: standard input is not YAML: .*\n$/);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /^holdfast: \/nowhere\/spec\.yaml cannot be read: it is not there;/);
  assert.deepEqual([...broken.asked, ...missing.asked], []);
});

test('an edit of the spec is made again where somebody else was quicker', async () => {
  const agent = specAgent(2);
  const outcome = await command(['vip', 'add', '10.0.0.101'], { agent });

  assert.equal(outcome.code, 0);
  const document = agent.applied[0]?.document as ReturnType<typeof specToDocument>;
  assert.deepEqual(document.metadata, { name: 'prod', revision: 9 });
});

test('an edit of the spec gives up at last where others are always quicker', async () => {
  const outcome = await command(['vip', 'add', '10.0.0.101'], { agent: specAgent(100) });

  assert.equal(outcome.code, 1);
  assert.equal(outcome.asked.filter(([name]) => name === 'applySpec').length, 5);
});

test('get spec prints YAML that can be applied again', async () => {
  const agent = specAgent();
  const printed = await command(['get', 'spec', '--local'], { agent });
  await command(['apply', '-f', '-'], { agent, input: printed.out });

  assert.deepEqual(printed.asked, [['getSpec', { local: true }]]);
  assert.deepEqual(
    agent.applied[0]?.document,
    specToDocument({ clusterName: 'prod', revision: 7, spec }),
  );
});

test('backend remove explains why a member cannot be removed', async () => {
  const outcome = await command(['backend', 'remove', 'n3'], { agent: specAgent() });

  assert.equal(outcome.code, 1);
  assert.match(outcome.err, /n3 is a backend because it is a member; .*backend drain n3/);
});

test('leave succeeds although the leader hangs up, once this node knows it is out', async () => {
  let looks = 0;
  const outcome = await command(['leave'], {
    agent: {
      status: async () => ({
        ...healthy,
        members: looks++ < 3 ? healthy.members : healthy.members.slice(1),
      }),
      removeMember: async () =>
        Promise.reject(new OperatingError({ code: 'outcome-unknown', message: 'broke' })),
    },
  });

  assert.equal(outcome.code, 0);
  assert.match(outcome.out, /^n1 has left prod\. Next:\n/);
});

test('a broken invariant is called a bug, in one line', async () => {
  const outcome = await command(['transfer'], {
    agent: { transfer: async () => Promise.reject(new InvariantViolation('two leaders')) },
  });

  assert.equal(outcome.code, 1);
  assert.equal(outcome.err, 'holdfast: this is a bug: two leaders; please report it\n');
});

const misused: readonly [args: readonly string[], says: RegExp][] = [
  [['nonsense'], /unknown command 'nonsense'/],
  [['status', '--loud'], /unknown option '--loud'; see holdfast status --help/],
  [['status', '-o', 'xml'], /argument 'xml' is invalid/],
  [['apply'], /required option '-f, --file <file>' not specified/],
  [['vip', 'add'], /missing required argument 'address'/],
  [['vip', 'add', '10.0.0.300'], /the VIP must be an IP address, and is "10\.0\.0\.300"/],
  [['vip', 'add', '10.0.0.1', '--interface', 'a/b'], /--interface must be an interface name/],
  [['backend', 'add', '10.0.0.1'], /a backend must be ADDRESS:PORT/],
  [['backend', 'add', 'host:6443'], /a backend must be ADDRESS:PORT/],
  [['backend', 'add', '10.0.0.1:1', '--weight', '0'], /--weight must be a number from 1 to 256/],
  [['frontend', 'add', 'a', '--port', '0'], /--port must be a port from 1 to 65535/],
  [['frontend', 'add', 'a', '--port', '1', '--check', 'x'], /--check must be tcp or http or/],
  [['token', 'create', '--ttl', 'soon'], /--ttl must be a duration like 90m or 24h/],
  [['token', 'create', '--uses', '-1'], /--uses must be a number/],
  [['init'], /required option '--vip <addresses>' not specified/],
  [['init', '--vip', 'x', '--name', 'n1'], /--vip must be an IP address, and is "x"/],
  [['init', '--vip', '10.0.0.1,10.0.0.1', '--name', 'n1'], /--vip names an address twice/],
  [['init', '--vip', '10.0.0.1', '--name', 'a b'], /--name must be 1 to 63 letters/],
  [
    ['init', '--vip', '10.0.0.1', '--name', 'n1', '--frontend', '9345:udp'],
    /--frontend PORT: must be tcp or https, and is "udp"/,
  ],
  [
    ['init', '--vip', '10.0.0.1', '--name', 'n1', '--frontend', '6443'],
    /--frontend and --vip-port name the same port twice/,
  ],
  [
    ['init', '--vip', '10.0.0.1', '--name', 'n1', '--ca-cert', 'x'],
    /--ca-cert and --ca-key go together/,
  ],
  [
    ['join', '10.0.0.1', '--ca-hash', 'sha256:xyz', '--name', 'n2'],
    /--ca-hash must be sha256: and 64 hexadecimal digits/,
  ],
  [
    ['join', '10.0.0.1:x', '--ca-hash', `sha256:${'0'.repeat(64)}`, '--name', 'n2'],
    /the peer must be HOST\[:PORT\]/,
  ],
  [
    [
      'join',
      '10.0.0.1',
      '--ca-hash',
      `sha256:${'0'.repeat(64)}`,
      '--token',
      'a',
      '--token-file',
      'b',
    ],
    /--token and --token-file contradict each other/,
  ],
  [
    [
      ...['join', '10.0.0.1', '--ca-hash', `sha256:${'0'.repeat(64)}`, '--name', 'n2'],
      ...['--role', 'witness', '--interface', 'eth0'],
    ],
    /--interface contradicts --role witness/,
  ],
];

for (const [args, says] of misused) {
  test(`holdfast ${args.join(' ').slice(0, 70)} is refused with one line and status 2`, async () => {
    const outcome = await command(args, { agent: {} });

    assert.match(outcome.err, says);
    assert.match(outcome.err, /^holdfast: [^\n]*\n$/);
    assert.equal(outcome.out, '');
    assert.equal(outcome.code, 2);
    assert.deepEqual(outcome.asked, []);
  });
}
