/**
 * The directory that holds one node's durable state: `identity` says whose it is and can be read
 * while an agent runs; `log/` is the LevelDB store, which has one user at a time.
 *
 * `identity` is written last when a directory is made, so a directory either is a whole node or
 * none.
 */
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { Level } from 'level';
import { errorCode, OperatingError } from '../base/errors.ts';
import { emptyHardState, type Snapshot } from '../raft/types.ts';
import {
  decodeIdentity,
  encodeHardState,
  encodeIdentity,
  encodeSnapshot,
  hardKey,
  type Identity,
  identityKey,
  snapshotKey,
} from './records.ts';
import { dataForeign, dataMissing, openFailure } from './refusals.ts';
import { checkStore } from './store-check.ts';

/** LevelDB with text keys and binary values. */
export type Store = Level<string, Uint8Array>;

export function identityPath(dir: string): string {
  return `${dir}/identity`;
}

export function storePath(dir: string): string {
  return `${dir}/log`;
}

/** Opens the LevelDB store of `dir`, if it is whole; errors come as refusals. */
export async function openStore(dir: string, createIfMissing: boolean): Promise<Store> {
  try {
    // Before the constructor: it begins to open, and thereby to repair, by itself.
    if (!createIfMissing) await checkStore(storePath(dir));
    const store: Store = new Level(storePath(dir), {
      keyEncoding: 'utf8',
      valueEncoding: 'view',
      createIfMissing,
      // Values are small; saves a millisecond a write.
      compression: false,
      // Everything is read once, at the start.
      cacheSize: 256 * 1024,
      writeBufferSize: 1024 * 1024,
    });
    await store.open();
    return store;
  } catch (error) {
    throw openFailure(dir, error);
  }
}

/**
 * Makes the durable state of a new node.
 *
 * @param bootstrap the first snapshot of a new cluster; null for a joiner, which gets its own from
 *   the leader.
 * @param owed the longest promise that this host may have made before; none unless told otherwise
 * @throws OperatingError data-exists, data-foreign, data-not-writable, data-unusable
 */
export async function createDataDir(
  dir: string,
  identity: Identity,
  bootstrap: Snapshot | null,
  owed: { readonly promiseMaxMs: number } = { promiseMaxMs: 0 },
): Promise<void> {
  if ((await readIdentityOrNull(dir)) !== null) {
    throw new OperatingError({
      code: 'data-exists',
      message: `there is a node in ${dir} already`,
      hint: 'empty it first with `holdfast reset`',
      facts: { dir },
    });
  }
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await chmod(dir, 0o700);
    await refuseStrangers(dir);
    // What is there without an identity is the remains of an attempt that was cut short.
    await rm(storePath(dir), { recursive: true, force: true });
    await mkdir(storePath(dir), { mode: 0o700 });
  } catch (error) {
    throw openFailure(dir, error);
  }
  const store = await openStore(dir, true);
  try {
    await store.batch(firstValues(identity, bootstrap, owed.promiseMaxMs), { sync: true });
  } finally {
    await store.close();
  }
  await writeDurably(identityPath(dir), encodeIdentity(identity));
}

function firstValues(identity: Identity, bootstrap: Snapshot | null, promiseMaxMs: number) {
  const { index = 0, term = 0 } = bootstrap?.meta ?? {};
  const put = (key: string, value: Uint8Array) => ({ type: 'put' as const, key, value });
  return [
    put(identityKey, encodeIdentity(identity)),
    put(hardKey, encodeHardState({ ...emptyHardState, term, commit: index, promiseMaxMs }, index)),
    ...(bootstrap === null ? [] : [put(snapshotKey, encodeSnapshot(bootstrap))]),
  ];
}

async function refuseStrangers(dir: string): Promise<void> {
  const stranger = (await readdir(dir)).find((name) => name !== 'log' && name !== 'identity.new');
  if (stranger !== undefined) throw dataForeign(dir, `it holds ${stranger}`);
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  const parent = await open(path.slice(0, path.lastIndexOf('/')), 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}

/**
 * Whose directory `dir` is; works while an agent runs.
 *
 * @throws OperatingError data-missing, data-corrupt, data-newer, data-not-writable, data-unusable
 */
export async function readIdentity(dir: string): Promise<Identity> {
  const identity = await readIdentityOrNull(dir);
  if (identity === null) throw dataMissing(dir);
  return identity;
}

async function readIdentityOrNull(dir: string): Promise<Identity | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(identityPath(dir));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw openFailure(dir, error);
  }
  return decodeIdentity(bytes);
}
