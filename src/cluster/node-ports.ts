/** What a {@link ClusterNode} is made of, and the limits that it sets. */
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { RaftConfig } from '../raft/config.ts';
import type { Index, NodeId } from '../raft/types.ts';
import type { CompactionLimits } from './compaction.ts';
import type { LeaseSink, LogStorage, Transport } from './ports.ts';
import type { HoldDown } from './preference.ts';
import type { ClusterState } from './state.ts';
import type { TimingLimits } from './timing-choice.ts';

/** What one append carries, and what may be under way to one peer and uncommitted in all. */
export const raftLimits = {
  maxMessageBytes: 256 * 1024,
  maxInflightMessages: 64,
  maxInflightBytes: 4 * 1024 * 1024,
  maxUncommittedBytes: 16 * 1024 * 1024,
} as const;

/**
 * Appends that the disk may have been given before proposals wait: what comes meanwhile then shares
 * one message to each member and one sync. A second one keeps the processor busy while the disk is.
 */
export const maxAppendsUnderWay = 2;

/** How long a caller waits for the quorum. */
export const proposalTimeoutMs: Millis = 5_000;
/** How long a stopping node goes on voting for its successor (rule R8). */
export const stopTimeoutMs: Millis = 1_000;
/** How long it then goes on following, so that the successor has what it needs to claim. */
export const seeInTimeoutMs: Millis = 200;
/** How often the leader looks at its learners, and every node at what time alone changes. */
export const slowTickMs: Millis = 250;

export interface NodePorts {
  readonly clock: Clock;
  readonly storage: LogStorage;
  readonly transport: Transport;
  readonly sink: LeaseSink;
  readonly log: Logger;
  readonly rng: Prng;
  /** Calls back after the input that waits in the sockets has been read. */
  readonly yieldToIo: (callback: () => void) => void;
  /** Told after each entry or snapshot that was applied; for whoever checks a node from outside. */
  readonly onApplied?: (index: Index, state: ClusterState) => void;
  /** Told of everything that the core does. */
  readonly trace?: RaftConfig['trace'];
  /** The node cannot go on (a broken invariant, a failed write, an entry it does not know). */
  readonly onFatal: (error: unknown) => void;
}

export interface NodeOptions {
  readonly selfId: NodeId;
  readonly timing?: TimingLimits;
  readonly compaction?: CompactionLimits;
  /** How long a preferred host must be able to lead before it gets the leadership back. */
  readonly holdDown?: HoldDown;
}
