/**
 * What a worker's main thread and its carrier thread say to each other. Both are one program, and
 * what passes is typed data between them: nothing here comes from outside.
 */
import type { ConnectFailure } from './health.ts';
import type { Scheduler } from './ports.ts';
import type { Candidate } from './scheduler.ts';
import type { Fd } from './sockets.ts';

/** A backend that may be chosen now. */
export interface LaneBackend extends Candidate {
  readonly address: string;
  readonly port: number;
}

/** Who may get a lane's next connection. */
export interface LanePlan {
  readonly scheduler: Scheduler;
  readonly backends: readonly LaneBackend[];
}

export type ToCarrier =
  /** From now on clients of this lane go to these. Makes the lane where there is none. */
  | { readonly kind: 'plan'; readonly lane: number; readonly plan: LanePlan }
  /** Clients come in by this descriptor, which is the carrier's to close. */
  | { readonly kind: 'open'; readonly lane: number; readonly door: Fd }
  /** No further clients; those that are connected stay. */
  | { readonly kind: 'shut'; readonly lane: number }
  /** Every client of the lane is reset. */
  | { readonly kind: 'reset'; readonly lane: number }
  /** Every client of this lane that this backend serves is reset. */
  | { readonly kind: 'sever'; readonly lane: number; readonly backend: string }
  /** The lane is told no more; it is forgotten with its last client. */
  | { readonly kind: 'leave'; readonly lane: number }
  /** The thread ends, and with it every connection. */
  | { readonly kind: 'end' };

export type FromCarrier =
  /** A connection to a backend failed; the next one is being tried. */
  | {
      readonly kind: 'failed';
      readonly lane: number;
      readonly backend: string;
      readonly failure: ConnectFailure;
    }
  /** Some of a lane's counts have changed. */
  | { readonly kind: 'counts'; readonly lane: number; readonly counts: LaneCounts };

export interface LaneCounters {
  /** Clients that were accepted. */
  readonly accepted: number;
  /** Of those, clients that were reset because no backend could be connected. */
  readonly unserved: number;
  /** Of those, clients that were reset because the process holds as many as it may. */
  readonly overLimit: number;
  /** Attempts to connect to a backend that failed. */
  readonly connectFailures: number;
}

export interface LaneCounts {
  /** Clients that are connected now, served or waiting for a backend. */
  readonly clients: number;
  readonly counters: LaneCounters;
  /** By name: connections now, and ever. */
  readonly backends: ReadonlyMap<string, { readonly open: number; readonly total: number }>;
}
