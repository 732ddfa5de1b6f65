/**
 * What a node needs of the world: a durable log, a way to its peers, and somebody who holds the VIP
 * while it has the lease. The agent plugs in the real ones, the simulator its own.
 */
import type { Message } from '../raft/message.ts';
import type { Entry, HardState, LeaseView, LogReader, NodeId, Snapshot } from '../raft/types.ts';

/** What one Ready asks to be stored; written whole or not at all. */
export interface LogBatch {
  readonly hard?: HardState;
  /** Replaces everything from `entries[0].index` on. */
  readonly entries: readonly Entry[];
  /** Received from the leader: replaces the whole log up to its index. */
  readonly snapshot?: Snapshot;
}

/** The durable log: reads are answered from memory, writes are one atomic batch each. */
export interface LogStorage extends LogReader {
  /**
   * Resolves when the batch is on disk (with fsync where `sync`); reads see it from the call on.
   * Calls are answered in order. A rejection is fatal: an fsync error is never retried.
   */
  append(batch: LogBatch, sync: boolean): Promise<void>;
  /** Replaces the log up to `snapshot.meta.index` by the snapshot (log compaction), durably. */
  compact(snapshot: Snapshot): Promise<void>;
  close(): Promise<void>;
}

/** Best effort and unordered between peers, ordered within one class of messages to one peer. */
export interface Transport {
  /** Never blocks and never throws; what cannot be sent is dropped. */
  send(message: Message): void;
  /** Who may be talked to, and where; replaces the former set. */
  setPeers(peers: readonly PeerAddress[]): void;
}

export interface PeerAddress {
  readonly id: NodeId;
  /** `host:port` of the peer's gRPC listener. */
  readonly address: string;
  /** Lower-case hex SHA-256 of the peer's public key (SubjectPublicKeyInfo). */
  readonly publicKeyHash: string;
}

/**
 * The owner of the lease's side effects. Called synchronously before any message of the same Ready
 * leaves: when it returns, a lost lease has been acted upon in the kernel (rule R9).
 */
export interface LeaseSink {
  update(lease: LeaseView): void;
}
