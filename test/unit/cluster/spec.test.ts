/** The operator's document: what is refused and in which words, and that it survives both ways. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import type { Spec } from '../../../src/cluster/spec.ts';
import { specFromProto, specToProto } from '../../../src/cluster/spec-codec.ts';
import { diffSpecs, needsConfirmation, sameSpec } from '../../../src/cluster/spec-diff.ts';
import { defaultSpec, specToDocument } from '../../../src/cluster/spec-document.ts';
import { type ParsedDocument, parseSpecDocument } from '../../../src/cluster/spec-schema.ts';

const options = {
  unsupportedDataPath: ({ dataPath }: { dataPath: string }) =>
    dataPath === 'nftables' ? 'nftables is not in this build' : null,
};

function parse(document: unknown): ParsedDocument {
  return parseSpecDocument(document, options);
}

function withSpec(spec: unknown): unknown {
  return { apiVersion: 'holdfast/v1', kind: 'Cluster', spec };
}

const vips = [{ address: '10.0.0.100' }];
const frontend = { name: 'api', vip: '10.0.0.100', port: 6443 };
const backend = { address: '10.0.0.21', port: 6443 };

function withFrontend(fields: Record<string, unknown>): unknown {
  return withSpec({ vips, frontends: [{ ...frontend, ...fields }] });
}

function problemsOf(document: unknown): readonly string[] {
  try {
    parse(document);
  } catch (error) {
    assert.ok(error instanceof OperatingError, String(error));
    assert.equal(error.code, 'spec-invalid');
    assert.equal(error.line.includes('\n'), false);
    return error.facts.problems as string[];
  }
  return [];
}

const refusals: readonly {
  readonly name: string;
  readonly document: unknown;
  readonly want: readonly string[];
}[] = [
  { name: 'nothing', document: null, want: ['document: must be an object (is null)'] },
  {
    name: 'an empty object',
    document: {},
    want: ['apiVersion: is missing', 'kind: is missing', 'spec: is missing'],
  },
  {
    name: 'another version',
    document: { apiVersion: 'holdfast/v2', kind: 'Cluster', spec: { vips } },
    want: ['apiVersion: must be holdfast/v1 (is holdfast/v2)'],
  },
  {
    name: 'unknown keys, each with its path',
    document: withSpec({ vips, vip: 1, frontends: [{ ...frontend, ports: 1, healtCheck: {} }] }),
    want: [
      'spec.frontends[0].ports: unknown key',
      'spec.frontends[0].healtCheck: unknown key',
      'spec.vip: unknown key',
    ],
  },
  {
    name: 'a port out of range',
    document: withFrontend({ port: 70000 }),
    want: ['spec.frontends[0].port: must be 1 to 65535 (is 70000)'],
  },
  {
    name: 'a port in quotes',
    document: withFrontend({ port: '6443' }),
    want: ['spec.frontends[0].port: must be a whole number (is 6443)'],
  },
  {
    name: 'an address that is none',
    document: withSpec({ vips: [{ address: '10.0.0.300' }] }),
    want: ['spec.vips[0].address: must be an IP address (is 10.0.0.300)'],
  },
  {
    name: 'a scheduler that there is not',
    document: withFrontend({ scheduler: 'random' }),
    want: [
      'spec.frontends[0].scheduler: must be one of round-robin, weighted, least-connections, ' +
        'source-hash (is random)',
    ],
  },
  {
    name: 'a duration without a unit',
    document: withFrontend({ healthCheck: { interval: '5' } }),
    want: [
      'spec.frontends[0].healthCheck.interval: must be a duration of 10ms to 1h like 500ms or 1s ' +
        '(is 5)',
    ],
  },
  {
    name: 'a timing profile that there is not',
    document: withSpec({ vips, timing: 'fast' }),
    want: ['spec.timing: must be one of auto, lan, balanced, wan (is fast)'],
  },
  {
    name: 'explicit timing without a value',
    document: withSpec({ vips, timing: { heartbeat: '50ms', promise: '400ms' } }),
    want: ['spec.timing.jitter: is missing'],
  },
  {
    name: 'timing whose values contradict each other',
    document: withSpec({ vips, timing: { heartbeat: '300ms', promise: '400ms', jitter: '50ms' } }),
    want: ['spec.timing.heartbeat: must be at most a third of promise (is 300ms, promise 400ms)'],
  },
  {
    name: 'a frontend on a VIP that there is not',
    document: withFrontend({ vip: '10.0.0.101' }),
    want: ['spec.frontends[0].vip: must be one of spec.vips (is 10.0.0.101)'],
  },
  {
    name: 'a VIP twice, in two spellings',
    document: withSpec({ vips: [{ address: 'fd00::1' }, { address: 'fd00:0::1' }] }),
    want: ['spec.vips[1].address: repeats spec.vips[0].address (both are fd00::1)'],
  },
  {
    name: 'a name and a port twice',
    document: withSpec({ vips, frontends: [frontend, frontend] }),
    want: [
      'spec.frontends[1].name: repeats spec.frontends[0].name (both are api)',
      'spec.frontends[1].port: repeats spec.frontends[0].port (both are 10.0.0.100 tcp 6443)',
    ],
  },
  {
    name: 'a data path that this build has not',
    document: withFrontend({ dataPath: 'nftables' }),
    want: ['spec.frontends[0].dataPath: nftables is not in this build'],
  },
  {
    name: 'UDP through an HTTP proxy',
    document: withFrontend({ port: 53, protocol: 'udp', dataPath: 'http' }),
    want: ['spec.frontends[0].dataPath: http contradicts spec.frontends[0].protocol: udp'],
  },
  {
    name: 'a path for a TCP check',
    document: withFrontend({ healthCheck: { type: 'tcp', path: '/healthz' } }),
    want: [
      'spec.frontends[0].healthCheck.path: contradicts spec.frontends[0].healthCheck.type: tcp',
    ],
  },
  {
    name: 'a web check of who answers datagrams',
    document: withFrontend({ protocol: 'udp', healthCheck: { type: 'http' } }),
    want: ['spec.frontends[0].healthCheck.type: http contradicts spec.frontends[0].protocol: udp'],
  },
  {
    name: 'trust where nothing is encrypted, and two kinds of it',
    document: withSpec({
      vips,
      frontends: [
        { ...frontend, healthCheck: { type: 'http', trust: 'system' } },
        {
          ...{ ...frontend, name: 'b', port: 1 },
          healthCheck: { caFile: '/etc/ca.crt', trust: 'none' },
        },
      ],
    }),
    want: [
      'spec.frontends[0].healthCheck.trust: contradicts spec.frontends[0].healthCheck.type: http',
      'spec.frontends[1].healthCheck.trust: contradicts ' +
        'spec.frontends[1].healthCheck.caFile, against which is verified',
    ],
  },
  {
    name: 'the Kubernetes API on the data path http, by its name and by its port',
    document: withSpec({
      vips,
      frontends: [
        { ...frontend, dataPath: 'http' },
        { ...frontend, name: 'kube-apiserver-2', port: 8443, dataPath: 'http' },
      ],
    }),
    want: [0, 1].map(
      (index) =>
        `spec.frontends[${index}].dataPath: http ends TLS here, and with it login by client ` +
        'certificate, which kubeadm, kubelets and admin kubeconfigs use at the Kubernetes API; ' +
        `use auto, or say spec.frontends[${index}].http.terminateKubernetesApi: true`,
    ),
  },
  {
    name: 'settings of HTTP on another data path, and keys that it has not',
    document: withFrontend({ http: { tls: { certFile: '/etc/c' }, tsl: {} } }),
    want: [
      'spec.frontends[0].http.tls.keyFile: is missing',
      'spec.frontends[0].http.tsl: unknown key',
    ],
  },
  {
    name: 'settings of HTTP on another data path',
    document: withFrontend({ http: {} }),
    want: ['spec.frontends[0].http: contradicts spec.frontends[0].dataPath: auto'],
  },
  {
    name: 'encrypted backends without a word on whom to believe',
    document: withFrontend({ port: 443, dataPath: 'http', http: { backendTls: {} } }),
    want: ['spec.frontends[0].http.backendTls: must have caFile or trust'],
  },
  {
    name: 'packets left untranslated where they cannot be',
    document: withFrontend({
      backends: {
        static: [
          { ...backend, mode: 'direct' },
          { ...backend, port: 6444, mode: 'tunnel' },
          { ...backend, port: 6445, mode: 'nat' },
        ],
      },
    }),
    want: [
      'spec.frontends[0].backends.static[2].mode: must be one of masquerade, direct, tunnel (is nat)',
    ],
  },
  {
    name: 'packets left untranslated by another path than ipvs, or to another port',
    document: withFrontend({
      backends: {
        static: [
          { ...backend, mode: 'direct' },
          { ...backend, port: 6444, mode: 'tunnel' },
        ],
      },
    }),
    want: [
      'spec.frontends[0].backends.static[0].mode: direct contradicts ' +
        'spec.frontends[0].dataPath: auto; only ipvs leaves packets untranslated',
      'spec.frontends[0].backends.static[1].mode: tunnel contradicts ' +
        'spec.frontends[0].dataPath: auto; only ipvs leaves packets untranslated',
      'spec.frontends[0].backends.static[1].port: must be 6443, the port of spec.frontends[0], ' +
        'because by tunnel packets keep it (is 6444)',
    ],
  },
  {
    name: 'a preference where nothing is balanced',
    document: withFrontend({ prefer: 'local', dataPath: 'none' }),
    want: [
      'spec.frontends[0].prefer: local contradicts spec.frontends[0].dataPath: none, ' +
        'by which nothing is balanced',
    ],
  },
  {
    name: 'a preference that nobody knows',
    document: withFrontend({ prefer: 'near' }),
    want: ['spec.frontends[0].prefer: must be one of any, local (is near)'],
  },
  {
    name: 'a backend that is the frontend itself',
    document: withFrontend({ backends: { static: [{ address: '10.0.0.100', port: 6443 }] } }),
    want: ['spec.frontends[0].backends.static[0]: is spec.frontends[0] itself, so it would loop'],
  },
  {
    name: 'a backend twice',
    document: withFrontend({ backends: { static: [backend, { ...backend, weight: 3 }] } }),
    want: [
      'spec.frontends[0].backends.static[1].address: repeats ' +
        'spec.frontends[0].backends.static[0].address (both are 10.0.0.21:6443)',
    ],
  },
  {
    name: 'drained members where members are no backends',
    document: withFrontend({ backends: { drainedMembers: ['n1'] } }),
    want: [
      'spec.frontends[0].backends.drainedMembers: contradicts the absent ' +
        'spec.frontends[0].backends.members',
    ],
  },
];

for (const { name, document, want } of refusals) {
  test(`parseSpecDocument() refuses ${name}`, () => {
    assert.deepEqual(problemsOf(document), want);
  });
}

test('parseSpecDocument() takes selectors of interfaces in their one spelling', () => {
  const vips = [
    { address: '10.0.0.1', interface: 'mac:02-AA-00-00-00-01', onConflict: 'yield' },
    { address: '10.0.0.2', interface: 'subnet:FD00:0::/64' },
    { address: '10.0.0.3', interface: 'route:default' },
  ];
  const { spec } = parse({ apiVersion: 'holdfast/v1', kind: 'Cluster', spec: { vips } });

  assert.deepEqual(spec.vips, [
    { address: '10.0.0.1', interface: 'mac:02:aa:00:00:00:01', onConflict: 'yield' },
    { address: '10.0.0.2', interface: 'subnet:fd00::/64', onConflict: 'defend' },
    { address: '10.0.0.3', interface: 'route:default', onConflict: 'defend' },
  ]);
});

test('parseSpecDocument() refuses selectors and policies that it does not know', () => {
  const vips = [
    { address: '10.0.0.1', interface: 'bus:0000:01:00.0' },
    { address: '10.0.0.2', interface: 'mac:02:aa' },
    { address: '10.0.0.3', interface: 'subnet:10.0.0.0/33' },
    { address: '10.0.0.4', interface: 'an interface' },
    { address: '10.0.0.5', onConflict: 'fight' },
  ];

  assert.deepEqual(problemsOf({ apiVersion: 'holdfast/v1', kind: 'Cluster', spec: { vips } }), [
    'spec.vips[0].interface: must be a name, mac:ADDRESS, subnet:NETWORK/LENGTH or route:default ' +
      '(is bus:0000:01:00.0)',
    'spec.vips[1].interface: must be a MAC address like mac:02:00:00:00:00:01 (is mac:02:aa)',
    'spec.vips[2].interface: must be a subnet like subnet:10.0.0.0/24 (is subnet:10.0.0.0/33)',
    'spec.vips[3].interface: must be an interface name (is an interface)',
    'spec.vips[4].onConflict: must be one of defend, yield (is fight)',
  ]);
});

test('parseSpecDocument() fills every default', () => {
  const { spec, clusterName, revision } = parse(withFrontend({}));

  assert.equal(clusterName, null);
  assert.equal(revision, null);
  assert.deepEqual(spec, {
    timing: 'auto',
    vips: [{ address: '10.0.0.100', interface: null, onConflict: 'defend' }],
    frontends: [
      {
        ...frontend,
        protocol: 'tcp',
        dataPath: 'auto',
        scheduler: 'round-robin',
        prefer: 'any',
        backends: { members: null, drainedMembers: [], static: [] },
        healthCheck: {
          type: 'https',
          path: '/readyz?exclude=etcd&exclude=etcd-readiness',
          intervalMs: 1000,
          timeoutMs: 1000,
          rise: 2,
          fall: 2,
          expectStatus: 200,
          caFile: null,
          systemTrust: false,
          serverName: null,
        },
        http: null,
      },
    ],
  });
});

test('parseSpecDocument() believes who answers datagrams, unless TCP tells more', () => {
  const typeOf = (fields: Record<string, unknown>): string | undefined =>
    parse(withFrontend({ protocol: 'udp', ...fields })).spec.frontends[0]?.healthCheck.type;

  assert.equal(typeOf({}), 'none');
  assert.equal(typeOf({ healthCheck: { type: 'tcp' } }), 'tcp');
});

const rich = parse({
  apiVersion: 'holdfast/v1',
  kind: 'Cluster',
  metadata: { name: 'prod', revision: 12 },
  spec: {
    timing: { heartbeat: '40ms', promise: '300ms', jitter: '1s' },
    vips: [{ address: '10.0.0.100', interface: 'eth0' }, { address: 'FD00:0:0::64' }],
    frontends: [
      {
        ...frontend,
        scheduler: 'weighted',
        prefer: 'local',
        backends: {
          members: { port: 6444 },
          drainedMembers: ['n2'],
          static: [
            { ...backend, weight: 2 },
            { ...backend, port: 1, draining: true },
          ],
        },
        healthCheck: { type: 'https', caFile: '/etc/ca.crt', interval: '2s', expectStatus: 204 },
      },
      { name: 'dns', vip: 'fd00::64', port: 53, protocol: 'udp' },
      {
        ...{ name: 'direct', vip: '10.0.0.100', port: 6445, dataPath: 'ipvs' },
        backends: {
          static: ['masquerade', 'direct', 'tunnel'].map((mode, index) => ({
            ...{ address: `10.0.0.3${index}`, port: 6445, mode },
          })),
        },
      },
      {
        ...{ name: 'dashboard', vip: '10.0.0.100', port: 443, dataPath: 'http' },
        healthCheck: { trust: 'system', serverName: 'dashboard.example' },
        http: {
          tls: { certFile: '/etc/tls.crt', keyFile: '/etc/tls.key' },
          backendTls: { trust: 'none', serverName: 'dashboard.example' },
        },
      },
      {
        ...{ name: 'api-by-token', vip: '10.0.0.100', port: 8443, dataPath: 'http' },
        http: { backendTls: { caFile: '/etc/ca.crt' }, terminateKubernetesApi: true },
      },
    ],
  },
});

test('a spec survives the way to the document and back', () => {
  const document = specToDocument({ clusterName: 'prod', revision: 12, spec: rich.spec });

  const again = parse(JSON.parse(JSON.stringify(document)));

  assert.deepEqual(again, rich);
});

test('a spec survives the way to protobuf and back', () => {
  assert.deepEqual(specFromProto(specToProto(rich.spec)), rich.spec);
});

const plain: Spec = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [{ port: 9345, check: 'tcp' }],
});

test('defaultSpec() is a document that apply accepts', () => {
  const document = specToDocument({ clusterName: 'c', revision: 1, spec: plain });

  assert.deepEqual(parse(document).spec, plain);
  assert.deepEqual(
    plain.frontends.map(({ name, port, healthCheck }) => [name, port, healthCheck.type]),
    [
      ['kube-apiserver', 6443, 'https'],
      ['port-9345', 9345, 'tcp'],
    ],
  );
});

test('diffSpecs() names what was added, removed and changed', () => {
  const after: Spec = {
    ...plain,
    timing: 'wan',
    vips: [...plain.vips, { address: '10.0.0.101', interface: 'eth1', onConflict: 'defend' }],
    frontends: plain.frontends.slice(0, 1),
  };

  const lines = diffSpecs(plain, after);

  assert.equal(lines[0], '~ timing: auto → wan');
  assert.ok(lines.includes('+ vips[10.0.0.101].interface: eth1'));
  assert.ok(lines.includes('- frontends[port-9345].port: 9345'));
  assert.equal(sameSpec(plain, plain), true);
  assert.equal(sameSpec(plain, after), false);
});

test('needsConfirmation() asks before a VIP, a frontend or the last backend goes', () => {
  const [first, second] = plain.frontends;
  assert.ok(first !== undefined && second !== undefined);
  const bare = { ...first, backends: { ...first.backends, members: null } };

  assert.deepEqual(needsConfirmation(plain, plain), []);
  assert.deepEqual(needsConfirmation(plain, { ...plain, vips: [] }), [
    'the VIP 10.0.0.100 would be removed',
  ]);
  assert.deepEqual(needsConfirmation(plain, { ...plain, frontends: [bare] }), [
    'the frontend kube-apiserver would lose its last backend',
    'the frontend port-9345 would be removed',
  ]);
});
