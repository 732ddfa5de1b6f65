/**
 * The three streams of raft.proto with their messages left as bytes: the codec decodes them,
 * because a decoder that throws inside gRPC would end the stream instead of being counted.
 */
import { RaftService } from '../../proto/gen/raft.ts';
import type { MessageClass } from './codec.ts';

export function sameBytes(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const raw = {
  requestStream: true,
  responseStream: false,
  requestSerialize: sameBytes,
  requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
  responseSerialize: sameBytes,
  responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
} as const;

export const raftService = {
  control: { ...raw, path: RaftService.control.path },
  log: { ...raw, path: RaftService.log.path },
  snapshot: { ...raw, path: RaftService.snapshot.path },
} as const satisfies Record<MessageClass, unknown>;

/** The answer to every stream: an empty message. */
export const emptyAnswer = new Uint8Array(0);

/** Metadata by which a node says where it can be reached, for those who do not know it yet. */
export const addressKey = 'holdfast-address';

/** Metadata by which a receiver says of which snapshot it holds a beginning. */
export const unfinishedKey = 'holdfast-unfinished';
