/**
 * One member of the cluster that the proposals bench drives: the real node, log, store and
 * transport, without a VIP and without a balancer. It answers etcd's own Put, so that one client
 * drives both: the bytes of the request become part of a change of the replicated state.
 *
 * Started with Node's message channel; ends with it.
 */
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { systemClock } from '../../src/base/clock.ts';
import { OperatingError } from '../../src/base/errors.ts';
import { createLogger } from '../../src/base/log.ts';
import { prng } from '../../src/base/prng.ts';
import { ClusterNode } from '../../src/cluster/node.ts';
import { memberById } from '../../src/cluster/state.ts';
import { rawNow } from '../../src/linux/clock.ts';
import { operationsBy } from '../../src/rpc/admin-codec.ts';
import type { TlsMaterial } from '../../src/rpc/node-tls.ts';
import { Rpc } from '../../src/rpc/server.ts';
import { openLogStorage } from '../../src/storage/log-storage.ts';

export interface MemberSettings {
  readonly dir: string;
  readonly material: TlsMaterial;
  /** For the other members, with mutual TLS, and for the clients, plain; both on loopback. */
  readonly peerPort: number;
  readonly clientPort: number;
  readonly seed: number;
}

async function runMember(settings: MemberSettings): Promise<void> {
  const { material, peerPort } = settings;
  const { nodeId } = material;
  const clock = systemClock(rawNow);
  const log = createLogger({ level: 'warn', format: 'text' }).child({ node: nodeId });
  const storage = await openLogStorage(settings.dir, { expected: material });
  const rpc = new Rpc({
    listen: { host: '127.0.0.1', port: peerPort },
    advertise: `127.0.0.1:${peerPort}`,
    material,
    clock,
    random: prng(settings.seed),
    log,
    standingOf: (id) => {
      const member = memberById(node.view().state, id);
      return member === undefined
        ? { kind: 'unknown' }
        : { kind: 'member', publicKeyHash: member.publicKeyHash };
    },
    operations: operationsBy(async (name) => {
      throw new OperatingError({ code: 'not-supported', message: `no ${name} in this bench` });
    }),
    local: null,
    deliver: (message) => node.receive(message),
    onUnreachable: (id) => node.reportUnreachable(id),
    onSnapshotResult: (id, ok) => node.reportSnapshot(id, ok),
    onTimeAlarm: () => undefined,
  });
  const node: ClusterNode = new ClusterNode(
    { selfId: nodeId },
    {
      clock,
      storage,
      transport: rpc.transport,
      sink: { update: () => undefined },
      log,
      rng: prng(settings.seed),
      yieldToIo: (callback) => void setImmediate(() => setImmediate(callback)),
      onFatal: (error) => {
        throw error;
      },
    },
  );
  await rpc.start();
  await serveClients(node, settings.clientPort);
  node.onView((view) => process.send?.({ leads: view.ownTermApplied }));
  node.start();
}

/** The service of etcd, as far as one method; messages stay bytes. */
async function serveClients(node: ClusterNode, port: number): Promise<void> {
  const { id = '', members } = { id: node.view().selfId, members: node.view().state.members };
  const self = members.find((member) => member.id === id);
  if (self === undefined) throw new Error(`${id} is not a member`);
  const { address, formatVersion, certExpires, macs } = self;
  const decoder = new TextDecoder();
  const server = new Server({ 'grpc.enable_channelz': 0 });
  const bytes = (value: Buffer): Buffer => value;
  const put = {
    path: '/etcdserverpb.KV/Put',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
  const empty = Buffer.alloc(0);
  server.addService(
    { put },
    {
      put: (call: { request: Buffer }, done: (error: object | null, reply?: Buffer) => void) => {
        const version = decoder.decode(call.request);
        node
          .propose({
            type: 'update-member',
            id,
            address,
            version,
            formatVersion,
            certExpires,
            macs,
          })
          .then(
            () => done(null, empty),
            (error: unknown) => done({ code: status.UNAVAILABLE, details: String(error) }),
          );
      },
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

process.once('disconnect', () => process.exit(0));
process.once('SIGTERM', () => process.exit(0));
process.once('message', (settings) => void runMember(settings as MemberSettings));
