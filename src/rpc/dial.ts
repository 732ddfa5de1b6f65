/**
 * One attempt at one stream to one peer, on a connection of its own. It opens, or it ends; trying
 * again is up to the caller, with a new attempt.
 */
import { Client, type ClientWritableStream, type Metadata } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import type { PeerAddress } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import { parseHostPort } from './address.ts';
import { TlsChannelCredentials } from './channel-credentials.ts';
import type { MessageClass } from './codec.ts';
import { judgeServer } from './identity.ts';
import { maxMessageBytes } from './limits.ts';
import type { NodeTls } from './node-tls.ts';
import { raftService, sameBytes } from './raft-service.ts';

/**
 * What every channel of ours has: no proxy, no retries, no look-ups beyond the name, no sharing.
 */
export const channelOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
} as const;

/** Finds a connection that died silently while nothing was said on it. */
const keepalive = {
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
  'grpc.keepalive_permit_without_calls': 1,
} as const;

const flowControlWindowBytes = 1024 * 1024;

/** How long a bare connection may take where the one before found a black hole. */
const preflightTimeoutMs: Millis = 500;

export interface DialOptions {
  readonly tls: NodeTls;
  readonly clock: Clock;
  readonly peer: PeerAddress;
  readonly kind: MessageClass;
  readonly metadata: Metadata;
  /** The attempt before this one found nobody there. */
  readonly preflight: boolean;
  /** The peer has accepted the stream, with these headers. */
  readonly onOpen: (metadata: Metadata) => void;
  /** Called once: null when the peer ended the stream as agreed. */
  readonly onEnd: (error: Error | null) => void;
  /** The peer was accepted by its key, though its certificate is out of time. */
  readonly onTimeAlarm: (nodeId: string, time: TimeValidity) => void;
}

export interface DialledStream {
  readonly call: ClientWritableStream<Uint8Array>;
  /** Ends it now; nothing is called back any more. */
  abandon(): void;
}

/** Begins an attempt; the peer's address must be one (`parseHostPort`). */
export function dialStream(options: DialOptions): DialledStream {
  const credentials = peerCredentials(options);
  const client = new Client(`dns:${options.peer.address}`, credentials, {
    ...channelOptions,
    ...keepalive,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc-node.flow_control_window': flowControlWindowBytes,
  });
  let over = false;
  const end = (error: Error | null): void => {
    if (over) return;
    over = true;
    client.close();
    credentials.abandon();
    options.onEnd(error === null ? null : (credentials.refusal ?? error));
  };
  const call = client.makeClientStreamRequest(
    raftService[options.kind].path,
    sameBytes,
    (bytes: Buffer): Uint8Array => bytes,
    options.metadata,
    (error) => end(error),
  );
  call.on('error', end);
  call.once('metadata', (metadata: Metadata) => {
    if (!over) options.onOpen(metadata);
  });
  return {
    call,
    abandon() {
      over = true;
      call.cancel();
      client.close();
      credentials.abandon();
    },
  };
}

function peerCredentials(options: DialOptions): TlsChannelCredentials {
  const { tls, clock, peer } = options;
  const at = parseHostPort(peer.address);
  return new TlsChannelCredentials({
    context: () => tls.context,
    tune: tls.tune,
    preflight:
      options.preflight && at !== null ? { at, timeoutMs: preflightTimeoutMs, clock } : null,
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
}
