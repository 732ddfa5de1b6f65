/**
 * Snapshots that are arriving, and the beginning of one that broke off: at most one is kept, and
 * not for long, so that a broken transfer costs a receiver no more memory than a whole one.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { NodeId } from '../raft/types.ts';
import type { Route } from './codec.ts';
import { SnapshotAssembler, type Unfinished } from './snapshot-codec.ts';

/** A sender that is still there comes back within its stall timeout and an election. */
const keptMs: Millis = 30_000;

interface Arrival {
  readonly assembler: SnapshotAssembler;
  readonly abandon: () => void;
}

export class SnapshotInbox {
  readonly #clock: Clock;
  readonly #arriving = new Map<NodeId, Arrival>();
  #kept: Unfinished | null = null;
  #timer: Timer | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * For a call that begins. A peer sends one snapshot at a time: an older call of its own can only
   * be a connection that died unnoticed, so `abandon` ends that one and what it brought is kept.
   */
  begin(route: Route, abandon: () => void): SnapshotAssembler {
    const former = this.#arriving.get(route.from);
    if (former !== undefined) {
      this.ended(route.from, former.assembler, false);
      former.abandon();
    }
    // Two calls must not write into one beginning.
    const assembler = new SnapshotAssembler(route, this.#kept);
    this.#keep(null);
    this.#arriving.set(route.from, { assembler, abandon });
    return assembler;
  }

  /** @param settled it arrived whole or is not worth going on with. */
  ended(from: NodeId, assembler: SnapshotAssembler, settled: boolean): void {
    if (this.#arriving.get(from)?.assembler !== assembler) return;
    this.#arriving.delete(from);
    if (!settled) this.#keep(assembler.unfinished);
  }

  close(): void {
    this.#arriving.clear();
    this.#keep(null);
  }

  #keep(unfinished: Unfinished | null): void {
    this.#timer?.cancel();
    this.#kept = unfinished;
    this.#timer = unfinished === null ? null : this.#clock.after(keptMs, () => this.#keep(null));
  }
}
