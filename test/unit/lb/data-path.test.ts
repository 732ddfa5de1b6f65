/** What a spec may ask for, and what it gets. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  endpoint,
  type HostPaths,
  kernelChoice,
  resolveDataPath,
  unsupportedDataPath,
} from '../../../src/lb/data-path.ts';
import type { DesiredBackend, DesiredFrontend } from '../../../src/lb/ports.ts';
import { frontendOf } from './world.ts';

const BACKEND: DesiredBackend = {
  name: 'n1',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  draining: false,
  mode: 'masquerade',
};

function host(more: Partial<HostPaths> = {}): HostPaths {
  return {
    unavailable: () => null,
    trust: () => ({ works: true, reason: 'it worked' }),
    ...more,
  };
}

const BLIND = host({ unavailable: (kind) => `no ${kind} here` });
const BROKEN = host({ trust: () => ({ works: false, reason: 'a firewall drops it' }) });
const OTHER_FAMILY = [{ ...BACKEND, address: 'fd00::11' }];
const LOOPBACK = [BACKEND, { ...BACKEND, address: '127.0.0.1' }];
const LEAST = 'least-connections';

suite('resolveDataPath()', () => {
  const table: readonly {
    ask: Partial<DesiredFrontend>;
    on?: HostPaths;
    want: string;
    reason: RegExp;
  }[] = [
    { ask: { dataPath: 'proxy' }, want: 'proxy', reason: /as asked/ },
    { ask: { dataPath: 'none' }, want: 'none', reason: /VIP only/ },
    { ask: { dataPath: 'http' }, want: 'http', reason: /as asked/ },
    { ask: { dataPath: 'nftables' }, want: 'nftables', reason: /as asked/ },
    { ask: { dataPath: 'nftables' }, on: BROKEN, want: 'nftables', reason: /as asked/ },
    { ask: { dataPath: 'nftables' }, on: BLIND, want: 'none', reason: /no nftables here/ },
    { ask: { dataPath: 'nftables', protocol: 'udp' }, want: 'nftables', reason: /as asked/ },
    { ask: { dataPath: 'nftables', scheduler: LEAST }, want: 'none', reason: /cannot do least/ },
    { ask: { dataPath: 'nftables', backends: OTHER_FAMILY }, want: 'none', reason: /family/ },
    { ask: { dataPath: 'nftables', backends: LOOPBACK }, want: 'none', reason: /loopback/ },
    { ask: { dataPath: 'auto' }, want: 'nftables', reason: /auto: it worked/ },
    { ask: { dataPath: 'auto' }, on: BROKEN, want: 'proxy', reason: /auto: a firewall drops it/ },
    { ask: { dataPath: 'auto' }, on: BLIND, want: 'proxy', reason: /no nftables here; no ipvs/ },
    { ask: { dataPath: 'auto', backends: OTHER_FAMILY }, want: 'proxy', reason: /family/ },
    { ask: { dataPath: 'auto', scheduler: LEAST }, want: 'ipvs', reason: /it worked/ },
    { ask: { dataPath: 'auto', scheduler: LEAST }, on: BLIND, want: 'proxy', reason: /no ipvs/ },
    { ask: { dataPath: 'auto', protocol: 'udp' }, want: 'nftables', reason: /it worked/ },
    { ask: { dataPath: 'proxy', protocol: 'udp' }, want: 'proxy', reason: /as asked/ },
  ];
  for (const { ask, on = host(), want, reason } of table) {
    test(`resolves ${JSON.stringify(ask)} to ${want}: ${reason.source}`, () => {
      const resolved = resolveDataPath(frontendOf([BACKEND], ask), on);

      assert.equal(resolved.dataPath, want);
      assert.match(resolved.reason, reason);
    });
  }
});

test('kernelChoice() takes ipvs only where nftables cannot be had', () => {
  const noNft = host({ unavailable: (kind) => (kind === 'nftables' ? 'no nft' : null) });

  assert.deepEqual(kernelChoice(frontendOf([BACKEND]), noNft), { kind: 'ipvs' });
});

test('unsupportedDataPath() says what to ask for instead', () => {
  const base = { dataPath: 'auto', scheduler: 'round-robin' } as const;

  assert.equal(unsupportedDataPath(base), null);
  const counting = { dataPath: 'nftables', scheduler: LEAST } as const;
  assert.match(unsupportedDataPath(counting) ?? '', /use auto or proxy/);
  assert.equal(unsupportedDataPath({ ...counting, dataPath: 'ipvs' }), null);
});

test('endpoint() puts IPv6 addresses into brackets', () => {
  assert.equal(endpoint('10.0.0.1', 6443), '10.0.0.1:6443');
  assert.equal(endpoint('fd00::1', 6443), '[fd00::1]:6443');
});
