/**
 * Snapshots in parts: cutting one up for sending, and putting the parts of one call together again.
 * The receiver never holds more than the header announced, and the header never more than the
 * limit.
 */
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

/** The parts of one snapshot in order; encoded one by one, as they are sent. */
export function* snapshotChunks(message: InstallSnapshot): Generator<Uint8Array> {
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
  };
  let offset = 0;
  do {
    const part = data.subarray(offset, offset + snapshotChunkBytes);
    yield SnapshotChunk.encode({
      formatVersion: messageFormatVersion,
      offset,
      data: part,
      header: offset === 0 ? header : undefined,
    }).finish();
    offset += part.length;
  } while (offset < data.length);
}

/** Collects the parts of one call. */
export class SnapshotAssembler {
  readonly #route: Route;
  #header: SnapshotHeader | null = null;
  #data: Uint8Array = new Uint8Array(0);
  #received = 0;

  constructor(route: Route) {
    this.#route = route;
  }

  /** The whole message with its last part, null before, or why the part is refused. */
  add(bytes: Uint8Array): InstallSnapshot | Invalid | null {
    const chunk = decodeChunk(bytes);
    if ('invalid' in chunk) return chunk;
    if (this.#header === null) {
      const refusal = checkHeader(chunk.header, this.#route);
      if (refusal !== null) return refusal;
      this.#header = chunk.header ?? null;
      this.#data = new Uint8Array(chunk.header?.totalBytes ?? 0);
    } else if (chunk.header !== undefined) {
      return { invalid: 'second-header' };
    }
    if (chunk.offset !== this.#received) return { invalid: 'bad-offset' };
    if (this.#received + chunk.data.length > this.#data.length) return { invalid: 'too-long' };
    this.#data.set(chunk.data, this.#received);
    this.#received += chunk.data.length;
    return this.#received === this.#data.length ? this.#whole() : null;
  }

  #whole(): InstallSnapshot | Invalid {
    const header = this.#header;
    if (header?.config === undefined) return { invalid: 'no-header' };
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
