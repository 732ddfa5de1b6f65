/**
 * Snapshots in parts: cutting one up for sending, and putting the parts of one call together again.
 * The receiver never holds more than the header announced, and the header never more than the
 * limit. What a call that broke off had brought is good for the next one, whoever sends it: a
 * snapshot is the same if its position, its size and its checksum are.
 */
import { createHash, type Hash } from 'node:crypto';
import { SnapshotChunk, type SnapshotHeader } from '../../proto/gen/raft.ts';
import type { InstallSnapshot } from '../raft/message.ts';
import type { MemberConfig } from '../raft/types.ts';
import type { Invalid, Route } from './codec.ts';
import {
  maxConfigMembers,
  maxIdChars,
  maxSnapshotBytes,
  messageFormatVersion,
  snapshotChunkBytes,
} from './limits.ts';

/** The beginning of a snapshot, from a call that broke off. */
export interface Unfinished {
  readonly header: SnapshotHeader;
  readonly data: Uint8Array;
  readonly received: number;
  /** Over what was received. */
  readonly hash: Hash;
}

/** How a receiver says what it holds: position, size, checksum, and bytes of it. */
export function offerText({ header, received }: Unfinished): string {
  return `${identityOf(header)}/${received}`;
}

/** How much of this very snapshot the receiver holds already, by its offer. */
export function offeredBytes(
  offer: string,
  message: InstallSnapshot,
  checksum: Uint8Array,
): number {
  const { meta, data } = message.snapshot;
  const header = { snapshotIndex: meta.index, snapshotTerm: meta.term, totalBytes: data.length };
  const prefix = `${identityOf({ ...header, checksum })}/`;
  if (!offer.startsWith(prefix)) return 0;
  const received = Number(offer.slice(prefix.length));
  return Number.isSafeInteger(received) && received > 0 && received <= data.length ? received : 0;
}

type Identity = 'snapshotIndex' | 'snapshotTerm' | 'totalBytes' | 'checksum';

function identityOf(header: Pick<SnapshotHeader, Identity>): string {
  const { snapshotIndex, snapshotTerm, totalBytes, checksum } = header;
  return `${snapshotIndex}/${snapshotTerm}/${totalBytes}/${Buffer.from(checksum).toString('hex')}`;
}

/**
 * The parts of one snapshot from byte `from` on, in order; encoded one by one, as they are sent.
 *
 * @param checksum SHA-256 of its data
 */
export function* snapshotChunks(
  message: InstallSnapshot,
  checksum: Uint8Array,
  from = 0,
): Generator<Uint8Array> {
  const { meta, data } = message.snapshot;
  const header: SnapshotHeader = {
    from: message.from,
    to: message.to,
    term: message.term,
    snapshotIndex: meta.index,
    snapshotTerm: meta.term,
    config: {
      voters: [...meta.config.voters],
      votersOutgoing: [...meta.config.votersOutgoing],
      learners: [...meta.config.learners],
      learnersNext: [...meta.config.learnersNext],
      autoLeave: meta.config.autoLeave,
    },
    totalBytes: data.length,
    checksum,
  };
  let offset = from;
  do {
    const part = data.subarray(offset, offset + snapshotChunkBytes);
    yield SnapshotChunk.encode({
      formatVersion: messageFormatVersion,
      offset,
      data: part,
      header: offset === from ? header : undefined,
    }).finish();
    offset += part.length;
  } while (offset < data.length);
}

/** Collects the parts of one call, perhaps behind what an earlier one had brought. */
export class SnapshotAssembler {
  readonly #route: Route;
  readonly #earlier: Unfinished | null;
  #header: SnapshotHeader | null = null;
  #data: Uint8Array = new Uint8Array(0);
  #received = 0;
  #hash = createHash('sha256');

  constructor(route: Route, earlier: Unfinished | null = null) {
    this.#route = route;
    this.#earlier = earlier;
  }

  /** What is worth keeping if the call ends now; null for nothing. */
  get unfinished(): Unfinished | null {
    const header = this.#header;
    if (header === null) return this.#earlier;
    if (header.checksum.length === 0) return null;
    return { header, data: this.#data, received: this.#received, hash: this.#hash };
  }

  /** The whole message with its last part, null before, or why the part is refused. */
  add(bytes: Uint8Array): InstallSnapshot | Invalid | null {
    const chunk = decodeChunk(bytes);
    if ('invalid' in chunk) return chunk;
    if (this.#header === null) {
      const refusal = checkHeader(chunk.header, this.#route);
      if (refusal !== null) return refusal;
      if (chunk.header !== undefined) this.#begin(chunk.header, chunk.offset);
    } else if (chunk.header !== undefined) {
      return { invalid: 'second-header' };
    }
    if (chunk.offset !== this.#received) return { invalid: 'bad-offset' };
    if (this.#received + chunk.data.length > this.#data.length) return { invalid: 'too-long' };
    this.#data.set(chunk.data, this.#received);
    this.#hash.update(chunk.data);
    this.#received += chunk.data.length;
    return this.#received === this.#data.length ? this.#whole() : null;
  }

  #begin(header: SnapshotHeader, offset: number): void {
    const earlier = this.#earlier;
    this.#header = header;
    if (offset > 0 && earlier !== null && identityOf(earlier.header) === identityOf(header)) {
      this.#data = earlier.data;
      this.#hash = earlier.hash;
      this.#received = earlier.received;
    } else {
      this.#data = new Uint8Array(header.totalBytes);
    }
  }

  #whole(): InstallSnapshot | Invalid {
    const header = this.#header;
    if (header?.config === undefined) return { invalid: 'no-header' };
    const { checksum } = header;
    if (checksum.length > 0 && !this.#hash.copy().digest().equals(checksum)) {
      return { invalid: 'bad-checksum' };
    }
    return {
      type: 'snapshot',
      from: header.from,
      to: header.to,
      term: header.term,
      snapshot: {
        meta: {
          index: header.snapshotIndex,
          term: header.snapshotTerm,
          config: header.config,
        },
        data: this.#data,
      },
    };
  }
}

function decodeChunk(bytes: Uint8Array): SnapshotChunk | Invalid {
  let chunk: SnapshotChunk;
  try {
    chunk = SnapshotChunk.decode(bytes);
  } catch {
    return { invalid: 'malformed' };
  }
  if (chunk.formatVersion > messageFormatVersion) return { invalid: 'newer-version' };
  return chunk.formatVersion < 1 ? { invalid: 'malformed' } : chunk;
}

function checkHeader(header: SnapshotHeader | undefined, route: Route): Invalid | null {
  if (header === undefined || header.config === undefined) return { invalid: 'no-header' };
  if (header.from !== route.from || header.from === route.to) return { invalid: 'wrong-sender' };
  if (header.to !== route.to) return { invalid: 'wrong-receiver' };
  if (header.totalBytes > maxSnapshotBytes) return { invalid: 'too-long' };
  if (header.snapshotTerm > header.term) return { invalid: 'bad-terms' };
  return validConfig(header.config) ? null : { invalid: 'bad-config' };
}

function validConfig(config: MemberConfig): boolean {
  const lists = [config.voters, config.votersOutgoing, config.learners, config.learnersNext];
  return lists.every(
    (ids) =>
      ids.length <= maxConfigMembers &&
      new Set(ids).size === ids.length &&
      ids.every((id) => id.length > 0 && id.length <= maxIdChars),
  );
}
