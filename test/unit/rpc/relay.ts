/** A cable for tests: forwards TCP to a target until it is cut, and says nothing when it is. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #cut = false;
  #passed = 0;
  #breakAt = Number.POSITIVE_INFINITY;
  /** Connections accepted so far. */
  accepted = 0;

  constructor(server: Server) {
    this.#server = server;
  }

  static open(targetPort: number): Promise<Relay> {
    return new Promise((resolve) => {
      const server = createServer({ noDelay: true });
      const relay = new Relay(server);
      server.on('connection', (socket) => relay.#carry(socket, targetPort));
      server.listen(0, '127.0.0.1', () => resolve(relay));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on nothing passes, and nobody is told. What stood is dead for ever. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** Breaks every connection once, when `bytes` more have passed to the target. */
  breakAfter(bytes: number): void {
    this.#breakAt = this.#passed + bytes;
  }

  /** New connections pass again. */
  heal(): void {
    this.#cut = false;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #carry(near: Socket, targetPort: number): void {
    this.accepted += 1;
    this.#keep(near);
    if (this.#cut) {
      near.pause();
      return;
    }
    const far = connect({ host: '127.0.0.1', port: targetPort, noDelay: true });
    this.#keep(far);
    near.on('data', (bytes) => this.#count(bytes.length));
    near.pipe(far);
    far.pipe(near);
  }

  #count(bytes: number): void {
    this.#passed += bytes;
    if (this.#passed < this.#breakAt) return;
    this.#breakAt = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
