/**
 * The durable log on LevelDB. Reads are answered from memory; each write is one atomic batch (hard
 * state, entries, deletions and snapshot together), because a crash between two of them could leave
 * a new prefix with a stale suffix. One batch is under way at a time, and what arrives meanwhile
 * goes into the next one: under load many appends share one fsync.
 */
import { type Clock, sleep } from '../base/clock.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import type { LogBatch, LogStorage } from '../cluster/ports.ts';
import type { Entry, EntryId, HardState, Index, LogReader, Snapshot } from '../raft/types.ts';
import { openStore, readIdentity, type Store } from './data-dir.ts';
import { type IndexRange, LogImage } from './log-image.ts';
import {
  decodeEntry,
  decodeHardState,
  decodeIdentity,
  decodeSnapshot,
  encodeEntry,
  encodeHardState,
  encodeSnapshot,
  entryKey,
  hardKey,
  type Identity,
  identityKey,
  isEntryKey,
  snapshotKey,
} from './records.ts';
import { dataCorrupt, dataForeign, openFailure } from './refusals.ts';
import { isNoRoom, openWithRoom } from './room.ts';

export interface OpenOptions {
  /** Who is expected to live here; null to take whoever does. */
  readonly expected: Pick<Identity, 'clusterId' | 'nodeId'> | null;
  /** Waits this long for another process (a passing `status`) to let go of the directory. */
  readonly lockWait?: { readonly clock: Clock; readonly maxMs: number };
  /** Lets writes wait for room on a full disk; without it they fail, and all later ones. */
  readonly roomWait?: Clock;
}

/** How often a locked directory is tried again. */
const lockRetryMs = 50;

/**
 * Opens the store of `dir`, checks every value, and reads it into memory.
 *
 * @throws OperatingError data-missing, data-foreign, data-locked, data-not-writable, data-newer,
 *   data-corrupt, data-unusable
 */
export async function openLogStorage(dir: string, options: OpenOptions): Promise<LogStorage> {
  const identity = await readIdentity(dir);
  checkExpected(dir, identity, options.expected);
  const store = await openUnlocked(dir, options.lockWait);
  try {
    const contents = await readStore(store);
    checkExpected(dir, contents.identity, identity);
    const { roomWait } = options;
    const reopen =
      roomWait === undefined
        ? null
        : (isOver: () => boolean) => openWithRoom(dir, roomWait, isOver);
    return new LevelLogStorage(store, image(contents), reopen);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Opens the store of `dir`, after waiting for whoever has it as long as was said. */
export async function openUnlocked(dir: string, wait: OpenOptions['lockWait']): Promise<Store> {
  const giveUpAt = wait === undefined ? 0 : wait.clock.now() + wait.maxMs;
  for (;;) {
    try {
      return await openStore(dir, false);
    } catch (error) {
      if (errorCode(error) !== 'data-locked') throw error;
      if (wait === undefined || wait.clock.now() >= giveUpAt) throw error;
      await sleep(wait.clock, lockRetryMs);
    }
  }
}

function checkExpected(dir: string, found: Identity, expected: OpenOptions['expected']): void {
  if (expected === null) return;
  if (found.clusterId !== expected.clusterId) {
    throw dataForeign(dir, `it belongs to the cluster ${found.clusterId}`);
  }
  if (found.nodeId !== expected.nodeId) {
    throw dataForeign(dir, `it belongs to the node ${found.name} (${found.nodeId})`);
  }
}

export interface StoreContents {
  readonly identity: Identity;
  readonly hard: HardState;
  readonly snapshot: Snapshot | undefined;
  /** By index, ascending, without holes. */
  readonly entries: readonly Entry[];
}

/** Reads and checks everything; a hole or a wrong checksum is `data-corrupt`. */
export async function readStore(store: Store): Promise<StoreContents> {
  let identity: Identity | undefined;
  let ending: { readonly hard: HardState; readonly lastIndex: Index } | undefined;
  let snapshot: Snapshot | undefined;
  const entries: Entry[] = [];
  for await (const [key, value] of readAll(store)) {
    if (key === identityKey) identity = decodeIdentity(value);
    else if (key === hardKey) ending = decodeHardState(value);
    else if (key === snapshotKey) snapshot = decodeSnapshot(value);
    else if (isEntryKey(key)) entries.push(decodeEntry(key, value));
    else throw dataCorrupt(`it holds ${JSON.stringify(key)}, which is not ours`);
  }
  if (identity === undefined) throw dataCorrupt('the identity is missing');
  if (ending === undefined) throw dataCorrupt('the hard state is missing');
  const start = snapshot?.meta ?? { index: 0, term: 0 };
  checkLog(ending.hard, ending.lastIndex, start, entries);
  return { identity, hard: ending.hard, snapshot, entries };
}

/** Every pair of the store; LevelDB's own complaints come as refusals. */
async function* readAll(store: Store): AsyncGenerator<readonly [string, Uint8Array]> {
  try {
    yield* store.iterator();
  } catch (error) {
    throw openFailure(store.location, error);
  }
}

/**
 * LevelDB drops a batch that was torn by a crash as a whole, and nothing was acknowledged that was
 * not synced. So a hole, or a log that does not end where it should, is damage, wherever it lies.
 */
function checkLog(hard: HardState, lastIndex: Index, start: EntryId, entries: readonly Entry[]) {
  let before = start;
  for (const entry of entries) {
    if (entry.index !== before.index + 1) {
      throw dataCorrupt(`the log has a hole after entry ${before.index}`);
    }
    if (entry.term < before.term) throw dataCorrupt(`the term falls at entry ${entry.index}`);
    before = entry;
  }
  if (before.index !== lastIndex) {
    throw dataCorrupt(`the log ends at entry ${before.index} and not at ${lastIndex}`);
  }
  if (before.index < hard.commit) {
    throw dataCorrupt(`the log ends at ${before.index}, before its commit at ${hard.commit}`);
  }
  if (before.term > hard.term) {
    throw dataCorrupt(`the log is at term ${before.term}, beyond the node's own ${hard.term}`);
  }
}

function image({ hard, snapshot, entries }: StoreContents): LogImage {
  // A snapshot holds only what was committed, also where the newest commit was not yet written.
  const commit = Math.max(hard.commit, snapshot?.meta.index ?? 0);
  return new LogImage({ ...hard, commit }, snapshot, entries);
}

type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What is collected for one batch. */
interface Write {
  readonly operations: Operation[];
  readonly waiters: Waiter[];
  sync: boolean;
}

/** Opens the store again when there is room; null where nobody waits for that. */
type Reopen = ((isOver: () => boolean) => Promise<Store>) | null;

class LevelLogStorage implements LogStorage {
  #store: Store;
  readonly #image: LogImage;
  readonly #reopen: Reopen;
  #next: Write = { operations: [], waiters: [], sync: false };
  #flushing: Promise<void> | null = null;
  #failure: OperatingError | null = null;
  #full = false;
  #closing = false;

  constructor(store: Store, log: LogImage, reopen: Reopen) {
    this.#store = store;
    this.#image = log;
    this.#reopen = reopen;
  }

  initialState(): ReturnType<LogReader['initialState']> {
    return this.#image.initialState();
  }

  entries(low: Index, high: Index, maxBytes: number): Entry[] {
    return this.#image.entries(low, high, maxBytes);
  }

  term(index: Index): number | undefined {
    return this.#image.term(index);
  }

  firstIndex(): Index {
    return this.#image.firstIndex();
  }

  lastIndex(): Index {
    return this.#image.lastIndex();
  }

  snapshot(): Snapshot {
    return this.#image.snapshot();
  }

  append(batch: LogBatch, sync: boolean): Promise<void> {
    const gone = this.#image.change(batch);
    const operations = deletions(gone);
    if (batch.snapshot !== undefined) {
      operations.push(put(snapshotKey, encodeSnapshot(batch.snapshot)));
    }
    for (const entry of batch.entries)
      operations.push(put(entryKey(entry.index), encodeEntry(entry)));
    const { hard } = this.#image.initialState();
    operations.push(put(hardKey, encodeHardState(hard, this.#image.lastIndex())));
    return this.#write(operations, sync);
  }

  compact(snapshot: Snapshot): Promise<void> {
    const gone = this.#image.compact(snapshot);
    if (gone.last < gone.first) return Promise.resolve();
    return this.#write([...deletions(gone), put(snapshotKey, encodeSnapshot(snapshot))], true);
  }

  isFull(): boolean {
    return this.#full;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#flushing;
    await this.#store.close();
  }

  #write(operations: readonly Operation[], sync: boolean): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const next = this.#next;
    next.operations.push(...operations);
    next.sync ||= sync;
    const durable = new Promise<void>((resolve, reject) => next.waiters.push({ resolve, reject }));
    this.#flushing ??= this.#flush();
    return durable;
  }

  /** Never rejects: the waiters hear of a failure, and so does every later write. */
  async #flush(): Promise<void> {
    while (this.#next.waiters.length > 0) {
      const write = this.#next;
      this.#next = { operations: [], waiters: [], sync: false };
      try {
        if (this.#failure !== null) throw this.#failure;
        await this.#store.batch(write.operations, { sync: write.sync });
        for (const { resolve } of write.waiters) resolve();
      } catch (error) {
        if (this.#failure === null && isNoRoom(error) && (await this.#hasRoomFor(write))) continue;
        // After a failed fsync nobody knows what is on disk, so it is never tried again.
        this.#failure ??= writeFailure(error);
        for (const { reject } of write.waiters) reject(this.#failure);
      }
    }
    this.#flushing = null;
  }

  /** Waits for room, and puts `write` first among what is to be written; false if it cannot be. */
  async #hasRoomFor(write: Write): Promise<boolean> {
    if (this.#reopen === null) return false;
    this.#full = true;
    try {
      await this.#store.close();
      this.#store = await this.#reopen(() => this.#closing);
    } catch (error) {
      this.#failure = writeFailure(error);
      return false;
    } finally {
      this.#full = false;
    }
    const later = this.#next;
    this.#next = {
      operations: [...write.operations, ...later.operations],
      waiters: [...write.waiters, ...later.waiters],
      sync: true,
    };
    return true;
  }
}

function writeFailure(error: unknown): OperatingError {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return new OperatingError({
    code: 'data-write-failed',
    message: `the log cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: 'look at the disk: `df`, `dmesg`; the agent starts again by itself',
    cause: error,
  });
}

function put(key: string, value: Uint8Array): Operation {
  return { type: 'put', key, value };
}

function deletions(range: IndexRange): Operation[] {
  const operations: Operation[] = [];
  for (let index = range.first; index <= range.last; index++) {
    operations.push({ type: 'del', key: entryKey(index) });
  }
  return operations;
}
