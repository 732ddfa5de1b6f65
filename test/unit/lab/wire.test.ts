/** Frames that prove a claim, and frames that prove none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimOf, ipv6Bytes, ipv6Text, knock, question } from '../../lab/wire.ts';

const self = { mac: '02:00:00:4d:00:fe', ipv4: '10.77.0.250', ipv6: 'fd77::250' };
const vips = new Set(['10.77.0.100', 'fd77::100']);

function bytes(...hex: readonly string[]): Buffer {
  return Buffer.from(hex.join('').replaceAll(' ', ''), 'hex');
}

/** An ARP packet of 02:…:01 for 10.77.0.100. */
function arp(to: string, operation: string, sender: string, target: string): Buffer {
  const ethernet = bytes(to, '0200004d0001', '0806');
  const body = bytes('0001 0800 06 04', operation, '0200004d0001', sender, '0200004d00fe', target);
  return Buffer.concat([ethernet, body]);
}

const everybody = 'ffffffffffff';
const one = '0200004d00fe';
const vip = '0a4d0064';
const other = '0a4d000b';

const arpCases = [
  { name: 'a reply to one asker', frame: arp(one, '0002', vip, other), want: 'answer' },
  { name: 'a gratuitous reply', frame: arp(everybody, '0002', vip, vip), want: 'announce' },
  { name: 'a gratuitous request', frame: arp(everybody, '0001', vip, vip), want: 'announce' },
  { name: 'a question from the VIP', frame: arp(everybody, '0001', vip, other), want: 'announce' },
  { name: 'a question for the VIP', frame: arp(everybody, '0001', other, vip), want: null },
  { name: 'a probe (sender 0.0.0.0)', frame: arp(everybody, '0001', '00000000', vip), want: null },
  { name: 'a reply for another address', frame: arp(one, '0002', other, vip), want: null },
  { name: 'a cut frame', frame: arp(one, '0002', vip, other).subarray(0, 30), want: null },
];

for (const { name, frame, want } of arpCases) {
  test(`claimOf() takes ${name} for ${want ?? 'no claim'}`, () => {
    const claim = claimOf(frame, vips);
    assert.deepEqual(
      claim,
      want === null ? null : { vip: '10.77.0.100', kind: want, mac: '02:00:00:4d:00:01' },
    );
  });
}

test('claimOf() takes an echo reply to our knock for an accepted packet', () => {
  const request = knock(self, '02:00:00:4d:00:01', '10.77.0.100', 7);
  assert.equal(claimOf(request, vips), null);
  const reply = Buffer.from(request);
  request.copy(reply, 26, 30, 34);
  request.copy(reply, 30, 26, 30);
  reply[34] = 0;

  assert.equal(claimOf(reply, vips)?.kind, 'accept');
  reply.writeUInt16BE(1, 38);
  assert.equal(claimOf(reply, vips), null, "somebody else's ping");
});

test('question() is an ARP request that names us and the VIP', () => {
  assert.equal(
    question(self, '10.77.0.100').subarray(0, 42).toString('hex'),
    'ffffffffffff0200004d00fe0806000108000604000102' + '00004d00fe0a4d00fa0000000000000a4d0064',
  );
});

test('question() for an IPv6 VIP goes to its solicited-node group with a right checksum', () => {
  const frame = question(self, 'fd77::100');

  assert.equal(frame.subarray(0, 6).toString('hex'), '3333ff000100');
  let sum = 32 + 58;
  for (let i = 14 + 8; i < 14 + 40 + 32; i += 2) sum += frame.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff);
});

test('IPv6 addresses survive the way to bytes and back', () => {
  for (const text of ['fd77::100', '::1', 'fe80::1:2', '2001:db8:1:2:3:4:5:6', 'ff02::1:ff00:0']) {
    assert.equal(ipv6Text(ipv6Bytes(text)), text);
  }
});
