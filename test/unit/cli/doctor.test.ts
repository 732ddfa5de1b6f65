/** What doctor makes of its facts: each check in each of its moods, on a host of paper. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { doctorText, documentOf } from '../../../src/cli/doctor/check.ts';
import type { DoctorFacts, VipFacts } from '../../../src/cli/doctor/facts.ts';
import { hostChecks } from '../../../src/cli/doctor/host-checks.ts';
import { nodeChecks } from '../../../src/cli/doctor/node-checks.ts';
import { healthy } from './documents.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 5, 1);
const UNIT = `[Service]
ExecStopPost=/usr/bin/holdfast cleanup
Restart=always
WatchdogSec=10s
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
SystemCallFilter=@system-service bpf
`;
const VIP: VipFacts = {
  address: '10.0.0.100',
  interface: 'eth0',
  problem: null,
  answering: { value: [] },
  sysctls: { arp_ignore: 1, arp_announce: 2, arp_filter: 0, rp_filter: 1 },
};

const WELL: DoctorFacts = {
  wallNowMs: NOW_MS,
  isRoot: true,
  status: { value: healthy },
  agentRuns: true,
  fences: { ebpf: { value: { tcx: true } }, nft: { value: true } },
  missingCapabilities: [],
  realTime: { value: true },
  lockableBytes: { value: null },
  kernelRelease: '6.12.3-amd64',
  vips: [VIP],
  conntrack: { count: 10, max: 262_144, establishedSeconds: 432_000 },
  ipForward: true,
  ip6Forward: true,
  ports: [
    { port: 7443, what: 'members', listeners: [{ address: '::', program: 'node' }] },
    { port: 7444, what: 'http', listeners: [{ address: '127.0.0.1', program: 'node' }] },
    { port: 6443, what: 'vip', listeners: [{ address: '::', program: 'kube-apiserver' }] },
  ],
  peers: [{ name: 'n2', address: '10.0.0.12:7443', problem: null }],
  clockSynchronised: { value: true },
  disk: { value: { path: '/var', freeBytes: 9e9, fsyncMs: { median: 0.5, max: 2 } } },
  certificates: {
    value: [{ what: 'it', notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + 89 * DAY_MS }],
  },
  unit: { path: '/usr/lib/systemd/system/holdfast.service', text: UNIT },
  hasSystemd: true,
  foreign: {
    chains: { value: [] },
    programs: { value: [] },
    addresses: [],
    rivals: [],
  },
};

const examine = (change: Partial<DoctorFacts>) => {
  const facts = { ...WELL, ...change };
  return [...nodeChecks(facts), ...hostChecks(facts)];
};
const worse = (change: Partial<DoctorFacts>): string[] =>
  examine(change)
    .filter(({ status }) => status !== 'ok')
    .map(({ status, name, message }) => `${status} ${name}: ${message}`);

const vip = (change: Partial<VipFacts>): Partial<DoctorFacts> => ({
  vips: [{ ...VIP, ...change }],
});
const chain = { family: 'inet', table: 'filter', name: 'c', hook: 'input', policy: 'drop' };
const foreign = (change: Partial<DoctorFacts['foreign']>): Partial<DoctorFacts> => ({
  foreign: { ...WELL.foreign, ...change },
});
const expires = (days: number, life = 90): Partial<DoctorFacts> => {
  const notAfterMs = NOW_MS + days * DAY_MS;
  const notBeforeMs = notAfterMs - life * DAY_MS;
  return { certificates: { value: [{ what: 'it', notBeforeMs, notAfterMs }] } };
};
const fsync = (median: number): Partial<DoctorFacts> => ({
  disk: { value: { path: '/var', freeBytes: 9e9, fsyncMs: { median, max: median } } },
});
const space = (freeBytes: number): Partial<DoctorFacts> => ({
  disk: { value: { path: '/var', freeBytes, fsyncMs: { median: 1, max: 1 } } },
});

test('a host on which all is well has nothing but ok', () => {
  assert.deepEqual(worse({}), []);
  assert.equal(documentOf(examine({})).verdict, 'ok');
});

const unserved = {
  ...healthy.frontends[0],
  name: 'api',
  dataPath: 'none',
  dataPathReason: 'dataPath ipvs cannot be used here: the kernel module ip_vs is not loaded',
} as (typeof healthy.frontends)[number];

suite('each trouble is one line', () => {
  const table: readonly (readonly [Partial<DoctorFacts>, RegExp])[] = [
    [{ status: { unknown: 'broken' }, agentRuns: false, ports: [] }, /^fail agent: broken/],
    [{ agentRuns: false, ports: [] }, /^fail agent: the agent does not answer/],
    [vip({ problem: 'interface eth9 is not there' }), /^fail vip-interface: 10.0.0.100: interface/],
    [vip({ answering: { value: ['aa', 'bb'] } }), /^fail vip-duplicate: aa and bb answers/],
    [vip({ answering: { unknown: 'no' } }), /^warn vip-duplicate: 10.0.0.100: no/],
    [vip({ sysctls: { arp_ignore: 8 } }), /^fail sysctl-arp-ignore: arp_ignore is 8 on eth0/],
    [vip({ sysctls: { arp_filter: 1 } }), /^warn sysctl-arp-filter/],
    [
      vip({ address: 'fd00::1', sysctls: { disable_ipv6: 1 } }),
      /^fail sysctl-ipv6: IPv6 is disabled on eth0/,
    ],
    [
      { conntrack: { count: 90, max: 100, establishedSeconds: 432_000 } },
      /^warn sysctl-conntrack: conntrack holds 90 of 100/,
    ],
    [
      { status: { value: { ...healthy, frontends: [unserved] } } },
      /^fail data-path: api: dataPath ipvs cannot be used here: the kernel module/,
    ],
    [
      { ports: [{ port: 7443, what: 'members', listeners: [] }] },
      /^fail port: nobody listens on 7443/,
    ],
    [
      { peers: [{ name: 'n2', address: 'a:1', problem: 'refused' }] },
      /^fail peer: n2 at a:1: refused/,
    ],
    [{ certificates: { unknown: 'gone' } }, /^fail certificate: gone/],
    [expires(-1), /^fail certificate: it has run out/],
    [expires(200, 90), /^fail certificate: it is not valid yet/],
    [expires(20), /^warn certificate: .* was not renewed in time/],
    [{ unit: { path: '/u', text: UNIT.replace('Restart=always\n', '') } }, /^warn unit: .*Restart/],
    [
      foreign({ addresses: [{ address: '10.0.0.100', interface: 'kube-ipvs0' }] }),
      /^fail foreign-address: 10.0.0.100 is on kube-ipvs0/,
    ],
    [foreign({ rivals: ['keepalived'] }), /^warn foreign-rival: keepalived runs here/],
    [foreign({ chains: { value: [chain] } }), /^warn foreign-rules: .* drops input/],
    [
      foreign({ chains: { value: [{ ...chain, hook: 'output' }] } }),
      /^warn foreign-rules: .* drops output/,
    ],
    [
      foreign({ chains: { value: [{ ...chain, family: 'arp' }] } }),
      /^warn foreign-rules: .* filters ARP/,
    ],
    [
      foreign({ chains: { value: [{ ...chain, family: 'netdev' }] } }),
      /^warn foreign-rules: .* filters an interface/,
    ],
    [foreign({ programs: { unknown: 'no' } }), /^warn foreign-programs: no/],
    [
      { fences: { ...WELL.fences, ebpf: { unknown: 'EPERM' } } },
      /^warn fence-ebpf: no eBPF fence \(EPERM\)/,
    ],
    [{ fences: { ...WELL.fences, nft: { unknown: 'no nft' } } }, /^fail fence-nft: .*no nft/],
    [{ missingCapabilities: ['CAP_BPF'] }, /^fail capabilities: CAP_BPF missing/],
    [{ realTime: { unknown: 'no' } }, /^warn real-time: no/],
    [{ lockableBytes: { value: 8 * 2 ** 20 } }, /^warn memory-lock: only 8 MiB/],
    [{ kernelRelease: '5.4.0' }, /^warn kernel: Linux 5.4.0/],
    [{ clockSynchronised: { value: false } }, /^warn clock: nobody synchronises/],
    [space(10 * 2 ** 20), /^fail disk-space: 10 MiB free/],
    [space(100 * 2 ** 20), /^warn disk-space: 100 MiB free/],
    [{ disk: { unknown: 'read-only' } }, /^fail disk-space: read-only/],
    [{ disk: { unknown: 'no' }, isRoot: false }, /^warn disk-space: no/],
    [{ certificates: { unknown: 'no' }, isRoot: false }, /^warn certificate: no/],
    [fsync(50), /^warn disk-sync/],
    [fsync(900), /^fail disk-sync/],
  ];
  for (const [change, line] of table) {
    test(String(line), () => {
      const lines = worse(change);
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.match(lines[0] ?? '', line);
    });
  }
});

test('without the agent, a taken port names who took it', () => {
  const listeners = [{ address: '0.0.0.0', program: 'haproxy' }];
  const ports = [{ port: 7443, what: 'members', listeners }];

  assert.match(
    worse({ agentRuns: false, ports }).join('\n'),
    /7443 \(members\) is taken by haproxy/,
  );
});

test('before init there is no node, no certificate, and no reproach', () => {
  const fresh = { status: { value: null }, agentRuns: false, ports: [], vips: [], peers: [] };

  assert.deepEqual(worse({ ...fresh, certificates: { unknown: 'there is no node' } }), []);
});

test('ip_forward is missed only where a frontend needs it', () => {
  const [first] = healthy.frontends;
  assert.ok(first !== undefined);
  const frontends = (dataPath: string): Partial<DoctorFacts> => ({
    ipForward: false,
    status: { value: { ...healthy, frontends: [{ ...first, dataPath }] } },
  });

  assert.deepEqual(worse(frontends('proxy')), []);
  assert.match(worse(frontends('nftables')).join('\n'), /fail sysctl-ip-forward/);
  const overIpv6 = { ...first, dataPath: 'nftables', address: 'fd00::100' };
  assert.match(
    worse({ ip6Forward: false, status: { value: { ...healthy, frontends: [overIpv6] } } }).join(),
    /fail sysctl-ip6-forward: net.ipv6.conf.all.forwarding is off/,
  );
  const hasty = { count: 1, max: 9, establishedSeconds: 3_600 };
  assert.match(
    worse({ ...frontends('nftables'), ipForward: true, conntrack: hasty }).join(),
    /warn sysctl-conntrack-timeout: .* silent for 3600 s, and idle watches are cut/,
  );
});

test('the page has a line for each check with what to do, and the sum', () => {
  const text = doctorText(documentOf(examine({ clockSynchronised: { value: false } })));

  assert.match(text, /^WARN {2}clock +nobody synchronises the clock: start chrony/m);
  assert.match(text, /\n\n\d+ ok, 1 to look at, 0 to repair\n$/);
});
