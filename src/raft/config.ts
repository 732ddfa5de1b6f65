/** What a core is built with and what `propose` answers: the values its driver deals in. */
import type { TraceEvent } from './trace.ts';
import type { Index, Millis, NodeId, Term, Timing } from './types.ts';

/** Sizes are bytes as `entryBytes` counts them. */
export interface RaftConfig {
  readonly id: NodeId;
  readonly timing: Timing;
  /** ρ: bound on the rate error of any member's monotonic clock, for example 0.01. */
  readonly clockDrift: number;
  /** Entries in one append, and committed entries in one Ready; one entry may exceed it. */
  readonly maxMessageBytes: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Payload of proposals not yet handed out to be applied; beyond it they are refused. */
  readonly maxUncommittedBytes: number;
  /** 0 is normal; higher is preferred and draws an earlier election timeout, lower a later one. */
  readonly priority: number;
  /** Uniform draws from [0, 1): the core's only source of chance. */
  readonly rng: () => number;
  /** Told of everything that the core does, for whoever checks it from outside. */
  readonly trace?: (event: TraceEvent) => void;
}

export type ProposeRefusal =
  | 'not-leader'
  /** Leadership is on its way to another node. */
  | 'transferring'
  | 'too-much-uncommitted'
  | 'conf-change-pending'
  /** Nothing of this term is committed yet, so the current configuration is not certain. */
  | 'not-ready'
  | 'invalid-change';

export type ProposeResult =
  | { readonly ok: true; readonly index: Index; readonly term: Term }
  | {
      readonly ok: false;
      readonly reason: ProposeRefusal;
      /** Who leads, as far as this node knows. */
      readonly leader: NodeId | null;
      readonly detail?: string;
    };

export type TransferResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: string };

export type ReadIndexResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: 'not-leader' | 'not-ready' };

/** A transfer's target must have echoed within this many heartbeat intervals (rule R8). */
export const transferRecencyHeartbeats = 2;

/** The bound within which the lease's arithmetic, and everything that waits for it, makes sense. */
export const clockDriftLimit = 0.2;

/**
 * Ms that a wait on this clock needs in order to outlast `ms` on any other member's (rules R2, R4).
 */
export function outlasting(ms: Millis, drift: number): Millis {
  return ms * (1 + 2 * drift);
}
