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
import { carriersOf } from '../../../src/linux/link-carriers.ts';
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
import { decodeLink, decodeRoute } from '../../../src/linux/rtnetlink.ts';

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

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

test('decodeLink() tells a bond by its active slave and a VLAN by its parent', () => {
  const header = (index: number): Buffer => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(1, 2);
    bytes.writeInt32LE(index, 4);
    bytes.writeUInt32LE(0x41, 8);
    return bytes;
  };
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
  const named = (name: string): Buffer[] => [attribute(3, cString(name)), attribute(1, mac)];
  const kind = (name: string): Buffer => attribute(1, cString(name));
  const bond = decodeLink(
    Buffer.concat([
      header(5),
      ...named('bond0'),
      attribute(18, Buffer.concat([kind('bond'), attribute(0x8002, attribute(2, u32(4)))])),
    ]),
  );
  const vlan = decodeLink(Buffer.concat([header(6), ...named('bond0.7'), attribute(5, u32(5))]));
  const slave = (index: number, name: string) =>
    decodeLink(Buffer.concat([header(index), ...named(name), attribute(10, u32(5))]));
  // A veth whose other end is in another namespace: the index counts there.
  const veth = decodeLink(
    Buffer.concat([header(7), ...named('veth'), attribute(5, u32(5)), attribute(37, u32(0))]),
  );
  const links = [bond, vlan, slave(3, 'eth0'), slave(4, 'eth1'), veth].map((link) => {
    assert.ok(link !== null);
    return link;
  });

  assert.equal(bond?.activeSlave, 4);
  assert.equal(veth?.parent, null);
  const carriers = links.map((link) => carriersOf(link, links));
  assert.deepEqual(carriers, [['eth1'], ['bond0', 'eth1'], [], [], []]);
  assert.equal(decodeLink(Buffer.alloc(15)), null);
});

test('decodeRoute() takes the next hop by the interface that is asked for', () => {
  const hop = (index: number, gateway: readonly number[]): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(16, 0);
    bytes.writeInt32LE(index, 4);
    return Buffer.concat([bytes, attribute(5, Uint8Array.from(gateway))]);
  };
  const hops = Buffer.concat([hop(2, [10, 0, 0, 1]), hop(3, [10, 1, 0, 1])]);
  const several = Buffer.concat([Buffer.alloc(12), attribute(9, hops)]);
  const single = Buffer.concat([Buffer.alloc(12), attribute(4, u32(2))]);

  assert.deepEqual(decodeRoute(several, 3), { index: 3, gateway: '10.1.0.1', prefixLength: 0 });
  assert.equal(decodeRoute(several, null)?.gateway, '10.0.0.1');
  assert.equal(decodeRoute(several, 9), null);
  assert.deepEqual(decodeRoute(single, null), { index: 2, gateway: null, prefixLength: 0 });
  assert.equal(decodeRoute(several.subarray(0, 24), 3), null);
});
