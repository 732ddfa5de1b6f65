/**
 * A host's disk: one write at a time, later ones collected meanwhile into the next, as the real
 * store does. Three places hold data: the process's memory, the page cache (outlives the process),
 * and the platters (outlive the power).
 *
 * A killed process loses what had not begun to be written, and the write under way is there whole
 * or not at all. A power cut keeps what was synced and any prefix of what was written after it.
 * Opening makes what is found durable, as LevelDB's recovery does.
 */
import type { Millis } from '../../src/base/clock.ts';
import { intBetween, type Prng } from '../../src/base/prng.ts';
import type { LogBatch, LogStorage } from '../../src/cluster/ports.ts';
import type {
  Entry,
  HardState,
  Index,
  MemberConfig,
  Snapshot,
  Term,
} from '../../src/raft/types.ts';
import type { LogImage } from './log-image.ts';
import type { SimProcess } from './process.ts';
import type { World } from './world.ts';

type Operation =
  | { readonly kind: 'append'; readonly batch: LogBatch; readonly sync: boolean }
  | { readonly kind: 'compact'; readonly snapshot: Snapshot };

interface Write {
  readonly operation: Operation;
  /** @param error null for a success. */
  readonly done: (error: Error | null) => void;
}

export interface DiskTiming {
  /** Mean of the exponential part of a synced write's duration, ms. */
  readonly syncMeanMs: Millis;
  /** How often a synced write is ten to a hundred times slower. */
  readonly slowChance: number;
}

/** A synced write of a slow disk: 1 ms to 5 s, each length as likely as its logarithm. */
const SLOW_RANGE_MS = [1, 5_000] as const;

const calmDisk: DiskTiming = { syncMeanMs: 0.5, slowChance: 0 };

/** What a failed write rejects with; a node must not go on after it. */
export class DiskFailure extends Error {
  constructor() {
    super('the disk failed');
  }
}

/** Told around each write that the process issues, and when something reached the platters. */
export interface DiskObserver {
  issuing(batch: LogBatch, before: LogImage): void;
  issued(batch: LogBatch, after: LogImage): void;
  stable(platters: LogImage): void;
}

export class SimDisk {
  readonly #world: World;
  readonly #random: Prng;
  #timing: DiskTiming;
  readonly #observer: DiskObserver;
  #platters: LogImage;
  #cached: Operation[] = [];
  #queue: Write[] = [];
  #writing: Write[] = [];
  #stalledUntil: Millis = 0;
  #fullUntil: Millis = 0;
  #slowUntil: Millis = 0;
  #failsNext = false;
  /** What cuts the power in the middle of the next write. */
  #tearsNext: (() => void) | null = null;
  /** An older content, to which the disk may be set back. */
  #backup: LogImage | null = null;
  /** A store that failed once takes nothing more until it is opened anew. */
  #broken = false;
  #generation = 0;

  constructor(
    world: World,
    random: Prng,
    timing: DiskTiming,
    observer: DiskObserver,
    first: LogImage,
  ) {
    this.#world = world;
    this.#random = random;
    this.#timing = timing;
    this.#observer = observer;
    this.#platters = first;
  }

  /** What a power cut at this instant would leave for certain. */
  get platters(): LogImage {
    return this.#platters;
  }

  /** An empty disk gets its first content. */
  format(log: LogImage): void {
    this.#platters = log;
  }

  /** No write ends before `until`. */
  stall(until: Millis): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, until);
  }

  /** There is no room until `until`: writes wait for it, and the process knows. */
  fill(until: Millis): void {
    this.stall(until);
    this.#fullUntil = Math.max(this.#fullUntil, until);
  }

  get isFull(): boolean {
    return this.#world.now < this.#fullUntil;
  }

  /** Synced writes that begin before `until` take from 1 ms to 5 s. */
  slowDown(until: Millis): void {
    this.#slowUntil = Math.max(this.#slowUntil, until);
  }

  /** Calls `cutPower` somewhere in the middle of the next write. */
  tearNext(cutPower: () => void): void {
    this.#tearsNext = cutPower;
  }

  /** Keeps what is on the platters now. */
  backUp(): void {
    this.#backup = this.#platters.clone();
  }

  /** Somebody puts the backup back, in place of what was synced since; false if that is nothing. */
  rollBack(): boolean {
    const backup = this.#backup;
    if (backup === null) return false;
    const { term, vote } = this.#platters.hard;
    const same = backup.hard.term === term && backup.hard.vote === vote;
    if (same && backup.lastIndex() === this.#platters.lastIndex()) return false;
    this.#platters = backup.clone();
    this.#cached = [];
    return true;
  }

  /** Puts other content in the place of all that is there, as a recovery does. */
  rewrite(log: LogImage): void {
    this.#platters = log;
    this.#cached = [];
  }

  /** The next write ends in an error, whatever of it got to the platters. */
  failNext(): void {
    this.#failsNext = true;
  }

  /** Fast and even from now on; a write under way still takes its time. */
  heal(): void {
    this.#stalledUntil = 0;
    this.#fullUntil = 0;
    this.#slowUntil = 0;
    this.#timing = calmDisk;
    this.#failsNext = false;
    this.#tearsNext = null;
  }

  open(process: SimProcess): SimLogStorage {
    this.#broken = false;
    for (const operation of this.#cached) perform(this.#platters, operation);
    this.#cached = [];
    this.#observer.stable(this.#platters);
    return new SimLogStorage(this, process, this.#platters.clone(), this.#observer);
  }

  /** The process died: the write under way is there whole or not at all, the rest is gone. */
  processDied(): void {
    this.#generation++;
    if (this.#random() < 0.5) this.#cached.push(...this.#writing.map((write) => write.operation));
    this.#writing = [];
    this.#queue = [];
  }

  /** The host lost its power: of what was not synced, any prefix survives. */
  powerLost(): void {
    this.processDied();
    this.#cached.length = intBetween(this.#random, 0, this.#cached.length);
  }

  write(operation: Operation, done: Write['done']): void {
    if (this.#broken) {
      done(new DiskFailure());
      return;
    }
    this.#queue.push({ operation, done });
    if (this.#writing.length === 0) this.#begin();
  }

  #begin(): void {
    if (this.#queue.length === 0) return;
    this.#writing = this.#queue;
    this.#queue = [];
    const sync = this.#writing.some((write) => isSynced(write.operation));
    const generation = this.#generation;
    const duration = this.#duration(sync);
    this.#world.after(duration, () => this.#ended(generation, sync));
    const tear = this.#tearsNext;
    if (tear === null) return;
    this.#tearsNext = null;
    this.#world.after(duration * this.#random(), () => {
      if (generation === this.#generation) tear();
    });
  }

  #ended(generation: number, sync: boolean): void {
    if (generation !== this.#generation) return;
    if (this.#world.now < this.#stalledUntil) {
      this.#world.at(this.#stalledUntil, () => this.#ended(generation, sync));
      return;
    }
    const written = this.#writing;
    this.#writing = [];
    if (this.#failsNext) {
      this.#failsNext = false;
      this.#broken = true;
      if (this.#random() < 0.5) this.#cached.push(...written.map((write) => write.operation));
      for (const write of [...written, ...this.#queue]) write.done(new DiskFailure());
      this.#queue = [];
      return;
    }
    this.#cached.push(...written.map((write) => write.operation));
    if (sync) {
      for (const operation of this.#cached) perform(this.#platters, operation);
      this.#cached = [];
      this.#observer.stable(this.#platters);
    }
    for (const write of written) write.done(null);
    if (this.#writing.length === 0) this.#begin();
  }

  #duration(sync: boolean): Millis {
    if (!sync) return 0.02 + 0.1 * this.#random();
    if (this.#world.now < this.#slowUntil) {
      const [least, most] = SLOW_RANGE_MS;
      return least * (most / least) ** this.#random();
    }
    const usual = 0.1 - Math.log(1 - this.#random()) * this.#timing.syncMeanMs;
    const slow = this.#random() < this.#timing.slowChance;
    return slow ? usual * (10 + 90 * this.#random()) : usual;
  }
}

/** One process's open store on a {@link SimDisk}. */
export class SimLogStorage implements LogStorage {
  readonly #disk: SimDisk;
  readonly #process: SimProcess;
  readonly #memory: LogImage;
  readonly #observer: DiskObserver;

  constructor(disk: SimDisk, process: SimProcess, memory: LogImage, observer: DiskObserver) {
    this.#disk = disk;
    this.#process = process;
    this.#memory = memory;
    this.#observer = observer;
  }

  get memory(): LogImage {
    return this.#memory;
  }

  append(batch: LogBatch, sync: boolean): Promise<void> {
    const copy = { ...batch, entries: [...batch.entries] };
    this.#observer.issuing(copy, this.#memory);
    this.#memory.append(copy);
    this.#observer.issued(copy, this.#memory);
    return this.#issue({ kind: 'append', batch: copy, sync });
  }

  compact(snapshot: Snapshot): Promise<void> {
    this.#memory.compact(snapshot);
    return this.#issue({ kind: 'compact', snapshot });
  }

  isFull(): boolean {
    return this.#disk.isFull;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  initialState(): { readonly hard: HardState; readonly config: MemberConfig } {
    return this.#memory.initialState();
  }

  entries(low: Index, high: Index, maxBytes: number): Entry[] {
    return this.#memory.entries(low, high, maxBytes);
  }

  term(index: Index): Term | undefined {
    return this.#memory.term(index);
  }

  firstIndex(): Index {
    return this.#memory.firstIndex();
  }

  lastIndex(): Index {
    return this.#memory.lastIndex();
  }

  snapshot(): Snapshot {
    return this.#memory.snapshot();
  }

  #issue(operation: Operation): Promise<void> {
    return new Promise((resolve, reject) => {
      const done: Write['done'] = (error) =>
        this.#process.post('io', () => (error === null ? resolve() : reject(error)));
      this.#process.effect(() => this.#disk.write(operation, done));
    });
  }
}

function isSynced(operation: Operation): boolean {
  return operation.kind === 'compact' || operation.sync;
}

function perform(image: LogImage, operation: Operation): void {
  if (operation.kind === 'append') image.append(operation.batch);
  else image.compact(operation.snapshot);
}
