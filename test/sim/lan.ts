/**
 * The segment that all hosts share, as far as a neighbour's cache is concerned: who announced a VIP
 * last. An announcement leaves only through an open fence on a link that is up.
 */
import type { NodeId } from '../../src/raft/types.ts';
import type { SimKernel } from './kernel.ts';
import type { World } from './world.ts';

export class Lan {
  readonly #world: World;
  readonly #address: string;
  #neighbourCache: NodeId | null = null;
  #announcements = 0;

  constructor(world: World, address: string) {
    this.#world = world;
    this.#address = address;
  }

  /** Where the neighbours send what is for the VIP. */
  get neighbourCache(): NodeId | null {
    return this.#neighbourCache;
  }

  get announcements(): number {
    return this.#announcements;
  }

  /** A frame of a host's process that names the VIP as its sender. */
  announced(host: NodeId, kernel: SimKernel, _frame: Uint8Array): void {
    const mono = kernel.mono(this.#world.now);
    if (!kernel.linkUp || !kernel.state.passes(this.#address, mono)) return;
    this.#announcements++;
    if (this.#neighbourCache !== host) this.#world.note(host, `announces ${this.#address}`);
    this.#neighbourCache = host;
  }
}
