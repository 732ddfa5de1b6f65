/**
 * gRPC channels over our own TLS: grpc-js lets OpenSSL judge the server, which can neither pin a
 * key nor forgive a clock, so the handshake is made here and the certificate judged by a function.
 *
 * grpc-js connects by itself and offers no time limit, and a connect into a black hole (a host
 * without power) hangs for two minutes. Where the last attempt ended like that, a short connection
 * is tried first, and grpc-js starts only when it came about.
 */

import type { X509Certificate } from 'node:crypto';
import { type Socket, connect as tcpConnect } from 'node:net';
import { type SecureContext, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import type { HostPort } from './address.ts';

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** The whole chain as the server showed it, leaf first, and null or the reason to refuse it. */
export type JudgeServer = (chain: readonly X509Certificate[]) => Error | null;

export interface TlsChannelOptions {
  /** Asked at each handshake, so that a renewed certificate is used. */
  readonly context: () => SecureContext;
  readonly judge: JudgeServer;
  readonly tune?: (socket: Socket) => void;
  /** Try a bare connection first, for this long at most. */
  readonly preflight: {
    readonly at: HostPort;
    readonly timeoutMs: Millis;
    readonly clock: Clock;
  } | null;
}

/** Credentials of one channel, which must not be shared: {@link abandon} ends what it opened. */
export class TlsChannelCredentials extends ChannelCredentials {
  readonly #options: TlsChannelOptions;
  readonly #sockets = new Set<Socket>();
  #abandoned = false;
  #refusal: Error | null = null;

  constructor(options: TlsChannelOptions) {
    super();
    this.#options = options;
  }

  /** Why the server was refused, if it was: grpc-js would only tell it as text. */
  get refusal(): Error | null {
    return this.#refusal;
  }

  /** Closes whatever is open or still opening, at once and without a farewell. */
  abandon(): void {
    this.#abandoned = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...args: Parameters<ChannelCredentials['_createSecureConnector']>
  ): SecureConnector {
    const calls = args[2] ?? CallCredentials.createEmpty();
    return {
      waitForReady: () => this.#preflight(),
      connect: async (socket) => ({ socket: await this.#handshake(socket), secure: true }),
      getCallCredentials: () => calls,
      destroy: () => undefined,
    };
  }

  #preflight(): Promise<void> {
    const { preflight } = this.#options;
    if (preflight === null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const socket = this.#track(tcpConnect(preflight.at));
      const timer = preflight.clock.after(preflight.timeoutMs, () => {
        socket.destroy(new Error('no answer'));
      });
      socket.once('connect', () => {
        resolve();
        socket.destroy();
      });
      socket.once('error', reject);
      socket.once('close', () => {
        timer.cancel();
        reject(new Error('closed while connecting'));
      });
    });
  }

  #handshake(socket: Socket): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      this.#track(socket);
      if (this.#abandoned) {
        socket.destroy();
        reject(new Error('abandoned'));
        return;
      }
      this.#options.tune?.(socket);
      const secure = tlsConnect({
        socket,
        secureContext: this.#options.context(),
        minVersion: 'TLSv1.3',
        ALPNProtocols: ['h2'],
        // Judged below by pinned key, cluster and node; names and time alone decide nothing.
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
      this.#track(secure);
      secure.once('secureConnect', () => {
        this.#refusal = this.#options.judge(chainOf(secure));
        if (this.#refusal === null) resolve(secure);
        else secure.destroy(this.#refusal);
      });
      secure.on('error', reject);
      secure.once('close', () => reject(new Error('closed during the handshake')));
    });
  }

  #track(socket: Socket): Socket {
    this.#sockets.add(socket);
    // Each failure is reported by its own listener; none may be fatal because that one has gone.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

/** More certificates than this in a chain are not looked at. */
const maxChain = 8;

function chainOf(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  while (next !== undefined && chain.length < maxChain) {
    chain.push(next);
    const issuer: X509Certificate | undefined = next.issuerCertificate;
    next = issuer?.fingerprint256 === next.fingerprint256 ? undefined : issuer;
  }
  return chain;
}
