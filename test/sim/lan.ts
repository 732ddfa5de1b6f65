/**
 * The segment that all hosts share, as far as a neighbour's cache is concerned: who announced a VIP
 * last. An announcement leaves only through an open fence on a link that is up.
 */
import type { NodeId } from '../../src/raft/types.ts';
import type { SimKernel } from './kernel.ts';
import type { World } from './world.ts';

/** A host on the segment, as far as questions for an address go. */
interface Neighbour {
  readonly id: NodeId;
  readonly kernel: SimKernel;
  answers(address: string): boolean;
}

const STRANGER_MAC = '02:00:00:00:ff:ff';

export class Lan {
  readonly #world: World;
  readonly #address: string;
  #neighbourCache: NodeId | null = null;
  #announcements = 0;
  /** Whether a host that is no member answers for the VIP. */
  stranger = false;
  #hosts: readonly Neighbour[] = [];

  constructor(world: World, address: string) {
    this.#world = world;
    this.#address = address;
  }

  inhabitedBy(hosts: readonly Neighbour[]): void {
    this.#hosts = hosts;
  }

  /** MACs of those who answer a question for `address` from `asker`. */
  answersFor(address: string, asker: NodeId): readonly string[] {
    const macs = this.#hosts
      .filter((host) => host.id !== asker && host.answers(address))
      .map((host) => host.kernel.mac);
    return this.stranger ? [...macs, STRANGER_MAC] : macs;
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
