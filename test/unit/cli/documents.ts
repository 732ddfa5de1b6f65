/** Status documents for the tests of the commands: a healthy cluster of three, and its changes. */
import type { StatusDocument } from '../../../src/cluster/status-document.ts';

export const wallNowMs = Date.parse('2026-01-01T03:12:00.000Z');

export const healthy: StatusDocument = {
  apiVersion: 'holdfast/v1',
  view: { kind: 'local', ageMs: 12 },
  verdict: 'healthy',
  warnings: [],
  cluster: {
    id: 'cafe',
    name: 'prod',
    leader: 'n1',
    term: 3,
    revision: 12,
    quorum: true,
    failuresLeft: 1,
    timing: { profile: 'balanced', heartbeatMs: 50, promiseMs: 400, reason: 'as the spec says' },
  },
  self: {
    id: 'a1',
    name: 'n1',
    role: 'leader',
    version: '0.1.0',
    eligible: true,
    reason: 'all VIP interfaces are up',
    fences: ['ebpf', 'lifetime'],
  },
  members: ['n1', 'n2', 'n3'].map((name, index) => ({
    id: `a${index + 1}`,
    name,
    address: `10.0.0.1${index + 1}:7443`,
    role: 'voter',
    reachable: true,
    lastContactMs: index === 0 ? 0 : 21,
    matchIndex: 40,
    version: '0.1.0',
    certExpires: '2027-01-01T00:00:00.000Z',
    priority: 0,
    draining: false,
  })),
  vips: [
    {
      address: '10.0.0.100',
      interface: 'eth0',
      interfaceFrom: 'subnet',
      holder: 'n1',
      heldHere: true,
      since: '2026-01-01T00:00:00.000Z',
      reason: 'leader with lease',
      observedBy: { n2: true, n3: true },
    },
  ],
  frontends: [
    {
      name: 'kube-apiserver',
      address: '10.0.0.100',
      port: 6443,
      dataPath: 'proxy',
      dataPathReason: 'auto: no remote backend has been tried',
      backends: ['n1', 'n2', 'n3'].map((name, index) => ({
        name,
        address: `10.0.0.1${index + 1}`,
        port: 6443,
        weight: 1,
        state: index === 2 ? 'down' : 'up',
        since: '2026-01-01T00:00:00.000Z',
        reason: index === 2 ? 'connect refused' : '200 OK',
        connections: index === 2 ? 0 : 4,
        totalConnections: 17,
      })),
    },
  ],
  transitions: [
    {
      at: '2026-01-01T00:00:00.000Z',
      vip: '10.0.0.100',
      from: 'n2',
      to: 'n1',
      reason: 'n1 leads',
    },
  ],
};

export const withoutHolder: StatusDocument = {
  ...healthy,
  verdict: 'down',
  warnings: ['The quorum is lost: start the agents on n2 and n3.', 'n2 was not heard of for 12 s.'],
  cluster: { ...healthy.cluster, leader: null, quorum: false, failuresLeft: 0 },
  self: { ...healthy.self, role: 'follower' },
  vips: healthy.vips.map((vip) => ({
    ...vip,
    holder: null,
    heldHere: false,
    since: null,
    reason: 'no quorum',
  })),
  transitions: [],
};

export const offline: StatusDocument = {
  ...healthy,
  view: { kind: 'offline', ageMs: 0 },
  verdict: 'unknown',
  warnings: ['The agent is not running on this host: systemctl start holdfast.'],
  cluster: {
    ...healthy.cluster,
    leader: null,
    term: null,
    quorum: null,
    failuresLeft: null,
    timing: null,
  },
  self: { ...healthy.self, role: null, eligible: null, reason: '', fences: [] },
  members: healthy.members.map((member) => ({
    ...member,
    reachable: null,
    lastContactMs: null,
    matchIndex: null,
  })),
  vips: healthy.vips.map((vip) => ({
    ...vip,
    interface: null,
    interfaceFrom: null,
    holder: null,
    heldHere: false,
    since: null,
    reason: 'the agent is not running here',
  })),
  frontends: [],
  transitions: [],
};
