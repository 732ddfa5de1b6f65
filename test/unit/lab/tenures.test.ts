/** Tenures and overlaps of hand-written claims. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstClaimAfter, overlapsOf, type Seen, tenuresOf } from '../../lab/tenures.ts';

/** `'A0 A5 B200'`: host A claimed at 0 and at 5 ms, B at 200. */
function claims(text: string): readonly Seen[] {
  return text.split(' ').map((word) => ({ host: word.slice(0, 1), at: Number(word.slice(1)) }));
}

function spans(text: string): string {
  return tenuresOf(claims(text))
    .map(({ host, from, to }) => `${host}${from}-${to}`)
    .join(' ');
}

const tenureCases: readonly { name: string; seen: string; want: string }[] = [
  { name: 'one holder', seen: 'A0 A5 A10', want: 'A0-10' },
  { name: 'a silence alone ends nothing', seen: 'A0 A5 A900', want: 'A0-900' },
  { name: 'one move', seen: 'A0 A5 B300 B305', want: 'A0-5 B300-305' },
  { name: 'there and back', seen: 'A0 A5 B300 B305 A600 A605', want: 'A0-5 B300-305 A600-605' },
  { name: 'claims in any order', seen: 'B300 A5 A0', want: 'A0-5 B300-300' },
  { name: 'interleaved answers', seen: 'A0 B2 A5 B7', want: 'A0-5 B2-7' },
  { name: 'a stray answer', seen: 'A0 B300 A350 B400', want: 'A0-0 B300-400 A350-350' },
  { name: 'three in a row', seen: 'A0 B300 C600', want: 'A0-0 B300-300 C600-600' },
];

for (const { name, seen, want } of tenureCases) {
  test(`tenuresOf() finds the tenures of ${name}`, () => {
    assert.equal(spans(seen), want);
  });
}

const overlapCases: readonly { name: string; seen: string; want: readonly string[] }[] = [
  { name: 'none in a clean move', seen: 'A0 A5 B6 B11', want: [] },
  { name: 'none in moves there and back', seen: 'A0 B300 A600 B900', want: [] },
  { name: 'two answers to one question', seen: 'A0 B0', want: ['A+B 0-0'] },
  { name: 'interleaved answers', seen: 'A0 B2 A5 B7', want: ['A+B 2-5'] },
  { name: 'a stray answer of a former holder', seen: 'A0 B300 A350 B400', want: ['B+A 350-350'] },
  { name: 'a third host', seen: 'A0 B2 C3 A5 B7 C8', want: ['A+B 2-5', 'A+C 3-5', 'B+C 3-7'] },
];

for (const { name, seen, want } of overlapCases) {
  test(`overlapsOf() reports ${name}`, () => {
    const found = overlapsOf(tenuresOf(claims(seen)));
    assert.deepEqual(
      found.map(({ hosts, from, to }) => `${hosts.join('+')} ${from}-${to}`),
      want,
    );
  });
}

test('firstClaimAfter() is the first claim of another host after the instant', () => {
  const seen = claims('A0 B3 A5 C9 B8');

  assert.deepEqual(firstClaimAfter(seen, 4, 'A'), { host: 'B', at: 8 });
  assert.equal(firstClaimAfter(seen, 9, 'A'), null);
});
