/**
 * A disk in memory: what was synced outlives a power cut, of what was written after it some prefix
 * does, and what was not yet written is gone with the process.
 */
import type { Clock } from '../../src/base/clock.ts';
import type { LogBatch, LogStorage } from '../../src/cluster/ports.ts';
import type { LogReader, Snapshot } from '../../src/raft/types.ts';
import { LogImage } from '../../src/storage/log-image.ts';

type Change = (image: LogImage) => void;

export class MemoryDisk {
  readonly #clock: Clock;
  readonly #writeMs: () => number;
  /** What a power cut leaves for certain. */
  #platters: LogImage;
  /** Written, but not synced. */
  #cached: Change[] = [];
  #generation = 0;
  /** Writes that wait for room; null while there is some. */
  #waiting: (() => void)[] | null = null;

  /** @param writeMs how long each write takes. */
  constructor(clock: Clock, writeMs: () => number, first: Snapshot | null) {
    this.#clock = clock;
    this.#writeMs = writeMs;
    const hard = { term: 0, vote: null, commit: 0, promiseMaxMs: 0 };
    this.#platters =
      first === null
        ? new LogImage()
        : new LogImage({ ...hard, term: first.meta.term, commit: first.meta.index }, first);
  }

  /** Opens the log; whoever had it open before is dead from now on. */
  open(): LogStorage {
    this.#sync();
    this.#generation += 1;
    return this.#storage(copyOf(this.#platters), this.#generation);
  }

  /** The power fails: of what was not synced, the first `kept` writes survive. */
  cut(kept: number): void {
    this.#generation += 1;
    this.#cached.length = Math.min(kept, this.#cached.length);
    this.#sync();
  }

  /** No write ends before {@link makeRoom}. */
  fill(): void {
    this.#waiting ??= [];
  }

  makeRoom(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const end of waiting) end();
  }

  #sync(): void {
    for (const change of this.#cached) change(this.#platters);
    this.#cached = [];
  }

  #storage(memory: LogImage, generation: number): LogStorage {
    const write = (change: Change, sync: boolean): Promise<void> => {
      change(memory);
      return new Promise((resolve) => {
        const end = (): void => {
          if (generation !== this.#generation) return;
          this.#cached.push(change);
          if (sync) this.#sync();
          resolve();
        };
        this.#clock.after(this.#writeMs(), () => {
          if (this.#waiting === null) end();
          else this.#waiting.push(end);
        });
      });
    };
    return {
      ...readerOf(memory),
      append: (batch: LogBatch, sync: boolean) => write((image) => void image.change(batch), sync),
      compact: (snapshot: Snapshot) => write((image) => void image.compact(snapshot), true),
      isFull: () => this.#waiting !== null && this.#waiting.length > 0,
      close: () => Promise.resolve(),
    };
  }
}

function readerOf(image: LogImage): LogReader {
  return {
    initialState: () => image.initialState(),
    entries: (low, high, maxBytes) => image.entries(low, high, maxBytes),
    term: (index) => image.term(index),
    firstIndex: () => image.firstIndex(),
    lastIndex: () => image.lastIndex(),
    snapshot: () => image.snapshot(),
  };
}

function copyOf(image: LogImage): LogImage {
  const entries = image.entries(image.firstIndex(), image.lastIndex() + 1, Number.MAX_SAFE_INTEGER);
  return new LogImage(image.initialState().hard, image.snapshot(), entries);
}
