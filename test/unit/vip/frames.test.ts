/**
 * ARP and neighbour discovery on bytes: what is sent, what is understood, and that nothing throws.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp } from '../../../src/base/ip.ts';
import {
  type ArpPacket,
  arpProbe,
  decodeArp,
  encodeArp,
  formatMac,
  gratuitousArp,
} from '../../../src/vip/arp.ts';
import { announcement, probeCodec } from '../../../src/vip/frames.ts';
import { decodeNdp, neighbourProbe, unsolicitedAdvertisement } from '../../../src/vip/ndp.ts';

const MAC = '02:00:00:00:00:01';
const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex');

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatIp);
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatIp);

test('gratuitousArp() is a request and a reply that name the VIP twice', () => {
  assert.deepEqual(gratuitousArp('10.0.0.100', MAC).map(hex), [
    'ffffffffffff020000000001080600010800060400010200000000010a0000640000000000000a000064',
    'ffffffffffff020000000001080600010800060400020200000000010a000064ffffffffffff0a000064',
  ]);
});

test('arpProbe() claims nothing: its sender is 0.0.0.0', () => {
  const frame = arpProbe('10.0.0.100', MAC);

  assert.equal(
    hex(frame),
    'ffffffffffff0200000000010806000108000604000102000000000100000000' + '0000000000000a000064',
  );
  assert.equal(probeCodec.claimant('10.0.0.100', frame), null);
});

test('unsolicitedAdvertisement() goes to all nodes, overrides, and sums up right', () => {
  const frame = unsolicitedAdvertisement('fd00::100', MAC);

  assert.equal(hex(frame.subarray(0, 14)), '33330000000102000000000186dd');
  assert.deepEqual(decodeNdp(frame), {
    kind: 'advertisement',
    source: 'fd00::100',
    target: 'fd00::100',
    override: true,
    solicited: false,
    mac: MAC,
  });
});

test('neighbourProbe() asks the solicited-node group from the unspecified address', () => {
  const frame = neighbourProbe('fd00::12:3456', MAC);

  assert.equal(hex(frame.subarray(0, 6)), '3333ff123456');
  assert.deepEqual(decodeNdp(frame), {
    kind: 'solicitation',
    source: '::',
    target: 'fd00::12:3456',
  });
});

test('decodeArp() gives back what encodeArp() wrote', () => {
  const packet: fc.Arbitrary<ArpPacket> = fc.record(
    {
      operation: fc.constantFrom('request', 'reply'),
      senderMac: mac,
      senderAddress: ipv4,
      targetMac: mac,
      targetAddress: ipv4,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(packet, (sent) => {
      assert.deepEqual(decodeArp(encodeArp(sent)), sent);
    }),
  );
});

test('a claim is recognised as a claim of its address and of no other', () => {
  fc.assert(
    fc.property(fc.oneof(ipv4, ipv6), mac, fc.oneof(ipv4, ipv6), (address, from, other) => {
      for (const frame of announcement(address, from)) {
        assert.equal(probeCodec.claimant(address, frame), from);
        if (other !== address) assert.equal(probeCodec.claimant(other, frame), null);
      }
      assert.equal(probeCodec.claimant(address, probeCodec.question(address, from)), null);
    }),
  );
});

test('a damaged neighbour message is not believed', () => {
  const frame = unsolicitedAdvertisement('fd00::100', MAC);
  const bit = fc.integer({ min: 22 * 8, max: frame.length * 8 - 1 });
  fc.assert(
    fc.property(bit, (flipped) => {
      const damaged = Uint8Array.from(frame);
      damaged[flipped >> 3] = (damaged[flipped >> 3] ?? 0) ^ (1 << (flipped & 7));
      assert.ok('invalid' in decodeNdp(damaged));
    }),
  );
});

test('no bytes whatsoever make a decoder throw', () => {
  const good = [...gratuitousArp('10.0.0.100', MAC), unsolicitedAdvertisement('fd00::100', MAC)];
  const nearlyGood = fc
    .tuple(fc.constantFrom(...good), fc.nat(90), fc.uint8Array({ maxLength: 12 }))
    .map(([frame, at, noise]) => {
      const bytes = Uint8Array.from(frame.subarray(0, Math.max(at, 1)));
      bytes.set(noise.subarray(0, Math.max(0, bytes.length - 10)), Math.max(0, bytes.length - 12));
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), nearlyGood), (bytes) => {
      decodeArp(bytes);
      decodeNdp(bytes);
    }),
    { numRuns: 2000 },
  );
});

test('claimant() for an asker counts answers to it, and no announcement', () => {
  const answer = (targetAddress: string): Uint8Array =>
    encodeArp({
      ...{ operation: 'reply', senderMac: MAC, senderAddress: '10.0.0.100' },
      ...{ targetMac: MAC, targetAddress },
    });
  const [request, reply] = announcement('10.0.0.100', MAC);

  assert.equal(probeCodec.claimant('10.0.0.100', answer('10.0.0.1'), '10.0.0.1'), MAC);
  for (const frame of [answer('10.0.0.2'), request, reply]) {
    assert.ok(frame !== undefined);
    assert.equal(probeCodec.claimant('10.0.0.100', frame, '10.0.0.1'), null);
    assert.equal(probeCodec.claimant('10.0.0.100', frame), MAC);
  }
  const [unsolicited] = announcement('fd00::100', MAC);
  assert.ok(unsolicited !== undefined);
  assert.equal(probeCodec.claimant('fd00::100', unsolicited, 'fd00::1'), null);
  assert.equal(probeCodec.claimant('fd00::100', unsolicited), MAC);
});
