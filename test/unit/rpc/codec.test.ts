/** The codec: every message survives the wire, and no bytes make it throw. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { RaftMessage } from '../../../proto/gen/raft.ts';
import { defined } from '../../../src/base/assert.ts';
import type { InstallSnapshot } from '../../../src/raft/message.ts';
import type { Entry, SnapshotMeta } from '../../../src/raft/types.ts';
import {
  classOf,
  decodeMessage,
  encodeMessage,
  type WireableMessage,
} from '../../../src/rpc/codec.ts';
import { maxSnapshotBytes, snapshotChunkBytes } from '../../../src/rpc/limits.ts';
import {
  offeredBytes,
  offerText,
  SnapshotAssembler,
  snapshotChunks,
} from '../../../src/rpc/snapshot-codec.ts';

const route = { from: 'a', to: 'b' };
/** Plain objects only, as the decoder makes them. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const small = fc.nat({ max: 1_000_000 });
const duration = fc.double({ min: 0, max: 60_000, noNaN: true });
const id = fc.string({ minLength: 1, maxLength: 20 });
const release = record({ term: number, leader: id });
const envelope = { from: fc.constant('a'), to: fc.constant('b'), term: number };

const append = fc
  .record({
    prevIndex: small,
    prevTerm: small,
    steps: fc.array(fc.nat({ max: 3 }), { maxLength: 8 }),
    data: fc.uint8Array({ maxLength: 40 }),
    conf: fc.boolean(),
    commit: number,
  })
  .map(({ prevIndex, prevTerm, steps, data, conf, commit }): WireableMessage => {
    let term = prevTerm;
    const entries = steps.map((step, offset): Entry => {
      term += step;
      const type = conf ? 'conf-change' : 'normal';
      return { index: prevIndex + 1 + offset, term, type, data };
    });
    return { type: 'append', ...route, term, prevIndex, prevTerm, entries, commit };
  });

const messages: fc.Arbitrary<WireableMessage> = fc.oneof(
  append,
  record({
    ...envelope,
    type: fc.constantFrom('vote', 'pre-vote'),
    lastIndex: number,
    term: fc.constant(Number.MAX_SAFE_INTEGER),
    lastTerm: number,
    release: fc.option(release),
    priority: fc.integer({ min: -1_000, max: 1_000 }),
  }),
  record({
    ...envelope,
    type: fc.constantFrom('vote-reply', 'pre-vote-reply'),
    granted: fc.boolean(),
    promiseRemainingMs: duration,
  }),
  record({
    ...envelope,
    type: fc.constant('append-reply'),
    index: number,
    rejected: fc.boolean(),
    hintIndex: number,
    hintTerm: number,
  }),
  record({
    ...envelope,
    type: fc.constant('heartbeat'),
    round: number,
    promiseMs: duration,
    commit: number,
  }),
  record({
    ...envelope,
    type: fc.constant('heartbeat-reply'),
    round: number,
    eligibility: record({ eligible: fc.boolean(), reason: fc.string({ maxLength: 200 }) }),
  }),
  record({ ...envelope, type: fc.constantFrom('timeout-now', 'lease-release'), release }),
);

test('every message comes back as it was sent', () => {
  fc.assert(
    fc.property(messages, (message) => {
      assert.deepEqual(decodeMessage(encodeMessage(message), route), message);
    }),
  );
});

test('decodeMessage() never throws, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.ok(decodeMessage(bytes, route));
    }),
    { numRuns: 2_000 },
  );
});

test('decodeMessage() never throws on a message with a byte changed or cut off', () => {
  fc.assert(
    fc.property(
      messages,
      fc.nat(),
      fc.nat({ max: 255 }),
      fc.boolean(),
      (message, at, value, cut) => {
        const bytes = new Uint8Array(encodeMessage(message));
        const offset = at % bytes.length;
        bytes[offset] = value;
        const decoded = decodeMessage(cut ? bytes.subarray(0, offset) : bytes, route);
        if (!('invalid' in decoded)) {
          assert.ok(Number.isSafeInteger(decoded.term));
          assert.equal(decoded.from, 'a');
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

const heartbeat: WireableMessage = {
  type: 'heartbeat',
  ...route,
  term: 3,
  round: 7,
  promiseMs: 400,
  commit: 9,
};

function entry(index: number, term: number): Entry {
  return { index, term, type: 'normal', data: new Uint8Array([1]) };
}

test('decodeMessage() says why it refuses', () => {
  const appendOf = (entries: Entry[]): WireableMessage => ({
    ...{ type: 'append', ...route, term: 3, prevIndex: 4, prevTerm: 2, commit: 0 },
    entries,
  });
  const wire = RaftMessage.decode(encodeMessage(heartbeat));
  const raw = (change: Partial<RaftMessage>) => RaftMessage.encode({ ...wire, ...change }).finish();
  const rows: readonly [string, Uint8Array][] = [
    ['wrong-sender', encodeMessage({ ...heartbeat, from: 'c' })],
    ['wrong-sender', encodeMessage({ ...heartbeat, from: 'b' })],
    ['wrong-receiver', encodeMessage({ ...heartbeat, to: 'c' })],
    ['newer-version', raw({ formatVersion: 2 })],
    ['malformed', raw({ formatVersion: 0 })],
    ['unknown-type', raw({ body: undefined })],
    ['bad-duration', encodeMessage({ ...heartbeat, promiseMs: Number.NaN })],
    ['bad-duration', encodeMessage({ ...heartbeat, promiseMs: -1 })],
    ['bad-indices', encodeMessage(appendOf([entry(6, 2)]))],
    ['bad-indices', encodeMessage(appendOf([entry(5, 2), entry(5, 2)]))],
    ['bad-terms', encodeMessage(appendOf([entry(5, 1)]))],
    ['bad-terms', encodeMessage(appendOf([entry(5, 4)]))],
    [
      'bad-release',
      encodeMessage({ type: 'timeout-now', ...route, term: 1, release: { term: 1, leader: '' } }),
    ],
  ];
  for (const [reason, bytes] of rows) {
    assert.deepEqual(decodeMessage(bytes, route), { invalid: reason });
  }
});

test('a term beyond the safe integers is refused', () => {
  const bytes = [8, 1, 18, 1, 97, 26, 1, 98, 32, ...Array<number>(9).fill(0xff), 0x01];
  assert.deepEqual(decodeMessage(new Uint8Array(bytes), route), { invalid: 'malformed' });
});

test('decoded entries do not keep the received buffer alive', () => {
  const bytes = Buffer.from(
    encodeMessage({
      ...{ type: 'append', ...route, term: 2, prevIndex: 4, prevTerm: 2, commit: 0 },
      entries: [entry(5, 2)],
    }),
  );

  const decoded = decodeMessage(bytes, route);

  assert.ok(!('invalid' in decoded) && decoded.type === 'append');
  assert.equal(decoded.entries[0]?.data.buffer.byteLength, 1);
});

test('classOf() gives appends and snapshots streams of their own', () => {
  assert.equal(classOf('append'), 'log');
  assert.equal(classOf('append-reply'), 'control');
  assert.equal(classOf('snapshot'), 'snapshot');
});

function checksumOf({ snapshot }: InstallSnapshot): Uint8Array {
  return createHash('sha256').update(snapshot.data).digest();
}

function snapshotOf(bytes: number): InstallSnapshot {
  const config = { voters: ['a', 'b'], votersOutgoing: [], learners: ['c'], learnersNext: [] };
  return {
    type: 'snapshot',
    ...route,
    term: 5,
    snapshot: {
      meta: { index: 10, term: 4, config: { ...config, autoLeave: false } },
      data: new Uint8Array(bytes).map((_, index) => index % 251),
    },
  };
}

test('a snapshot of any size comes back from its parts', () => {
  for (const bytes of [0, 1, snapshotChunkBytes, snapshotChunkBytes * 3 + 5]) {
    const message = snapshotOf(bytes);
    const assembler = new SnapshotAssembler(route);
    const results = [...snapshotChunks(message, checksumOf(message))].map((chunk) =>
      assembler.add(chunk),
    );

    assert.deepEqual(results.pop(), message);
    assert.ok(results.every((result) => result === null));
  }
});

test('a snapshot that broke off anywhere goes on where it stopped', () => {
  const message = snapshotOf(snapshotChunkBytes * 3 + 5);
  const checksum = checksumOf(message);
  const parts = [...snapshotChunks(message, checksum)];
  for (let cut = 1; cut <= parts.length; cut++) {
    const broken = new SnapshotAssembler(route);
    for (const part of parts.slice(0, cut)) broken.add(part);
    const unfinished = defined(broken.unfinished, 'a beginning');
    const from = offeredBytes(offerText(unfinished), message, checksum);
    assert.equal(from, Math.min(cut * snapshotChunkBytes, message.snapshot.data.length));

    // Whoever leads by then sends the rest.
    const later = { ...message, term: 6 };
    const rest = [...snapshotChunks(later, checksum, from)];
    const assembler = new SnapshotAssembler(route, unfinished);
    assert.equal(assembler.unfinished, unfinished);
    assert.deepEqual(rest.map((part) => assembler.add(part)).pop(), later, `cut after ${cut}`);
    assert.equal(rest.length, Math.max(1, parts.length - cut));
  }
});

test('the beginning of another snapshot is of no use', () => {
  const message = snapshotOf(snapshotChunkBytes * 3);
  const checksum = checksumOf(message);
  const broken = new SnapshotAssembler(route);
  for (const part of [...snapshotChunks(message, checksum)].slice(0, 2)) broken.add(part);
  const unfinished = defined(broken.unfinished, 'a beginning');
  const offer = offerText(unfinished);
  const { snapshot } = message;
  const other = (meta: Partial<SnapshotMeta>, data = snapshot.data): InstallSnapshot => ({
    ...message,
    snapshot: { meta: { ...snapshot.meta, ...meta }, data },
  });

  assert.equal(offeredBytes(offer, message, checksum), snapshotChunkBytes * 2);
  assert.equal(offeredBytes(offer, other({ index: 11 }), checksum), 0);
  assert.equal(offeredBytes(offer, other({ term: 3 }), checksum), 0);
  assert.equal(offeredBytes(offer, other({}, new Uint8Array(9)), checksum), 0);
  assert.equal(offeredBytes(offer, message, new Uint8Array(32)), 0);
  for (const odd of ['', `${offer}9999999999`, `${offer}x`, `${offer.slice(0, -6)}-1`, 'x'])
    assert.equal(offeredBytes(odd, message, checksum), 0, odd);

  // Sent from the start all the same, it is taken from the start.
  const assembler = new SnapshotAssembler(route, unfinished);
  const results = [...snapshotChunks(message, checksum)].map((part) => assembler.add(part));
  assert.deepEqual(results.pop(), message);
});

test('SnapshotAssembler refuses parts that do not fit', () => {
  const message = snapshotOf(snapshotChunkBytes * 3);
  const [first, second, third] = [...snapshotChunks(message, checksumOf(message))];
  assert.ok(first && second && third);
  const huge = snapshotOf(0);
  Object.defineProperty(huge.snapshot.data, 'length', { value: maxSnapshotBytes + 1 });
  const hugeHeader = snapshotChunks(huge, new Uint8Array(0)).next().value as Uint8Array;
  const rows: readonly [string, readonly Uint8Array[]][] = [
    ['no-header', [second]],
    ['bad-offset', [first, third]],
    ['second-header', [first, first]],
    ['too-long', [hugeHeader]],
    ['malformed', [new Uint8Array([255])]],
    ['bad-checksum', [...snapshotChunks(message, new Uint8Array(32))]],
    // Of which nothing was kept here.
    ['bad-offset', [...snapshotChunks(message, checksumOf(message), snapshotChunkBytes)]],
  ];
  for (const [reason, chunks] of rows) {
    const assembler = new SnapshotAssembler(route);
    assert.deepEqual(chunks.map((chunk) => assembler.add(chunk)).pop(), { invalid: reason });
  }
});
