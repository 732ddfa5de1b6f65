/** The check value of the CRC catalogue, and vectors of RFC 3720 B.4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../../src/storage/crc32c.ts';

const vectors: readonly {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly want: number;
}[] = [
  { name: 'nothing', bytes: new Uint8Array(), want: 0 },
  { name: '123456789', bytes: new TextEncoder().encode('123456789'), want: 0xe3069283 },
  { name: '32 zeroes', bytes: new Uint8Array(32), want: 0x8a9136aa },
  { name: '32 ones', bytes: new Uint8Array(32).fill(0xff), want: 0x62a8ab43 },
  { name: '0 to 31', bytes: Uint8Array.from({ length: 32 }, (_, i) => i), want: 0x46dd794e },
];

for (const { name, bytes, want } of vectors) {
  test(`crc32c() of ${name}`, () => assert.equal(crc32c(bytes), want));
}

test('crc32c() continues over parts', () => {
  const bytes = new TextEncoder().encode('123456789');

  assert.equal(crc32c(bytes.subarray(4), crc32c(bytes.subarray(0, 4))), crc32c(bytes));
});
