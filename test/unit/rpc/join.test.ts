/** Joining: the CA is pinned before the token leaves, any member answers, and failures say why. */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { OperatingError } from '../../../src/base/errors.ts';
import type { AdmitRequest, AdmitResult } from '../../../src/cluster/operations.ts';
import { loadCa } from '../../../src/pki/ca.ts';
import { createKey, createRequest, issueNodeCertificate } from '../../../src/pki/issue.ts';
import { requestAdmission } from '../../../src/rpc/join-client.ts';
import { notLeader, shiftedClock, TestCluster } from './fixture.ts';

const options = { timeout: 30_000 };
const clock = shiftedClock(0);
const zeroHash = `sha256:${'0'.repeat(64)}`;

function hasCode(code: string) {
  return (error: unknown) => {
    assert.ok(error instanceof OperatingError, String(error));
    assert.equal(error.code, code, error.line);
    return true;
  };
}

async function question(): Promise<AdmitRequest> {
  return {
    token: 'abcdef.0123456789abcdef',
    name: 'n2',
    address: '127.0.0.1:7443',
    role: 'voter',
    csr: await createRequest({ key: createKey(), name: 'n2' }),
    version: '0.1.0',
    formatVersion: 1,
    replace: null,
  };
}

/** Admits everybody, as a leader would, and counts. */
function admitting(cluster: TestCluster, tokens: string[]) {
  return async (request: AdmitRequest): Promise<AdmitResult> => {
    tokens.push(request.token);
    const certificate = await issueNodeCertificate({
      ca: cluster.ca,
      csr: request.csr,
      ...{ clusterId: 'c-1', nodeId: 'new', name: request.name, wallNowMs: Date.now() },
    });
    return {
      ...{ clusterId: 'c-1', clusterName: 'test', nodeId: 'new', certificate },
      caCertificate: cluster.ca.certificate,
      caKey: cluster.ca.key,
      vips: [{ address: '10.0.0.100', interface: null }],
      members: [],
      already: false,
    };
  };
}

function hashOf(cluster: TestCluster): string {
  return loadCa({ ...cluster.ca, key: null, wallNowMs: null }).hash;
}

test('a joiner is admitted by the leader, whichever member it asks', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const tokens: string[] = [];
  const leader = await cluster.start({
    id: 'a',
    operations: { admit: admitting(cluster, tokens) },
  });
  const follower = await cluster.start({
    id: 'b',
    operations: { admit: () => Promise.reject(notLeader({ id: 'a' })) },
  });
  cluster.connect();

  for (const { peer } of [leader, follower]) {
    const request = await question();
    const caHash = hashOf(cluster);
    const result = await requestAdmission({ address: peer.address, caHash, clock, request });
    assert.equal(result.nodeId, 'new');
    assert.equal(result.caKey, cluster.ca.key);
    assert.deepEqual(result.vips, [{ address: '10.0.0.100', interface: null }]);
  }

  assert.deepEqual(tokens, Array(2).fill('abcdef.0123456789abcdef'));
});

test('another CA is refused before the token leaves, with both hashes', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const tokens: string[] = [];
  const a = await cluster.start({ id: 'a', operations: { admit: admitting(cluster, tokens) } });
  const request = await question();

  await assert.rejects(
    requestAdmission({ address: a.peer.address, caHash: zeroHash, clock, request }),
    (error) => {
      hasCode('ca-hash-mismatch')(error);
      assert.ok(error instanceof OperatingError);
      assert.ok(error.message.includes(zeroHash) && error.message.includes(hashOf(cluster)));
      return true;
    },
  );
  assert.deepEqual(tokens, []);
});

test('a CA shown without its signature on the member is refused', options, async (t) => {
  const cluster = await TestCluster.create();
  const thief = await TestCluster.create();
  t.after(() => Promise.all([cluster.close(), thief.close()]));
  // The thief shows the right CA beside a certificate that it signed by itself.
  const material = { ...(await thief.material('a')), caCertificate: cluster.ca.certificate };
  const tokens: string[] = [];
  const a = await thief.start({
    id: 'a',
    material,
    operations: { admit: admitting(thief, tokens) },
  });
  const request = await question();

  await assert.rejects(
    requestAdmission({ address: a.peer.address, caHash: hashOf(cluster), clock, request }),
    hasCode('ca-hash-mismatch'),
  );
  assert.deepEqual(tokens, []);
});

test(
  'what the leader refuses arrives with its reason; guesses are rationed',
  options,
  async (t) => {
    const cluster = await TestCluster.create();
    t.after(() => cluster.close());
    let asked = 0;
    const a = await cluster.start({
      id: 'a',
      operations: {
        admit: () => {
          asked += 1;
          return Promise.reject(
            new OperatingError({ code: 'token-expired', message: 'the token has expired' }),
          );
        },
      },
    });
    const request = await question();
    const attempt = { address: a.peer.address, caHash: hashOf(cluster), clock, request };

    for (let i = 0; i < 10; i++) {
      await assert.rejects(requestAdmission(attempt), hasCode('token-expired'));
    }
    await assert.rejects(requestAdmission(attempt), hasCode('too-many-attempts'));

    assert.equal(asked, 10);
  },
);

test('a clock that the certificates do not fit is named with both times', options, async (t) => {
  const cluster = await TestCluster.create();
  t.after(() => cluster.close());
  const a = await cluster.start({ id: 'a' });
  const request = await question();
  const late = shiftedClock(1_000 * 86_400_000);

  await assert.rejects(
    requestAdmission({ address: a.peer.address, caHash: hashOf(cluster), clock: late, request }),
    hasCode('certificate-time'),
  );
});

test('who is no member of a cluster is named as such', options, async (t) => {
  const cluster = await TestCluster.create();
  const { certificate, key } = await cluster.material('x');
  const servers: Server[] = [
    createTlsServer({ cert: cluster.ca.certificate, key: cluster.ca.key, ALPNProtocols: ['h2'] }),
    createTlsServer({ cert: certificate, key, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] }),
    createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n')),
  ];
  for (const server of servers) {
    server.on('tlsClientError', () => undefined);
    server.on('connection', (socket) => socket.on('error', () => undefined));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  t.after(async () => {
    await cluster.close();
    for (const server of servers) server.close();
  });
  const request = await question();
  const attempt = (port: number) =>
    requestAdmission({ address: `127.0.0.1:${port}`, caHash: hashOf(cluster), clock, request });
  const [web, bare, ssh] = servers.map((server) => (server.address() as AddressInfo).port);

  await assert.rejects(attempt(web ?? 0), hasCode('not-holdfast'));
  await assert.rejects(attempt(bare ?? 0), hasCode('ca-hash-mismatch'));
  await assert.rejects(attempt(ssh ?? 0), hasCode('peer-unreachable'));
  await assert.rejects(attempt(1), hasCode('peer-unreachable'));
});

test('nonsense is refused before anything is dialled', options, async () => {
  const request = await question();
  const address = '127.0.0.1:1';

  for (const caHash of ['', 'abc', 'sha256:abc', `sha512:${'0'.repeat(64)}`]) {
    await assert.rejects(
      requestAdmission({ address, caHash, clock, request }),
      hasCode('bad-ca-hash'),
    );
  }
  await assert.rejects(
    requestAdmission({ address: 'nowhere', caHash: zeroHash, clock, request }),
    hasCode('bad-address'),
  );
});
