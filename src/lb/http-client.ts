/**
 * One client of an HTTP lane: its connection, and the one to the backend that serves it. As on the
 * other data paths, a connection stays with its backend for as long as both last; only where the
 * backend has closed its side, the next request chooses anew.
 */
import { Agent, type AgentOptions } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Upstreams } from './http-upstreams.ts';

export class HttpClient {
  /** Of the client: beneath the encryption, where there is any. */
  readonly socket: Socket;
  readonly address: string;
  readonly agent: Agent;
  /** The encryption around {@link socket}, once it is agreed. */
  #secured: Socket | null = null;
  readonly #upstreams: Upstreams;
  /** With the backends that they lead to. */
  readonly #served = new Map<Socket, string>();

  constructor(socket: Socket, address: string, upstreams: Upstreams) {
    this.socket = socket;
    this.address = address;
    this.#upstreams = upstreams;
    this.agent = new PinnedAgent(() => this.connect(false));
    socket.once('close', () => {
      for (const upstream of this.#served.keys()) upstream.destroy();
      this.agent.destroy();
    });
  }

  /** One more connection to a backend, which ends with the client. */
  async connect(allowHalfOpen: boolean): Promise<Socket> {
    const { backend, socket } = await this.#upstreams.connect(this.address, allowHalfOpen);
    if (this.socket.destroyed) socket.destroy();
    this.#served.set(socket, backend);
    socket.once('close', () => this.#served.delete(socket));
    return socket;
  }

  isServedBy(backend: string): boolean {
    return [...this.#served.values()].includes(backend);
  }

  secure(socket: Socket): void {
    this.#secured = socket;
  }

  reset(): void {
    // A connection whose descriptor the encryption has taken over can only be ended by that.
    if (this.#secured === null) this.socket.resetAndDestroy();
    else this.#secured.destroy();
  }
}

/** Keeps one connection, whatever it is asked for: requests of one client wait for each other. */
class PinnedAgent extends Agent {
  readonly #connect: () => Promise<Socket>;

  constructor(connect: () => Promise<Socket>) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#connect = connect;
  }

  override createConnection(
    _options: AgentOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): null {
    const answer = callback as ((error: Error | null, stream?: Duplex) => void) | undefined;
    this.#connect().then(
      (socket) => answer?.(null, socket),
      (error: Error) => answer?.(error),
    );
    return null;
  }
}
