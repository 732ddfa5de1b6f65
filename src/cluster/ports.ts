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
   * Calls are answered in order. A rejection is fatal: an fsync error is never retried. Where the
   * disk has no room the answer waits until it has.
   */
  append(batch: LogBatch, sync: boolean): Promise<void>;
  /** Replaces the log up to `snapshot.meta.index` by the snapshot (log compaction), durably. */
  compact(snapshot: Snapshot): Promise<void>;
  /** Whether writes wait for room on the disk. */
  isFull(): boolean;
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
 * leaves: when it returns, a lost lease has been acted upon in the kernel (rule R9), and so has a
 * lease that is wanted back (`wantsRelease`, rule R8): the node then tells everybody that it was
 * released. It throws when it could not let go, which ends the process. The node's view holds this
 * very lease during the call.
 */
export interface LeaseSink {
  update(lease: LeaseView): void;
}

/** The primitives that tokens and identities need. */
export interface Crypto {
  /** Lower-case hex. */
  sha256Hex(text: string): string;
  /** `bytes` random bytes, fit for secrets, in lower-case hex. */
  randomHex(bytes: number): string;
  /** Whether two texts are equal, in a time that does not tell where they differ. */
  timingSafeEqual(left: string, right: string): boolean;
}

export interface SignRequest {
  /** PEM certificate request, signed with the key that it names. */
  readonly csr: string;
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly name: string;
  /** `host:port` of the node's gRPC listener. */
  readonly address: string;
}

/** The cluster's CA as the leader uses it; an unusable request rejects with `bad-request`. */
export interface CertificateSigner {
  /** PEM. */
  readonly caCertificate: string;
  /** `sha256:` and the hex SHA-256 of the CA's public key, which joiners pin. */
  readonly caHash: string;
  /** PEM; null where this node cannot sign. */
  readonly caKey: string | null;
  /** PEM of a node certificate. */
  sign(request: SignRequest): Promise<string>;
  /** Lower-case hex SHA-256 of the public key that the request names and proves to own. */
  publicKeyHashOf(csr: string): Promise<string>;
}
