/** `bin/holdfast` as people and scripts call it: from anywhere, through links, with any PATH. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { version } from '../../../src/config/version.ts';

const launcher = fileURLToPath(new URL('../../../bin/holdfast', import.meta.url));

function call(
  args: readonly string[],
  options: { path?: string; bin?: string; cwd?: string } = {},
) {
  const { path = '/usr/bin:/bin', bin = launcher, cwd = '/' } = options;
  return spawnSync(bin, [...args], { cwd, encoding: 'utf8', env: { PATH: path } });
}

test('the launcher runs from any directory, through a chain of links, without a PATH', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-launcher-'));
  t.after(() => rmSync(folder, { recursive: true }));
  symlinkSync(launcher, join(folder, 'one'));
  symlinkSync('one', join(folder, 'two'));

  const outcome = call(['version', '-o', 'json'], { path: '', bin: './two', cwd: folder });

  assert.equal(outcome.stderr, '');
  const printed = JSON.parse(outcome.stdout) as { version: string; node: string };
  assert.equal(printed.version, version);
  assert.ok(Number(/^v(\d+)/.exec(printed.node)?.[1]) >= 24);
});

test('the exit status is 0 for help, 2 for nonsense and 1 for what failed', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-launcher-'));
  t.after(() => rmSync(folder, { recursive: true }));

  const help = call(['--help']);
  const nothing = call([]);
  const nonsense = call(['nonsense']);
  const failed = call(['agent', '--data-dir', folder]);

  assert.equal(help.status, 0);
  assert.match(help.stdout, /\n {2}init \[options\]/);
  assert.equal(nothing.status, 2);
  assert.equal(nonsense.status, 2);
  assert.match(nonsense.stderr, /^holdfast: unknown command 'nonsense'[^\n]*\n$/);
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /^holdfast: this node is not prepared: [^\n]*holdfast init[^\n]*\n$/);
});

test('a reader that has seen enough is no error', () => {
  const outcome = spawnSync('sh', ['-c', `${launcher} --help | head -c 1`], { encoding: 'utf8' });

  assert.equal(outcome.stderr, '');
  assert.equal(outcome.stdout, 'U');
});
