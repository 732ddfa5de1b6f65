/**
 * One member of the cluster that the proposals bench drives: the real node, log, store and
 * transport, without a VIP and without a balancer. It answers etcd's own Put, so that one client
 * drives both: the bytes of the request become part of a change of the replicated state.
 *
 * Started with Node's message channel; ends with it.
 */
import { createServer } from 'node:http2';
import { defined } from '../../src/base/assert.ts';
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

const noOperations = operationsBy(async (name) => {
  throw new OperatingError({ code: 'not-supported', message: `no ${name} in this bench` });
});

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
    operations: noOperations,
    forwarded: noOperations,
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
  let leads = false;
  node.onView(({ ownTermApplied }) => {
    if (leads === ownTermApplied) return;
    leads = ownTermApplied;
    process.send?.({ leads });
  });
  node.start();
}

/** gRPC's frame in front of a message: not compressed, then the length. */
const framingBytes = 5;
const emptyReply = Buffer.alloc(framingBytes);
const accepted = { ':status': 200, 'content-type': 'application/grpc' };

/** Answers Put, of etcd's KV service, and nothing else; straight over HTTP/2 like the clients. */
async function serveClients(node: ClusterNode, port: number): Promise<void> {
  const { selfId: id, state } = node.view();
  const { address, formatVersion, certExpires, macs } = defined(memberById(state, id), 'self');
  const server = createServer();
  server.on('stream', (stream) => {
    const parts: Buffer[] = [];
    let grpcStatus = '0';
    stream.on('error', () => undefined);
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': grpcStatus }));
    stream.on('end', () => {
      const version = Buffer.concat(parts).toString('latin1', framingBytes);
      const facts = { id, address, version, formatVersion, certExpires, macs };
      const answer = (): void => {
        stream.respond(accepted, { waitForTrailers: true });
        stream.end(emptyReply);
      };
      node.propose({ type: 'update-member', ...facts }).then(answer, () => {
        grpcStatus = '14';
        answer();
      });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

process.once('disconnect', () => process.exit(0));
process.once('SIGTERM', () => process.exit(0));
process.once('message', (settings) => void runMember(settings as MemberSettings));
