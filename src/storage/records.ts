/**
 * Stored values ⇄ bytes. Each lies in an envelope with its format version and a checksum that
 * covers the key too, so that a damaged, displaced or newer value is recognised as what it is.
 */
import {
  EntryRecord,
  EntryType,
  Record as Envelope,
  HardStateRecord,
  Identity as IdentityRecord,
  SnapshotRecord,
} from '../../proto/gen/state.ts';
import { describeError } from '../base/errors.ts';
import type { Entry, HardState, Index, MemberConfig, Snapshot } from '../raft/types.ts';
import { crc32c } from './crc32c.ts';
import { dataCorrupt, dataNewer } from './refusals.ts';

/** The newest format of stored values that this program writes and reads. */
export const storageFormat = 1;

/** Whose data directory this is; fixed for its whole life. */
export interface Identity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly name: string;
}

export const identityKey = 'identity';
export const hardKey = 'hard';
export const snapshotKey = 'snapshot';
const entryPrefix = 'entry/';

/** Entries sort by index: 14 hex digits hold every safe integer. */
export function entryKey(index: Index): string {
  return entryPrefix + index.toString(16).padStart(14, '0');
}

export function isEntryKey(key: string): boolean {
  return key.startsWith(entryPrefix);
}

const textEncoder = new TextEncoder();

function checksum(key: string, version: number, body: Uint8Array): number {
  return crc32c(body, crc32c(textEncoder.encode(`${key}\0${version}\0`)));
}

function seal(key: string, body: Uint8Array): Uint8Array {
  const crc = checksum(key, storageFormat, body);
  return Envelope.encode({ formatVersion: storageFormat, crc32c: crc, body }).finish();
}

/** @throws OperatingError `data-corrupt` or `data-newer`. */
function unseal<T>(key: string, bytes: Uint8Array, decode: (body: Uint8Array) => T): T {
  let envelope: Envelope;
  try {
    envelope = Envelope.decode(bytes);
  } catch (error) {
    throw dataCorrupt(`${key} cannot be read (${describeError(error)})`, error);
  }
  if (checksum(key, envelope.formatVersion, envelope.body) !== envelope.crc32c) {
    throw dataCorrupt(`the checksum of ${key} is wrong`);
  }
  if (envelope.formatVersion > storageFormat)
    throw dataNewer(envelope.formatVersion, storageFormat);
  try {
    return decode(envelope.body);
  } catch (error) {
    throw dataCorrupt(`${key} cannot be read (${describeError(error)})`, error);
  }
}

export function encodeEntry(entry: Entry): Uint8Array {
  const type = entry.type === 'normal' ? EntryType.NORMAL : EntryType.CONF_CHANGE;
  return seal(entryKey(entry.index), EntryRecord.encode({ ...entry, type }).finish());
}

export function decodeEntry(key: string, bytes: Uint8Array): Entry {
  const { index, term, type, data } = unseal(key, bytes, (body) => EntryRecord.decode(body));
  // A copy: the decoded one is a view that would keep the whole stored value alive.
  const own = new Uint8Array(data);
  if (entryKey(index) !== key) throw dataCorrupt(`${key} holds the entry ${index}`);
  if (type !== EntryType.NORMAL && type !== EntryType.CONF_CHANGE) {
    throw dataCorrupt(`${key} is of the unknown type ${type}`);
  }
  return { index, term, type: type === EntryType.NORMAL ? 'normal' : 'conf-change', data: own };
}

/** @param lastIndex where the log ends once this is written. */
export function encodeHardState(hard: HardState, lastIndex: Index): Uint8Array {
  const record = { ...hard, vote: hard.vote ?? '', lastIndex };
  return seal(hardKey, HardStateRecord.encode(record).finish());
}

export function decodeHardState(bytes: Uint8Array): { hard: HardState; lastIndex: Index } {
  const record = unseal(hardKey, bytes, (body) => HardStateRecord.decode(body));
  const { term, vote, commit, promiseMaxMs, lastIndex } = record;
  return { hard: { term, vote: vote || null, commit, promiseMaxMs }, lastIndex };
}

export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  const { meta, data } = snapshot;
  const config = mutableConfig(meta.config);
  const record = { index: meta.index, term: meta.term, config, data };
  return seal(snapshotKey, SnapshotRecord.encode(record).finish());
}

export function decodeSnapshot(bytes: Uint8Array): Snapshot {
  const record = unseal(snapshotKey, bytes, (body) => SnapshotRecord.decode(body));
  const { index, term, config, data } = record;
  if (config === undefined) throw dataCorrupt('the snapshot has no configuration');
  return { meta: { index, term, config }, data: new Uint8Array(data) };
}

function mutableConfig(config: MemberConfig) {
  return {
    voters: [...config.voters],
    votersOutgoing: [...config.votersOutgoing],
    learners: [...config.learners],
    learnersNext: [...config.learnersNext],
    autoLeave: config.autoLeave,
  };
}

export function encodeIdentity(identity: Identity): Uint8Array {
  return seal(identityKey, IdentityRecord.encode(identity).finish());
}

export function decodeIdentity(bytes: Uint8Array): Identity {
  return unseal(identityKey, bytes, (body) => IdentityRecord.decode(body));
}
