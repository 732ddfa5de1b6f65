/** IPVS's attributes to the byte, as linux/ip_vs.h lays them out, and whatever else may come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeDest,
  decodeService,
  decodeTcpTimeout,
  encodeDest,
  encodeDestKey,
  encodeService,
  encodeServiceKey,
  encodeTcpTimeout,
} from '../../../src/linux/ipvs-codec.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

test('a service is named by its family and its mark', () => {
  const bytes = encodeServiceKey({ family: 4, mark: 0x6866_0001 });
  assert.deepEqual(bytes, hex('14000180 06000100 02000000 08000500 01006668'));
});

test('a service carries its scheduler, its flags and a mask of a host', () => {
  const bytes = encodeService({ family: 4, mark: 1, scheduler: 'rr' });
  assert.deepEqual(
    bytes,
    hex(`38000180 06000100 02000000 08000500 01000000 07000600 72720000
      0c000700 00000000 ffffffff 08000800 00000000 08000900 ffffffff`),
  );
});

test('an IPv6 service says the length of a prefix; one that hashes looks on for a live one', () => {
  const bytes = encodeService({ family: 6, mark: 1, scheduler: 'mh' });
  assert.deepEqual(
    bytes,
    hex(`38000180 06000100 0a000000 08000500 01000000 07000600 6d680000
      0c000700 08000000 ffffffff 08000800 00000000 08000900 80000000`),
  );
});

test('a destination carries address and port in network order, way and weight in native', () => {
  const dest = { address: '10.0.0.11', port: 6443, method: 'direct', weight: 3 } as const;
  assert.deepEqual(
    encodeDest(dest),
    hex(`48000280 14000100 0a00000b 00000000 00000000 00000000 06000200 192b0000
      06000b00 02000000 08000300 03000000 08000400 03000000 08000500 00000000
      08000600 00000000`),
  );
  assert.deepEqual(
    encodeDestKey({ address: 'fd00::1', port: 80 }),
    hex(
      '28000280 14000100 fd000000 00000000 00000000 00000001 06000200 00500000 06000b00 0a000000',
    ),
  );
});

test('what the kernel lists comes back as it was given', () => {
  const service = { family: 6, mark: 0xffff_fff0, scheduler: 'wlc' } as const;
  assert.deepEqual(decodeService(encodeService(service)), service);
  for (const dest of [
    { address: '10.0.0.11', port: 6443, method: 'masquerade', weight: 65_535 },
    { address: 'fd00::b', port: 1, method: 'tunnel', weight: 0 },
  ] as const) {
    assert.deepEqual(decodeDest(encodeDest(dest), 4), {
      ...dest,
      active: 0,
      inactive: 0,
      total: 0,
    });
  }
  assert.equal(decodeTcpTimeout(Buffer.concat(encodeTcpTimeout(900))), 900);
});

test("counts are read, and a destination on this host itself is a translated one's kind", () => {
  const local = hex(`4c000280 14000100 0a000001 00000000 00000000 00000000 06000200 192b0000
    08000300 01000000 08000400 01000000 08000700 05000000 08000800 07000000
    0c000a80 08000100 09000000`);
  const expected = { address: '10.0.0.1', port: 6443, method: 'masquerade', weight: 1 };
  assert.deepEqual(decodeDest(local, 4), { ...expected, active: 5, inactive: 7, total: 9 });
});

test('a service that is chosen by its address is none of ours', () => {
  const theirs = hex('0c000180 06000100 02000000');
  assert.equal(decodeService(theirs), null);
});

test('whatever comes is read or left', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 96 }), (bytes) => {
      decodeService(Buffer.from(bytes));
      decodeDest(Buffer.from(bytes), 4);
      decodeTcpTimeout(Buffer.from(bytes));
    }),
  );
});
