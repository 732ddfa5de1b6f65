/** What a spec may ask for, and what it gets. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  endpoint,
  resolveDataPath,
  unsupportedDataPath,
  unsupportedProtocol,
} from '../../../src/lb/data-path.ts';

suite('resolveDataPath()', () => {
  const table = [
    { dataPath: 'proxy', protocol: 'tcp', want: 'proxy', reason: /as asked/ },
    { dataPath: 'auto', protocol: 'tcp', want: 'proxy', reason: /kernel data paths/ },
    { dataPath: 'none', protocol: 'tcp', want: 'none', reason: /VIP only/ },
    { dataPath: 'nftables', protocol: 'tcp', want: 'none', reason: /nftables is not built/ },
    { dataPath: 'ipvs', protocol: 'tcp', want: 'none', reason: /ipvs is not built/ },
    { dataPath: 'http', protocol: 'tcp', want: 'none', reason: /http is not built/ },
    { dataPath: 'auto', protocol: 'udp', want: 'none', reason: /udp is not built/ },
  ] as const;
  for (const { dataPath, protocol, want, reason } of table) {
    test(`resolves ${dataPath} for ${protocol} to ${want}`, () => {
      const resolved = resolveDataPath({ dataPath, protocol });

      assert.equal(resolved.dataPath, want);
      assert.match(resolved.reason, reason);
    });
  }
});

test('unsupportedDataPath() and unsupportedProtocol() refuse only what is not built', () => {
  assert.deepEqual(
    (['auto', 'proxy', 'none'] as const).map((path) => unsupportedDataPath(path)),
    [null, null, null],
  );
  assert.equal(unsupportedProtocol('tcp'), null);
  assert.match(unsupportedDataPath('ipvs') ?? '', /use proxy/);
  assert.match(unsupportedProtocol('udp') ?? '', /only tcp/);
});

test('endpoint() puts IPv6 addresses into brackets', () => {
  assert.equal(endpoint('10.0.0.1', 6443), '10.0.0.1:6443');
  assert.equal(endpoint('fd00::1', 6443), '[fd00::1]:6443');
});
