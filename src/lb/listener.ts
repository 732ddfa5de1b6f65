/**
 * A door that can be shut and opened again on the same port. While no backend accepts TCP the door
 * is shut, so that the kernel itself refuses clients at once ("connection refused") and they try
 * another way, instead of being accepted and disappointed. The port must survive this, because the
 * kernel's redirect from VIP:port names it.
 *
 * While the door is shut its port is kept by listening on a loopback address that nobody uses: the
 * kernel then hands the port to no other socket, and still refuses whoever asks any other address.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Millis } from '../base/clock.ts';

export interface DoorOptions {
  /** Tried first, so that a new worker takes over the port of the dead one; 0: any. */
  readonly preferredPort: number;
  /** Called with each accepted socket: paused, open for half-close, not to be forgotten. */
  readonly onSocket: (socket: Socket) => void;
  /** The door could not be opened; {@link Door.open} may be tried again. */
  readonly onError: (error: Error) => void;
}

/** An address of 127.0.0.0/8 that no program asks for; taken only to keep a port. */
const KEEPER_ADDRESS = '127.255.255.254';
/** As many handshakes as a burst of reconnecting clients needs; the kernel caps it at somaxconn. */
const BACKLOG = 4_096;
/**
 * Silence after which a connection's peer is asked whether it lives (then 10 times, each second).
 */
export const KEEP_ALIVE_MS: Millis = 30_000;

export class Door {
  readonly #options: DoorOptions;
  #server: Server | null = null;
  #keeper: Server | null = null;
  #port: number;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#port = options.preferredPort;
  }

  /** The local port, for the redirect; 0 until there was one. */
  get port(): number {
    return this.#port;
  }

  get isOpen(): boolean {
    return this.#server !== null;
  }

  /** Takes a port without letting anybody in. */
  claim(): void {
    this.open();
    this.shut();
  }

  /**
   * Listens on every address of this host, IPv6 and IPv4 (IPv4 alone where there is no IPv6).
   * {@link isOpen} tells whether it worked; `onError` hears later why not.
   */
  open(): void {
    if (this.#server !== null) return;
    this.#keeper?.close();
    this.#keeper = null;
    // Where somebody else took the port, the redirect has to follow to another one.
    this.#server = this.#listen(this.#port) ?? (this.#port === 0 ? null : this.#listen(0));
    this.#port = portOf(this.#server) ?? this.#port;
  }

  /** Refuses new clients from now on; those that are connected stay. */
  shut(): void {
    if (this.#server === null) return;
    this.#server.close();
    this.#server = null;
    this.#keeper = createServer((socket) => socket.destroy());
    // Failing to keep the port costs at most a move of the redirect.
    this.#keeper.on('error', () => undefined);
    this.#keeper.listen({ port: this.#port, host: KEEPER_ADDRESS, backlog: 1 });
  }

  /** Like {@link shut}, for good: the port is given up. */
  close(): void {
    this.shut();
    this.#keeper?.close();
    this.#keeper = null;
  }

  #listen(port: number): Server | null {
    const server = createServer(
      {
        allowHalfOpen: true,
        pauseOnConnect: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
      },
      this.#options.onSocket,
    );
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE' || this.#server === null) this.#options.onError(error);
    });
    // Without a host Node has nothing to look up and binds before it returns: to `::`, which takes
    // both families, or else to 0.0.0.0. There is an address if and only if that worked.
    server.listen({ port, backlog: BACKLOG });
    return portOf(server) === null ? null : server;
  }
}

function portOf(server: Server | null): number | null {
  const address = server?.address() ?? null;
  return address === null || typeof address === 'string' ? null : address.port;
}
