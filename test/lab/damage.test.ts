/** A data directory that was damaged, edited or taken away: refused in one line, nothing lost. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster } from './cluster.ts';
import { fileTree } from './file-tree.ts';
import { launcher } from './host.ts';
import { createLab } from './lab.ts';
import { failure } from './shell.ts';

/** Where the files of the durable log lie, largest first. */
function logFiles(dataDir: string): readonly string[] {
  const directory = join(dataDir, 'raft', 'log');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.log') || name.endsWith('.ldb'))
    .map((name) => join(directory, name))
    .toSorted((a, b) => statSync(b).size - statSync(a).size);
}

function flipByte(file: string, share: number): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length * share);
  bytes[at] = (bytes[at] ?? 0) ^ 0x41;
  writeFileSync(file, bytes);
}

interface Damage {
  readonly name: string;
  readonly harm: (dataDir: string) => void;
  readonly says: RegExp;
}

const damages: readonly Damage[] = [
  {
    name: 'an unknown key in agent.yaml',
    harm: (dir) => appendFileSync(join(dir, 'agent.yaml'), 'colour: blue\n'),
    says: /colour/,
  },
  {
    name: 'an agent.yaml of a newer program',
    harm: (dir) => edit(join(dir, 'agent.yaml'), 'holdfast/v1', 'holdfast/v9'),
    says: /apiVersion.*holdfast\/v1 \(is holdfast\/v9\)/,
  },
  {
    name: 'an agent.yaml that is no YAML',
    harm: (dir) => appendFileSync(join(dir, 'agent.yaml'), '  - [\n'),
    says: /YAML/,
  },
  {
    name: 'a torn certificate',
    harm: (dir) => truncate(join(dir, 'pki', 'node.crt'), 0.5),
    says: /node\.crt/,
  },
  {
    name: 'a missing key',
    harm: (dir) => writeFileSync(join(dir, 'pki', 'node.key'), ''),
    says: /node\.key/,
  },
  {
    name: 'an identity with a flipped bit',
    harm: (dir) => flipByte(join(dir, 'raft', 'identity'), 0.9),
    says: /damaged/,
  },
  {
    name: 'an identity of another node',
    harm: (dir) =>
      edit(join(dir, 'agent.yaml'), /^( *id: *"?)([0-9a-f])/m, (_all, before, digit) => {
        return `${before}${digit === '0' ? '1' : '0'}`;
      }),
    says: /another|not this node/,
  },
];

type Replacer = (all: string, ...groups: string[]) => string;

function edit(file: string, what: string | RegExp, replacement: string | Replacer): void {
  const before = readFileSync(file, 'utf8');
  const after = before.replace(
    what,
    typeof replacement === 'string' ? () => replacement : replacement,
  );
  assert.notEqual(after, before, `${file} has no ${what}`);
  writeFileSync(file, after);
}

function truncate(file: string, share: number): void {
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.subarray(0, Math.floor(bytes.length * share)));
}

test('on a damaged data directory', async (t) => {
  await using lab = await createLab({ hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host !== undefined);
  const cluster = await Cluster.form(lab);
  for (let i = 0; i < 20; i++) await host.must(['token', 'create']);
  const tokens = (await host.json(['token', 'list'])) as { tokens: readonly unknown[] };
  await host.stopAgent();
  const copyOf = (name: string): string => {
    const copy = join(host.directory, name.replaceAll(/\W+/g, '-'));
    cpSync(host.dataDir, copy, { recursive: true });
    return copy;
  };

  for (const { name, harm, says } of damages) {
    await t.test(`${name} is refused`, async () => {
      const copy = copyOf(name);
      harm(copy);
      const before = fileTree(copy);
      const outcome = await host.exec([launcher, 'agent', '--data-dir', copy]);
      assert.equal(outcome.code, 1, failure(outcome));
      assert.match(outcome.stderr, says);
      assert.doesNotMatch(outcome.stderr, /\n\s+at /, 'a line, not a stack');
      assert.deepEqual(fileTree(copy), before, 'nothing is lost');
    });
  }

  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
    await t.test(`a flipped bit at ${share} of the log is refused, never overlooked`, async () => {
      const copy = copyOf(`flip ${share}`);
      flipByte(logFiles(copy)[0] ?? '', share);
      const outcome = await host.exec([launcher, 'agent', '--data-dir', copy], {
        timeoutMs: 3_000,
      });
      assert.equal(outcome.code, 1, failure(outcome));
      assert.match(outcome.stderr, /damaged.*--replace/);
    });
  }

  await t.test('missing capabilities are refused, and named', async () => {
    const bounded = ['setpriv', '--bounding-set', '-net_admin'];
    const args = [...bounded, launcher, 'agent', '--data-dir', host.dataDir];
    const outcome = await host.exec(args);
    assert.equal(outcome.code, 1, failure(outcome));
    assert.match(outcome.stderr, /CAP_NET_ADMIN/);
  });

  await t.test('the undamaged directory still serves with all it knew', async () => {
    await host.startAgent();
    await cluster.settled();
    const after = (await host.json(['token', 'list'])) as { tokens: readonly unknown[] };
    assert.equal(after.tokens.length, tokens.tokens.length);
  });
});
