/** Operations on a running cluster: joining, tokens, the spec, removal, status. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { Control } from '../../../src/cluster/control.ts';
import { Observations } from '../../../src/cluster/observations.ts';
import type { AdmitRequest, CreatedToken, Operations } from '../../../src/cluster/operations.ts';
import type { CertificateSigner, Crypto } from '../../../src/cluster/ports.ts';
import { formatVersion } from '../../../src/cluster/state.ts';
import { decodeState } from '../../../src/cluster/state-codec.ts';
import { generateToken, tokenId } from '../../../src/cluster/tokens.ts';
import { TestCluster } from './cluster.ts';

const crypto: Crypto = {
  sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
  randomHex: (bytes) => randomBytes(bytes).toString('hex'),
  timingSafeEqual: (left, right) => left === right,
};

const signer: CertificateSigner = {
  caCertificate: 'CA',
  caHash: 'sha256:00',
  caKey: 'CA KEY',
  sign: async ({ nodeId, name }) => `certificate of ${name} (${nodeId})`,
  publicKeyHashOf: async (csr) => `hash of ${csr}`,
};

/** A cluster and, for each host, its control; calls run while virtual time goes on. */
class Lab {
  readonly cluster = new TestCluster();
  renewed = 0;

  /** @param alone asks no other member, as for what another one forwarded. */
  control(id: string, alone = false): Control {
    const { node } = this.cluster.host(id);
    return new Control({
      observations: new Observations(),
      node,
      clock: this.cluster.clock,
      crypto,
      signer,
      unsupportedDataPath: () => null,
      localFacts: () => ({
        name: id,
        version: '1.0.0',
        eligibility: { eligible: true, reason: '' },
        fences: ['ebpf'],
        vips: [],
        frontends: [],
        contacts: new Map(),
        alarms: [],
      }),
      peer: alone ? null : (peer) => this.control(peer, true),
      renewCertificate: async () => {
        this.renewed += 1;
        return '2027-01-01T00:00:00.000Z';
      },
    });
  }

  async ask<T>(id: string, question: (operations: Operations) => Promise<T>): Promise<T> {
    return this.cluster.settled(question(this.control(id)));
  }

  /** Follows `not-leader`, as the forwarder of the rpc room does. */
  async askAny<T>(question: (operations: Operations) => Promise<T>): Promise<T> {
    for (;;) {
      const leader = await this.cluster.elected();
      try {
        return await this.ask(leader.id, question);
      } catch (error) {
        if (!(error instanceof OperatingError) || error.code !== 'not-leader') throw error;
      }
    }
  }

  async token(uses: number | null = null): Promise<CreatedToken> {
    return this.askAny((operations) =>
      operations.createToken({ ttlMs: 120_000, uses, description: '', token: null }),
    );
  }
}

async function founded(): Promise<Lab> {
  const lab = new Lab();
  lab.cluster.node('n1').start();
  await lab.cluster.elected();
  return lab;
}

async function grown(): Promise<Lab> {
  const lab = new Lab();
  await lab.cluster.grown();
  return lab;
}

function request(token: string, fields: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    token,
    name: 'two',
    address: '10.0.0.12:7443',
    role: 'voter',
    csr: 'csr of two',
    version: '1.0.0',
    formatVersion,
    replace: null,
    ...fields,
  };
}

const refusal = (code: string) => (error: unknown) => {
  assert.ok(error instanceof OperatingError, String(error));
  assert.equal(error.code, code);
  assert.ok(error.hint !== undefined && !error.line.includes('\n'));
  return true;
};

test('tokens have kubeadm’s form and are all different', () => {
  const tokens = Array.from({ length: 200 }, () => generateToken(crypto));

  for (const token of tokens) assert.match(token, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
  assert.equal(new Set(tokens).size, 200);
  assert.throws(() => tokenId('nonsense'), refusal('token-malformed'));
});

test('createToken() gives the whole join command and stores no secret', async () => {
  const lab = await founded();

  const { token, joinCommand } = await lab.token();

  assert.equal(joinCommand, `holdfast join n1:7443 --token ${token} --ca-hash sha256:00`);
  const { state } = lab.cluster.node('n1').view();
  assert.equal(JSON.stringify(state).includes(token), false);
});

test('admit() makes a learner with a new id, a certificate and its peers', async () => {
  const lab = await founded();
  const { token } = await lab.token();

  const admitted = await lab.ask('n1', (operations) => operations.admit(request(token)));

  assert.match(admitted.nodeId, /^[0-9a-f]{16}$/);
  assert.equal(admitted.certificate, `certificate of two (${admitted.nodeId})`);
  assert.equal(admitted.caKey, 'CA KEY');
  assert.equal(admitted.already, false);
  assert.deepEqual(
    admitted.members.map(({ id, publicKeyHash }) => [id, publicKeyHash]),
    [['n1', 'key-n1']],
  );
});

test('admit() twice answers the same identity and adds nothing', async () => {
  const lab = await founded();
  const { token } = await lab.token(1);
  const first = await lab.ask('n1', (operations) => operations.admit(request(token)));
  const more = await lab.token();

  const again = await lab.ask('n1', (operations) => operations.admit(request(more.token)));

  assert.equal(again.already, true);
  assert.equal(again.nodeId, first.nodeId);
  assert.equal(lab.cluster.node('n1').view().state.members.length, 2);
});

test('a witness gets no CA key', async () => {
  const lab = await founded();
  const { token } = await lab.token();

  const admitted = await lab.ask('n1', (operations) =>
    operations.admit(request(token, { role: 'witness' })),
  );

  assert.equal(admitted.caKey, null);
});

const badJoins: readonly {
  readonly name: string;
  readonly fields: Partial<AdmitRequest>;
  readonly want: string;
}[] = [
  { name: 'what is no token', fields: { token: 'x' }, want: 'token-malformed' },
  { name: 'an unknown token', fields: { token: 'zzzzzz.0123456789abcdef' }, want: 'token-unknown' },
  { name: 'a taken name', fields: { name: 'n1' }, want: 'name-taken' },
  { name: 'a taken address', fields: { address: 'n1:7443' }, want: 'address-taken' },
  { name: 'a name with spaces', fields: { name: 'my host' }, want: 'bad-request' },
  { name: 'an address without a port', fields: { address: '10.0.0.12' }, want: 'bad-request' },
  { name: 'an address of nobody', fields: { address: '0.0.0.0:7443' }, want: 'bad-request' },
  { name: 'a version that is too old', fields: { formatVersion: 0 }, want: 'version-too-old' },
  { name: 'the leader’s own place', fields: { replace: 'n1' }, want: 'bad-request' },
];

for (const { name, fields, want } of badJoins) {
  test(`admit() refuses ${name}`, async () => {
    const lab = await founded();
    const { token } = await lab.token();

    const refused = lab.ask('n1', (operations) => operations.admit(request(token, fields)));

    await assert.rejects(refused, refusal(want));
    assert.equal(lab.cluster.node('n1').view().state.members.length, 1);
  });
}

test('admit() tells a wrong secret, a used-up, a revoked and an expired token apart', async () => {
  const lab = await founded();
  const once = await lab.token(1);
  const revoked = await lab.token();
  const short = await lab.token();
  await lab.ask('n1', (operations) => operations.admit(request(once.token)));
  await lab.ask('n1', (operations) => operations.revokeToken(revoked.id));
  const join = (token: string) =>
    lab.ask('n1', (operations) =>
      operations.admit(request(token, { name: 'x', address: 'x:1', csr: 'x' })),
    );

  await assert.rejects(join(`${once.id}.0000000000000000`), refusal('token-unknown'));
  await assert.rejects(join(once.token), refusal('token-used-up'));
  await assert.rejects(join(revoked.token), refusal('token-revoked'));
  await lab.cluster.clock.advance(120_000);
  await assert.rejects(join(short.token), refusal('token-expired'));
});

test('admit() with --replace takes the place of a member that is gone', async () => {
  const lab = await grown();
  const { token } = await lab.token();
  const join = () =>
    lab.ask('n1', (operations) =>
      operations.admit(request(token, { name: 'n3', address: 'n3:7443', replace: 'n3' })),
    );
  await assert.rejects(join(), refusal('member-alive'));
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(1000);

  const admitted = await join();

  assert.notEqual(admitted.nodeId, 'n3');
  const { state } = lab.cluster.node('n1').view();
  assert.deepEqual(
    state.members.map(({ id, name, role }) => [id, name, role]),
    [
      ['n1', 'n1', 'voter'],
      ['n2', 'n2', 'voter'],
      [admitted.nodeId, 'n3', 'learner'],
    ],
  );
  assert.deepEqual(state.removedIds, ['n3']);
});

test('--replace of a name that nobody has is refused, and repeated it is harmless', async () => {
  const lab = await grown();
  const { token } = await lab.token();
  const place = { name: 'n4', address: 'n4:7443' };
  const join = (replace: string) =>
    lab.ask('n1', (operations) => operations.admit(request(token, { ...place, replace })));
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(1000);

  await assert.rejects(join('n9'), refusal('member-unknown'));
  const admitted = await join('n3');
  const again = await join('n3');

  assert.equal(admitted.already, false);
  assert.deepEqual([again.already, again.nodeId], [true, admitted.nodeId]);
  const { state } = lab.cluster.node('n1').view();
  assert.deepEqual(
    state.members.map(({ name }) => name),
    ['n1', 'n2', 'n4'],
  );
});

test('--replace that would lose the quorum is refused', async () => {
  const lab = await grown();
  const { token } = await lab.token();
  await lab.cluster.join('n4');
  await lab.cluster.join('n5');
  await lab.cluster.clock.until(
    'five voters',
    () => lab.cluster.node('n1').raftStatus().config.voters.length === 5,
  );
  lab.cluster.kill('n4');
  lab.cluster.kill('n5');
  await lab.cluster.clock.advance(1000);

  const join = (replace: string) =>
    lab.ask('n1', (operations) =>
      operations.admit(request(token, { name: replace, address: `${replace}:7443`, replace })),
    );
  await join('n5');
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(100);
  await assert.rejects(join('n4'), (error) => error instanceof OperatingError);
});

test('a replaced member of an older version goes in two steps', async () => {
  const lab = await grown();
  const { token } = await lab.token();
  const old = { version: '0.9', formatVersion: 1, address: 'n3:7443', certExpires: '', macs: [] };
  await lab.ask('n1', (operations) => operations.report({ nodeId: 'n3', ...old }));
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(1000);

  const admitted = await lab.ask('n1', (operations) =>
    operations.admit(request(token, { name: 'n3', address: 'n3:7443', replace: 'n3' })),
  );

  const { state } = lab.cluster.node('n1').view();
  assert.deepEqual(
    state.members.map(({ id }) => id),
    ['n1', 'n2', admitted.nodeId],
  );
});

test('promoteMember() makes an even number of voters, and says what that is worth', async () => {
  const lab = await founded();
  await lab.cluster.join('n2');
  const promote = () => lab.ask('n1', (operations) => operations.promoteMember('n2'));
  await assert.rejects(promote(), refusal('not-caught-up'));
  await lab.cluster.clock.advance(1000);

  const promoted = await promote();

  assert.deepEqual([promoted.changed, promoted.voters], [true, 2]);
  assert.match(promoted.warnings.join(), /2 voters survive no more failures than 1/);
  assert.equal((await promote()).changed, false);
  assert.equal(lab.cluster.node('n1').raftStatus().config.voters.length, 2);
});

test('setMember() drains the leader only after the VIP has another holder', async () => {
  const lab = await grown();
  const drain = (name: string, draining: boolean) =>
    lab.askAny((operations) =>
      operations.setMember({ name, priority: null, address: null, draining, force: false }),
    );
  // In this cluster nobody else says whether it is eligible; the agent does.
  for (const { node } of lab.cluster.hosts.values()) {
    node.setEligibility({ eligible: true, reason: '' });
  }
  await lab.cluster.clock.advance(300);

  assert.deepEqual(await drain('n1', true), { name: 'n1', changed: true });

  const leader = await lab.cluster.elected();
  assert.notEqual(leader.id, 'n1');
  assert.equal(leader.node.view().state.members[0]?.draining, true);
  assert.equal((await drain('n1', true)).changed, false);
  assert.equal((await drain('n1', false)).changed, true);
});

test('setMember() refuses what would leave the VIP to nobody, or a living member unfound', async () => {
  const lab = await founded();
  const nothing = { name: 'n1', priority: null, address: null, draining: null, force: false };
  const set = (request: Partial<typeof nothing> | object) =>
    lab.ask('n1', (operations) => operations.setMember({ ...nothing, ...request }));

  await assert.rejects(set({ draining: true }), refusal('nobody-else'));
  await assert.rejects(set({ priority: 11 }), refusal('bad-request'));
  await assert.rejects(set({ address: 'nonsense' }), refusal('bad-request'));
  await assert.rejects(set({ address: '10.0.0.9:7443' }), refusal('member-alive'));
  await assert.rejects(set({ name: 'n9', priority: 1 }), refusal('member-unknown'));
  assert.equal((await set({ draining: true, force: true })).changed, true);
  assert.equal((await set({ priority: -10 })).changed, true);
});

test('setMember() tells the others where a silent member moved', async () => {
  const lab = await grown();
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(1000);

  await lab.ask('n1', (operations) =>
    operations.setMember({
      ...{ name: 'n3', priority: null, address: 'elsewhere:7443', draining: null, force: false },
    }),
  );

  const peers = lab.cluster.host('n1').peers.map(({ id, address }) => [id, address]);
  assert.deepEqual(peers, [
    ['n2', 'n2:7443'],
    ['n3', 'elsewhere:7443'],
  ]);
});

test('saveSnapshot() hands out the state that this node has applied', async () => {
  const lab = await grown();

  const saved = await lab.ask('n2', (operations) => operations.saveSnapshot());

  const { appliedIndex, state } = lab.cluster.node('n2').view();
  assert.equal(saved.index, appliedIndex);
  assert.deepEqual(decodeState(saved.state), state);
});

test('a follower refuses the leader’s work and names the leader', async () => {
  const lab = await grown();

  await assert.rejects(
    lab.ask('n2', (operations) => operations.listTokens()),
    (error) => {
      refusal('not-leader')(error);
      assert.equal(((error as OperatingError).facts.leader as { name: string }).name, 'n1');
      return true;
    },
  );
});

test('applySpec() shows, confirms, applies and refuses what is stale', async () => {
  const lab = await founded();
  const document = (await lab.ask('n1', (operations) => operations.getSpec({ local: false }))) as {
    spec: Record<string, unknown>;
    metadata: { revision: number };
  };
  const apply = (spec: unknown, revision: number | null, flags = {}) =>
    lab.ask('n1', (operations) =>
      operations.applySpec({
        document: {
          ...document,
          metadata: { name: 'test', ...(revision === null ? {} : { revision }) },
          spec,
        },
        dryRun: false,
        yes: false,
        ...flags,
      }),
    );
  const { revision } = document.metadata;
  const slower = { ...document.spec, timing: 'wan' };

  assert.equal((await apply(document.spec, revision)).changed, false);
  const dry = await apply(slower, revision, { dryRun: true });
  assert.deepEqual(dry, { revision, changed: true, changes: ['~ timing: auto → wan'] });
  const applied = await apply(slower, revision);
  assert.ok(applied.revision > revision);
  await assert.rejects(apply(document.spec, revision), refusal('stale-revision'));
  const bare = { vips: [] };
  await assert.rejects(apply(bare, null), refusal('needs-confirmation'));
  assert.equal((await apply(bare, null, { yes: true })).changed, true);
  await assert.rejects(apply({ vips: [], x: 1 }, null), refusal('spec-invalid'));
});

test('applySpec() refuses a document of another cluster', async () => {
  const lab = await founded();
  const document = {
    apiVersion: 'holdfast/v1',
    kind: 'Cluster',
    metadata: { name: 'other' },
    spec: { vips: [] },
  };

  const applied = lab.ask('n1', (operations) =>
    operations.applySpec({ document, dryRun: true, yes: false }),
  );

  await assert.rejects(applied, refusal('wrong-cluster'));
});

test('removeMember() removes a follower, and the leader after a transfer', async () => {
  const lab = await grown();
  await lab.cluster.join('n4');
  await lab.cluster.join('n5');
  await lab.cluster.clock.until(
    'five voters',
    () => lab.cluster.leader()?.node.raftStatus().config.voters.length === 5,
  );
  await lab.cluster.clock.advance(500);

  await lab.askAny((operations) => operations.removeMember({ name: 'n3', force: false }));
  await lab.askAny((operations) => operations.removeMember({ name: 'n1', force: false }));

  const leader = await lab.cluster.elected();
  assert.notEqual(leader.id, 'n1');
  assert.deepEqual(leader.node.raftStatus().config.voters, ['n2', 'n4', 'n5']);
  await lab.cluster.clock.advance(300);
  assert.equal(lab.cluster.node('n1').view().removed, true);
});

test('removeMember() and canStop() count who is up', async () => {
  const lab = await grown();
  lab.cluster.kill('n3');
  await lab.cluster.clock.advance(1000);

  const removal = lab.ask('n1', (operations) =>
    operations.removeMember({ name: 'n2', force: false }),
  );
  await assert.rejects(removal, refusal('would-lose-quorum'));
  const two = await lab.ask('n1', (operations) => operations.canStop('n2'));
  assert.deepEqual(two, { ok: false, reason: 'without n2 there would be no quorum' });
  const three = await lab.ask('n2', (operations) => operations.canStop('n3'));
  assert.equal(three.ok, true);
  const self = await lab.ask('n2', (operations) => operations.canStop(null));
  assert.equal(self.ok, false);
  await assert.rejects(
    lab.ask('n1', (operations) => operations.canStop('nobody')),
    refusal('member-unknown'),
  );
});

test('transfer() moves the leadership to a member by name, or to the best', async () => {
  const lab = await grown();

  const first = await lab.askAny((operations) => operations.transfer('n2'));
  assert.deepEqual(first, { leader: 'n2' });
  await lab.cluster.elected('n1');
  await lab.cluster.clock.advance(500);
  const second = await lab.askAny((operations) => operations.transfer(null));

  assert.notEqual(second.leader, 'n2');
});

test('report() and signCertificate() believe only the pinned key', async () => {
  const lab = await grown();
  const report = {
    nodeId: 'n2',
    version: '1.1.0',
    formatVersion,
    address: 'n2:7443',
    certExpires: '2027-01-01T00:00:00.000Z',
    macs: ['02:00:00:00:00:02'],
  };

  await lab.ask('n1', (operations) => operations.report(report));

  const { state } = lab.cluster.node('n1').view();
  assert.equal(state.members[1]?.version, '1.1.0');
  await assert.rejects(
    lab.ask('n1', (operations) => operations.report({ ...report, address: 'n3:7443' })),
    refusal('bad-request'),
  );
  await assert.rejects(
    lab.ask('n1', (operations) => operations.signCertificate({ nodeId: 'n2', csr: 'other' })),
    refusal('key-mismatch'),
  );
});

test('renewCertificate() renews the certificate of the node asked', async () => {
  const lab = await grown();

  const info = await lab.ask('n2', (operations) => operations.renewCertificate());

  assert.deepEqual(info, { name: 'n2', nodeId: 'n2', expires: '2027-01-01T00:00:00.000Z' });
  assert.equal(lab.renewed, 1);
});

test('status() needs no quorum; the linearizable one does', async () => {
  const lab = await grown();
  lab.cluster.kill('n1');
  lab.cluster.kill('n2');
  await lab.cluster.clock.advance(2000);

  const alone = await lab.ask('n3', (operations) => operations.status({ linearizable: false }));

  assert.equal(alone.verdict, 'down');
  assert.equal(alone.cluster.quorum, false);
  assert.match(alone.warnings[0] ?? '', /2 of 3 voters \(n1, n2, n3\) must run/);
  await assert.rejects(
    lab.ask('n3', (operations) => operations.status({ linearizable: true })),
    refusal('not-leader'),
  );
});

test('a read that another member forwarded is confirmed here or refused', async () => {
  const lab = await grown();
  const { id } = await lab.cluster.elected();
  const other = id === 'n2' ? 'n3' : 'n2';
  const reads: readonly ((operations: Operations) => Promise<unknown>)[] = [
    (operations) => operations.status({ linearizable: true }),
    (operations) => operations.getSpec({ local: false }),
    (operations) => operations.canStop(null),
  ];
  for (const read of reads) {
    await lab.cluster.settled(read(lab.control(id, true)));
    await lab.cluster.settled(read(lab.control(other)));
    await assert.rejects(
      lab.cluster.settled(read(lab.control(other, true))),
      refusal('not-leader'),
    );
  }
});

test('status() of a follower, confirmed by the quorum, is still about that follower', async () => {
  const lab = await grown();

  const document = await lab.ask('n2', (operations) => operations.status({ linearizable: true }));

  assert.equal(document.view.kind, 'linearizable');
  assert.equal(document.self.name, 'n2');
  assert.equal(document.self.role, 'follower');
  assert.equal(document.cluster.failuresLeft, 1);
  assert.deepEqual(
    document.members.map(({ name, reachable }) => [name, reachable]),
    [
      ['n1', true],
      ['n2', true],
      ['n3', true],
    ],
  );
});
