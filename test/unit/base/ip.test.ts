/**
 * IP address codec: canonical text, refusals, subnets, and a round trip against Node's own check.
 */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalIp, formatIp, inSubnet, ipFamily, parseIp } from '../../../src/base/ip.ts';

test('canonicalIp() writes one text for each address', () => {
  const rows: readonly (readonly [string, string | null])[] = [
    ['10.0.0.100', '10.0.0.100'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['::', '::'],
    ['fd00::', 'fd00::'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['010.0.0.1', null],
    ['10.0.0', null],
    ['10.0.0.256', null],
    ['1::2::3', null],
    ['1:2:3:4:5:6:7:8::', null],
    ['fe80::1%eth0', null],
    ['10.0.0.1/24', null],
    ['', null],
  ];

  for (const [text, want] of rows) assert.equal(canonicalIp(text), want, text);
});

test('parseIp() and formatIp() undo each other for every address', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (address) => {
      assert.deepEqual(parseIp(formatIp(address)), address);
    }),
  );
});

test('parseIp() accepts exactly what Node calls an address', () => {
  const piece = fc.constantFrom(
    ':',
    '::',
    '.',
    '0',
    '1',
    'ff',
    'ffff',
    '10.0.0.1',
    '255',
    'g',
    '%',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('');
      assert.equal(ipFamily(text) ?? 0, text.includes('%') ? 0 : isIP(text), text);
    }),
    { numRuns: 2000 },
  );
});

test('inSubnet() compares exactly the prefix', () => {
  assert.equal(inSubnet('10.0.1.255', '10.0.0.1', 23), true);
  assert.equal(inSubnet('10.0.2.0', '10.0.0.1', 23), false);
  assert.equal(inSubnet('10.0.0.1', '192.168.0.1', 0), true);
  assert.equal(inSubnet('fd00::1', 'fd00::ffff', 64), true);
  assert.equal(inSubnet('fd00:0:0:1::1', 'fd00::1', 64), false);
  assert.equal(inSubnet('10.0.0.1', 'fd00::1', 0), false);
});
