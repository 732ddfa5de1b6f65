/**
 * The admin service of this host's agent, over its local socket: what nearly every command uses, so
 * it loads gRPC and nothing else.
 */
import { connect } from 'node:net';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import type { Operations } from '../cluster/operations.ts';
import {
  type OperationArgs,
  type OperationName,
  type OperationResult,
  operationsBy,
  wireOf,
} from './admin-codec.ts';
import { maxAdminBytes } from './limits.ts';
import { callUnary } from './unary.ts';

/** Long enough for a proposal that waits for a quorum until it gives up, forwarding included. */
const defaultTimeoutMs: Millis = 10_000;

/** `status` never waits for a quorum, and a stalled agent must not make it slow. */
const localStatusTimeoutMs: Millis = 250;

export interface AdminOptions {
  readonly socketPath: string;
  readonly clock: Clock;
  /** For everything but the local status. */
  readonly timeoutMs?: Millis;
}

export type AdminConnection = Operations & { close(): void };

/**
 * Connects to the agent of this host.
 *
 * @throws OperatingError `agent-down`, `permission-denied`; each operation also `timeout` and what
 *   the agent says
 */
export async function connectAdmin(options: AdminOptions): Promise<AdminConnection> {
  await knock(options.socketPath);
  const client = new Client(`unix:${options.socketPath}`, credentials.createInsecure(), {
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': maxAdminBytes,
    // The authority of a Unix socket would be its path, which HTTP/2 does not allow.
    'grpc.default_authority': 'localhost',
  });
  const ask = async <K extends OperationName>(
    name: K,
    args: OperationArgs<K>,
  ): Promise<OperationResult<K>> => {
    const wire = wireOf(name);
    const reply = await callUnary({
      client,
      path: wire.path,
      request: wire.writeRequest(args),
      clock: options.clock,
      timeoutMs: isLocalStatus(name, args)
        ? localStatusTimeoutMs
        : (options.timeoutMs ?? defaultTimeoutMs),
      explain: (error) => explain(error, options.socketPath),
    });
    return wire.readReply(reply);
  };
  return { ...operationsBy(ask), close: () => client.close() };
}

function isLocalStatus(name: keyof Operations, args: readonly unknown[]): boolean {
  const [first] = args;
  return (
    name === 'status' &&
    typeof first === 'object' &&
    first !== null &&
    'linearizable' in first &&
    first.linearizable === false
  );
}

/** Finds out what gRPC would only tell as text: whether anybody listens, and lets us in. */
function knock(socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', (error) => reject(connectError(error, socketPath)));
  });
}

function connectError(error: Error, socketPath: string): OperatingError {
  const code = errorCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return new OperatingError({
      code: 'permission-denied',
      message: `you may not talk to the agent (${socketPath})`,
      hint: 'run this as root; the group holdfast may only read',
      facts: { socketPath },
      cause: error,
    });
  }
  return agentDown(socketPath, error);
}

function agentDown(socketPath: string, cause: unknown): OperatingError {
  return new OperatingError({
    code: 'agent-down',
    message: `the agent is not running on this host (nobody answers on ${socketPath})`,
    hint: 'start it with `systemctl start holdfast`',
    facts: { socketPath },
    cause,
  });
}

function explain(error: ServiceError, socketPath: string): OperatingError {
  if (error.code === status.UNAVAILABLE) return agentDown(socketPath, error);
  return new OperatingError({
    code: 'rpc-failed',
    message: `the agent did not answer as expected (${error.details})`,
    cause: error,
  });
}
