/**
 * The ducts of one process: lent to a connection that moves a lot, for as long as bytes of it are
 * inside. So a thousand idle connections need none, and one duct serves many busy ones in turn.
 */
import type { Duct } from './sockets.ts';

/** Readers that are slow at the same time, each with a duct of its own; more are copied for. */
const MAX_DUCTS = 32;
/** Kept for whoever comes next. */
const MAX_SPARE = 4;

export class Ducts {
  readonly #create: () => Duct | null;
  readonly #spare: Duct[] = [];
  #lent = 0;

  constructor(create: () => Duct | null) {
    this.#create = create;
  }

  /** An empty one; null where all are lent. */
  take(): Duct | null {
    if (this.#lent >= MAX_DUCTS) return null;
    const duct = this.#spare.pop() ?? this.#create();
    if (duct !== null) this.#lent++;
    return duct;
  }

  giveBack(duct: Duct): void {
    this.#lent--;
    if (duct.held === 0 && this.#spare.length < MAX_SPARE) this.#spare.push(duct);
    else duct.close();
  }
}
