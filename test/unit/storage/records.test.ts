/** Stored values: what goes in comes out, and whatever else is read is refused in one way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OperatingError } from '../../../src/base/errors.ts';
import {
  decodeEntry,
  decodeHardState,
  decodeIdentity,
  decodeSnapshot,
  encodeEntry,
  encodeHardState,
  encodeIdentity,
  encodeSnapshot,
  entryKey,
} from '../../../src/storage/records.ts';

/** Records as the program makes them, with a prototype. */
const plain = { noNullPrototype: true } as const;
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const ids = fc.array(fc.string({ minLength: 1 }), { maxLength: 5 });
const data = fc.uint8Array({ maxLength: 100 });

test('an entry comes back as it was', () => {
  const type = fc.constantFrom('normal' as const, 'conf-change' as const);
  fc.assert(
    fc.property(fc.record({ index: number, term: number, type, data }, plain), (entry) => {
      assert.deepEqual(decodeEntry(entryKey(entry.index), encodeEntry(entry)), entry);
    }),
  );
});

test('a hard state comes back as it was', () => {
  const vote = fc.option(fc.string({ minLength: 1 }));
  const state = fc.record({ term: number, vote, commit: number, promiseMaxMs: number }, plain);
  fc.assert(
    fc.property(state, number, (hard, lastIndex) => {
      assert.deepEqual(decodeHardState(encodeHardState(hard, lastIndex)), { hard, lastIndex });
    }),
  );
});

test('a snapshot and an identity come back as they were', () => {
  const config = fc.record(
    {
      voters: ids,
      votersOutgoing: ids,
      learners: ids,
      learnersNext: ids,
      autoLeave: fc.boolean(),
    },
    plain,
  );
  const meta = fc.record({ index: number, term: number, config }, plain);
  const identity = { clusterId: 'c', nodeId: 'n', name: 'one' };
  fc.assert(
    fc.property(fc.record({ meta, data }, plain), (snapshot) => {
      assert.deepEqual(decodeSnapshot(encodeSnapshot(snapshot)), snapshot);
    }),
  );
  assert.deepEqual(decodeIdentity(encodeIdentity(identity)), identity);
});

test('entry keys sort as their indices do', () => {
  fc.assert(
    fc.property(number, number, (left, right) => {
      assert.equal(entryKey(left) < entryKey(right), left < right);
    }),
  );
});

test('any other bytes are damage, for every kind of value', () => {
  const kinds = [
    (bytes: Uint8Array) => decodeEntry(entryKey(5), bytes),
    decodeHardState,
    decodeSnapshot,
    decodeIdentity,
  ];
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.uint8Array({ maxLength: 80 }), (decode, bytes) => {
      assert.throws(
        () => decode(bytes),
        (error: unknown) => error instanceof OperatingError && error.code === 'data-corrupt',
      );
    }),
    { numRuns: 2000 },
  );
});
