/** One frontend's way through this process, whatever carries it. */
import type { LaneCounts, LanePlan } from './carrier-protocol.ts';
import type { ConnectFailure } from './health.ts';
import type { Fd } from './sockets.ts';

export interface LaneEvents {
  /** A client's connection to a backend failed; the next one is being tried. */
  readonly failed: (backend: string, failure: ConnectFailure) => void;
  readonly counted: (counts: LaneCounts) => void;
}

export interface Lane {
  /** Who may be given clients from now on; the first call comes before all others. */
  plan(plan: LanePlan): void;
  /** Clients come in by `door` from now on; it is the lane's to close. */
  open(door: Fd): void;
  /** No further clients; those that are connected stay. */
  shut(): void;
  resetClients(): void;
  /** Resets the clients of one backend. */
  sever(backend: string): void;
  /** Nothing more is told to it; its counts come until the last client has gone. */
  leave(): void;
}
