/**
 * The admin service of another member, over mutual TLS: how a follower asks its leader. It makes
 * sure of a connection first, so that "never sent" and "sent, but no answer" are told apart: only
 * the first may be tried again without thinking.
 */
import { Client, type ServiceError } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { Operations } from '../cluster/operations.ts';
import type { PeerAddress } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import {
  type OperationArgs,
  type OperationName,
  type OperationResult,
  operationsBy,
  wireOf,
} from './admin-codec.ts';
import { TlsChannelCredentials } from './channel-credentials.ts';
import { channelOptions } from './dial.ts';
import { judgeServer } from './identity.ts';
import { maxAdminBytes } from './limits.ts';
import type { NodeTls } from './node-tls.ts';
import { callUnary } from './unary.ts';

const connectTimeoutMs: Millis = 1_000;
const callTimeoutMs: Millis = 9_000;

export interface MemberClientOptions {
  readonly tls: NodeTls;
  readonly clock: Clock;
  readonly peer: PeerAddress;
  readonly onTimeAlarm: (nodeId: string, time: TimeValidity) => void;
}

export type MemberConnection = Operations & { close(): void };

/**
 * Operations of `peer`; a failed connection rejects with `peer-unreachable`, and nothing was done.
 */
export function memberClient(options: MemberClientOptions): MemberConnection {
  const { tls, clock, peer } = options;
  const credentials = new TlsChannelCredentials({
    context: () => tls.context,
    preflight: null,
    judge: ([leaf]) => {
      const { clusterId, authorities } = tls;
      const trust = { clusterId, authorities, wallNowMs: clock.wallNow() };
      const expected = { nodeId: peer.id, publicKeyHash: peer.publicKeyHash };
      const judged = judgeServer(leaf, trust, expected);
      if (!judged.ok) return new Error(judged.reason);
      if (judged.time !== 'valid') options.onTimeAlarm(peer.id, judged.time);
      return null;
    },
  });
  const client = new Client(`dns:${peer.address}`, credentials, {
    ...channelOptions,
    'grpc.max_receive_message_length': maxAdminBytes,
  });
  const ask = async <K extends OperationName>(
    name: K,
    args: OperationArgs<K>,
  ): Promise<OperationResult<K>> => {
    await connected(client, options);
    const wire = wireOf(name);
    const reply = await callUnary({
      client,
      path: wire.path,
      request: wire.writeRequest(args),
      clock,
      timeoutMs: callTimeoutMs,
      forwarded: true,
      explain: (error) => brokenOff(error, peer),
    });
    return wire.readReply(reply);
  };
  return {
    ...operationsBy(ask),
    close() {
      client.close();
      credentials.abandon();
    },
  };
}

function connected(client: Client, { peer, clock }: MemberClientOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    // gRPC's deadline is on the wall clock; ours ends the wait whatever that clock does.
    const timer = clock.after(connectTimeoutMs, () => reject(unreachable(peer)));
    client.waitForReady(clock.wallNow() + connectTimeoutMs, (error) => {
      timer.cancel();
      if (error === undefined) resolve();
      else reject(unreachable(peer));
    });
  });
}

function unreachable(peer: PeerAddress): OperatingError {
  return new OperatingError({
    code: 'peer-unreachable',
    message: `member ${peer.address} cannot be reached from here`,
    hint: 'see `holdfast status` on that host, and the network between the two',
    facts: { peer: peer.id, address: peer.address },
  });
}

function brokenOff(error: ServiceError, peer: PeerAddress): OperatingError {
  return new OperatingError({
    code: 'outcome-unknown',
    message: `the connection to member ${peer.address} broke; the outcome is unknown`,
    hint: 'see `holdfast status`, then try again',
    facts: { peer: peer.id },
    cause: error,
  });
}
