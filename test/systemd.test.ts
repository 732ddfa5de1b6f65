/**
 * The unit file: systemd accepts it without a word, and finds the service well locked up. Needs
 * systemd's own tools (`packaging/setup.sh packages` installs them), but no running systemd.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const unit = readFileSync(join(root, 'systemd/holdfast.service'), 'utf8');

/** Of 10; what the project promises. */
const maxExposure = 4.0;

test('systemd-analyze verify has nothing to say about the unit', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-unit-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'holdfast.service');
  // The launcher is not installed on a machine that only runs the tests.
  writeFileSync(path, unit.replaceAll('/usr/bin/holdfast', join(root, 'bin/holdfast')));

  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', path], {
    encoding: 'utf8',
  });

  assert.equal(`${stdout}${stderr}`, '');
  assert.equal(status, 0);
});

test(`systemd-analyze security finds an exposure of at most ${maxExposure}`, () => {
  const report = execFileSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', join(root, 'systemd/holdfast.service')],
    { encoding: 'utf8' },
  );

  const exposure = /Overall exposure level for holdfast\.service: ([\d.]+)/.exec(report)?.[1];
  assert.ok(exposure !== undefined, `no exposure level in:\n${report}`);
  assert.ok(Number(exposure) <= maxExposure, `exposure is ${exposure}\n${report}`);
});

test('the unit lets the agent do its work and nothing more', () => {
  const settings = new Map(
    unit
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

  assert.equal(settings.get('Type'), 'notify');
  assert.equal(settings.get('Restart'), 'always');
  assert.match(settings.get('WatchdogSec') ?? '', /^\d+s$/);
  assert.match(settings.get('ExecStopPost') ?? '', / cleanup$/);
  assert.match(settings.get('SystemCallFilter') ?? '', /\bbpf\b/);
  assert.equal(settings.get('DeviceAllow'), '/dev/net/tun rw');
  assert.equal(settings.get('ReadWritePaths'), '/proc/sys/net');
  const capabilities = settings.get('CapabilityBoundingSet')?.split(' ') ?? [];
  for (const needed of ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF']) {
    assert.ok(capabilities.includes(needed), `${needed} is missing`);
  }
  assert.ok(!settings.has('MemoryDenyWriteExecute'), 'V8 compiles at run time');
  assert.ok(!settings.has('CPUSchedulingPolicy'), 'some hosts refuse it, and the unit with it');
});
