/**
 * Everything that the HTTP port may tell, as plain data: a snapshot that the agent takes when
 * somebody asks. Totals only grow while the process lives; what this node does not know is null and
 * is left out of the metrics.
 */

export interface HttpFacts {
  /** This program's version. */
  readonly version: string;
  /** This node's name. */
  readonly node: string;
  readonly raft: RaftFacts;
  readonly vips: readonly VipFacts[];
  /** Time until the lease ends by this node's clock; 0 without a lease. */
  readonly leaseRemainingMs: number;
  readonly timing: {
    /** E of the timing in force. */
    readonly promiseMs: number;
    /** 99.9th percentile of how late the quorum's answers are; null where none were measured. */
    readonly delayMs: number | null;
    readonly changes: number;
  };
  readonly fence: FenceFacts;
  /** Gratuitous ARP and unsolicited NA frames sent. */
  readonly announcements: number;
  readonly announcementsFailed: number;
  /** Claims of a VIP held here, and strangers found to answer for one before its claim. */
  readonly conflicts: number;
  /** Addresses put back after somebody removed them. */
  readonly repairs: number;
  readonly frontends: readonly FrontendFacts[];
  readonly proxyWorkerRestarts: number;
  readonly steeringFailures: number;
}

export interface FenceFacts {
  readonly renewals: number;
  /** Times that it was found missing or bypassed while holding. */
  readonly misses: number;
  /** Leases that ended before this process let go: the fence stood in. */
  readonly expiries: number;
  /** Frames that it dropped; null where the kernel does not count them for us. */
  readonly droppedFrames: number | null;
  /** The kinds of guard that stand now. */
  readonly standing: readonly string[];
}

export interface RaftFacts {
  readonly isLeader: boolean;
  /** A leader is known and was heard recently, or it is this node. */
  readonly hasLeader: boolean;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Members by role: `{ voter: 3, learner: 0, witness: 0 }`. */
  readonly members: Readonly<Record<string, number>>;
  readonly proposals: number;
  /** Changes of leadership that this node saw. */
  readonly leaderChanges: number;
}

export interface VipFacts {
  readonly address: string;
  readonly heldHere: boolean;
  /** How often this node claimed or withdrew it. */
  readonly transitions: number;
}

export interface FrontendFacts {
  readonly name: string;
  readonly clients: number;
  readonly accepted: number;
  readonly unserved: number;
  readonly overLimit: number;
  readonly connectFailures: number;
  readonly backends: readonly BackendFacts[];
}

export interface BackendFacts {
  readonly name: string;
  readonly state: string;
  readonly connections: number;
  readonly totalConnections: number;
}
