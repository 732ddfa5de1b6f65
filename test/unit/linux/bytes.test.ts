/** The pure parts of the kernel layer: netlink's bytes, eBPF's instructions, and nft's text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  assemble,
  call,
  exit,
  jump,
  jumpIfEqual,
  loadMap,
  moveValue,
} from '../../../src/linux/bpf-assembler.ts';
import { fenceProgram } from '../../../src/linux/fence-program.ts';
import {
  attribute,
  cString,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  fromCString,
} from '../../../src/linux/netlink-message.ts';
import { nftInterface } from '../../../src/linux/nft.ts';
import { steeringRules } from '../../../src/linux/nftables.ts';

test('decodeMessages() finds every message that encodeMessage() wrote, and no more', () => {
  const message = fc.record(
    {
      type: fc.integer({ min: 0, max: 0xffff }),
      flags: fc.integer({ min: 0, max: 0xffff }),
      sequence: fc.integer({ min: 0, max: 0xffffffff }),
      payload: fc.uint8Array({ maxLength: 40 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), (sent) => {
      const datagram = Buffer.concat(
        sent.map(({ payload, ...header }) => {
          const bytes = encodeMessage(header, payload);
          return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
        }),
      );
      const got = [...decodeMessages(datagram)].map(({ payload, ...header }) => ({
        ...header,
        payload: Uint8Array.from(payload),
      }));
      assert.deepEqual(got, sent);
    }),
  );
});

test('attributes come back by type, whatever their length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 30 }), (one, two) => {
      const decoded = decodeAttributes(Buffer.concat([attribute(1, one), attribute(0x8002, two)]));
      assert.deepEqual([...decoded.keys()], [1, 2]);
      assert.deepEqual(Uint8Array.from(decoded.get(1) ?? []), one);
      assert.deepEqual(Uint8Array.from(decoded.get(2) ?? []), two);
    }),
  );
  assert.equal(fromCString(cString('eth0')), 'eth0');
});

test('no bytes whatsoever make the decoders throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const message of decodeMessages(Buffer.from(bytes))) decodeAttributes(message.payload);
      decodeAttributes(Buffer.from(bytes));
    }),
    { numRuns: 2000 },
  );
});

test('assemble() resolves labels over wide instructions', () => {
  const program = assemble([
    moveValue(0, -1),
    jumpIfEqual(0, 7, 'end'),
    loadMap(1, 9),
    jump('end'),
    call(5),
    'end',
    exit(),
  ]);

  assert.deepEqual(program.toString('hex').match(/.{16}/g), [
    'b7000000ffffffff',
    '1500040007000000',
    '1811000009000000',
    '0000000000000000',
    '0500010000000000',
    '8500000005000000',
    '9500000000000000',
  ]);
  assert.throws(() => assemble([jump('nowhere'), exit()]));
});

test('the fence has one more part inwards: gratuitous ARP passes', () => {
  const maps = { vips: 3, cells: 4 };
  const ingress = fenceProgram('ingress', maps);
  const egress = fenceProgram('egress', maps);

  // Eight to read who speaks, three to compare that with who is meant.
  assert.equal(ingress.length - egress.length, 11 * 8);
});

test('steeringRules() translates on arrival and on leaving, and closes the proxy port', () => {
  const rules = steeringRules([
    { address: '10.0.0.100', port: 6443, protocol: 'tcp', toPort: 40001 },
    { address: 'fd00::100', port: 6443, protocol: 'tcp', toPort: 40001 },
  ]);

  assert.equal(
    rules,
    `  chain arriving {
    type nat hook prerouting priority -110; policy accept;
    ip daddr 10.0.0.100 tcp dport 6443 fib daddr type local dnat to :40001
    ip6 daddr fd00::100 tcp dport 6443 fib daddr type local dnat to :40001
  }
  chain leaving {
    type nat hook output priority -110; policy accept;
    ip daddr 10.0.0.100 tcp dport 6443 fib daddr type local dnat to :40001
    ip6 daddr fd00::100 tcp dport 6443 fib daddr type local dnat to :40001
  }
  chain unasked {
    type filter hook input priority -10; policy accept;
    tcp dport 40001 ct state new ct status & dnat != dnat drop
  }
`,
  );
  assert.equal(steeringRules([]), '');
});

test('nftInterface() lets no name become a piece of a script', () => {
  assert.equal(nftInterface('bond0.100'), '"bond0.100"');
  for (const name of ['', 'a b', 'x" drop', 'eth*', 'back\\slash', 'sixteen-chars-00']) {
    assert.throws(() => nftInterface(name), name);
  }
});
