/**
 * The join service, for hosts without a certificate: one short question on a short-lived
 * connection. Any member answers; the leader decides. Tokens that fail are rationed for each
 * address, so that guessing is hopeless without a guess of one host locking out another.
 */
import type { TLSSocket } from 'node:tls';
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { JoinReply, JoinRequest, JoinService } from '../../proto/gen/join.ts';
import type { Clock } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { Operations } from '../cluster/operations.ts';
import { fromJoinRequest, toJoinReply } from './admin-codec.ts';
import { AddressBuckets, plainAddress } from './gate.ts';
import { maxJoinBytes } from './limits.ts';
import { toStatus } from './operating-errors.ts';
import { sameBytes } from './raft-service.ts';
import type { Refusals } from './refusals.ts';

/** Joiners connected at one time. */
const maxConnections = 32;

/** Mistyped tokens are few; a guesser gets this far each minute. */
const failedTokens = { burst: 10, perSecond: 1 / 6 };
const maxAddresses = 1_024;

export interface JoinServerOptions {
  /** Answers here or asks the leader. */
  readonly admit: Operations['admit'];
  readonly clock: Clock;
  readonly refusals: Refusals;
}

export class JoinServer {
  readonly #options: JoinServerOptions;
  readonly #server: Server;
  readonly #injector: ConnectionInjector;
  readonly #failures: AddressBuckets;
  readonly #sockets = new Set<TLSSocket>();

  constructor(options: JoinServerOptions) {
    this.#options = options;
    this.#failures = new AddressBuckets(failedTokens, maxAddresses);
    this.#server = new Server({
      'grpc.max_receive_message_length': maxJoinBytes,
      'grpc.max_concurrent_streams': 1,
      'grpc.max_connection_idle_ms': 5_000,
      'grpc.max_connection_age_ms': 20_000,
      'grpc.max_connection_age_grace_ms': 5_000,
      'grpc.enable_channelz': 0,
    });
    this.#server.addService(
      {
        join: {
          path: JoinService.join.path,
          requestStream: false,
          responseStream: false,
          requestSerialize: sameBytes,
          requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
          responseSerialize: sameBytes,
          responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
        },
      },
      {
        join: (call: ServerUnaryCall<Uint8Array, Uint8Array>, done: sendUnaryData<Uint8Array>) => {
          this.#join(call).then(
            (reply) => done(null, reply),
            (error: unknown) => done(toStatus(error)),
          );
        },
      },
    );
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  /** Serves a finished TLS connection that showed no certificate. */
  accept(socket: TLSSocket): void {
    if (this.#sockets.size >= maxConnections) {
      this.#options.refusals.note('too-many-joiners', { from: socket.remoteAddress });
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    this.#injector.injectConnection(socket);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.forceShutdown();
  }

  async #join(call: ServerUnaryCall<Uint8Array, Uint8Array>): Promise<Uint8Array> {
    const from = plainAddress(call.getPeer().replace(/:\d+$/, ''));
    if (!this.#failures.available(from, this.#options.clock.now())) throw tooManyAttempts();
    const request = fromJoinRequest(decode(call.request));
    try {
      return JoinReply.encode(toJoinReply(await this.#options.admit(request))).finish();
    } catch (error) {
      if (error instanceof OperatingError && error.code.startsWith('token-')) {
        this.#failures.take(from, this.#options.clock.now());
        this.#options.refusals.note(error.code, { from, name: request.name.slice(0, 64) });
      }
      throw error;
    }
  }
}

function decode(bytes: Uint8Array): JoinRequest {
  try {
    return JoinRequest.decode(bytes);
  } catch (error) {
    throw new OperatingError({
      code: 'bad-request',
      message: 'this is no join request that this version understands',
      cause: error,
    });
  }
}

function tooManyAttempts(): OperatingError {
  return new OperatingError({
    code: 'too-many-attempts',
    message: 'too many joins from this address failed by their token',
    hint: 'wait a minute, then use a fresh one from `holdfast token create`',
  });
}
