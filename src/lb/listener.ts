/**
 * A door that can be shut and opened again on the same port. While no backend accepts TCP the door
 * is shut, so that the kernel itself refuses clients at once ("connection refused") and they try
 * another way, instead of being accepted and disappointed. The port must survive this, because the
 * kernel's redirect from VIP:port names it: a socket that is bound and lets nobody in keeps it.
 */
import { OperatingError } from '../base/errors.ts';
import type { Lane } from './lane.ts';
import type { DoorSockets, Fd } from './sockets.ts';

export interface DoorOptions {
  /** Tried first, so that a new worker takes over the port of the dead one; 0: any. */
  readonly preferredPort: number;
  /** Whether any other port will do where that one is taken. */
  readonly mayMove: boolean;
  readonly sockets: DoorSockets;
  /** Where clients go that come in. */
  readonly lane: Lane;
  /** The door could not be opened; {@link Door.open} may be tried again. */
  readonly onError: (error: unknown) => void;
}

export class Door {
  readonly #options: DoorOptions;
  #keeper: Fd | null = null;
  #port: number;
  #mayMove: boolean;
  /** Where clients come in; the carrier closes it. */
  #door: Fd | null = null;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#port = options.preferredPort;
    this.#mayMove = options.mayMove;
  }

  /** The local port, for the redirect; 0 until there was one. */
  get port(): number {
    return this.#port;
  }

  get isOpen(): boolean {
    return this.#door !== null;
  }

  /** Takes a port without letting anybody in; `onError` tells why there is none. */
  claim(): void {
    if (this.#keeper !== null) return;
    try {
      const { fd, port } = this.#claimSome();
      this.#keeper = fd;
      this.#port = port;
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /**
   * Lets clients in on every address of this host. {@link isOpen} tells whether it worked;
   * `onError` has heard why not.
   */
  open(): void {
    if (this.#door !== null) return;
    this.claim();
    if (this.#keeper === null) return;
    try {
      const door = this.#options.sockets.listen(this.#port);
      this.#letIn(door);
      this.#door = door;
    } catch (error) {
      this.#options.onError(error);
    }
  }

  #letIn(door: Fd): void {
    try {
      this.#options.lane.open(door);
    } catch (error) {
      this.#options.sockets.close(door);
      throw error;
    }
  }

  /** Refuses new clients from now on; those that are connected stay. */
  shut(): void {
    if (this.#door === null) return;
    this.#options.sockets.refuse(this.#door);
    this.#options.lane.shut();
    this.#door = null;
  }

  /** Takes the port that others have agreed on, shut at first; whether that is another one. */
  follow(port: number, mayMove: boolean): boolean {
    this.#mayMove = mayMove;
    if (port === 0 || port === this.#port) return false;
    this.close();
    this.#port = port;
    this.claim();
    return true;
  }

  /** Like {@link shut}, for good: the port is given up. */
  close(): void {
    this.shut();
    if (this.#keeper !== null) this.#options.sockets.close(this.#keeper);
    this.#keeper = null;
  }

  /** Where somebody else took the port, the redirect has to follow to another one. */
  #claimSome(): { readonly fd: Fd; readonly port: number } {
    const { sockets } = this.#options;
    try {
      return sockets.claim(this.#port);
    } catch (error) {
      const isTaken = error instanceof OperatingError && error.code === 'port-in-use';
      if (!isTaken || this.#port === 0 || !this.#mayMove) throw error;
      return sockets.claim(0);
    }
  }
}
