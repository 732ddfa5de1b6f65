/**
 * The document that `status -o json` prints. Scripts depend on it: fields are added, never renamed;
 * what this node cannot know is null, never false. Times are RFC 3339 in UTC.
 */

export interface StatusDocument {
  readonly apiVersion: 'holdfast/v1';
  readonly view: {
    /** `local`: this node's view. `linearizable`: confirmed by the quorum. `offline`: no agent. */
    readonly kind: 'local' | 'linearizable' | 'offline';
    readonly ageMs: number;
  };
  readonly verdict: 'healthy' | 'degraded' | 'down' | 'unknown';
  /** Sentences for people: what is wrong, and what to do. */
  readonly warnings: readonly string[];
  readonly cluster: {
    readonly id: string;
    readonly name: string;
    /** Member name; null when nobody leads as far as this node knows. */
    readonly leader: string | null;
    readonly term: number | null;
    readonly revision: number | null;
    readonly quorum: boolean | null;
    /** How many more voters may fail before the quorum is lost. */
    readonly failuresLeft: number | null;
    readonly timing: {
      readonly profile: string;
      readonly heartbeatMs: number;
      readonly promiseMs: number;
      /** Why it is this one; null where no agent runs. */
      readonly reason: string | null;
    } | null;
  };
  readonly self: {
    readonly id: string;
    readonly name: string;
    readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'witness' | null;
    readonly version: string;
    readonly eligible: boolean | null;
    readonly reason: string;
    readonly fences: readonly string[];
  };
  readonly members: readonly MemberStatus[];
  readonly vips: readonly VipStatus[];
  readonly frontends: readonly FrontendStatus[];
  /** The newest changes of holder that this node saw, newest first; bounded. */
  readonly transitions: readonly TransitionStatus[];
}

export interface MemberStatus {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly role: 'voter' | 'learner' | 'witness';
  readonly reachable: boolean | null;
  readonly lastContactMs: number | null;
  readonly matchIndex: number | null;
  readonly version: string | null;
  readonly certExpires: string | null;
  /** Higher is preferred as leader; 0 is normal. */
  readonly priority: number;
  /** Votes, and holds no VIP. */
  readonly draining: boolean;
}

export interface VipStatus {
  readonly address: string;
  readonly interface: string | null;
  /** Which source decided the interface: `config`, `spec` or `subnet`. */
  readonly interfaceFrom: string | null;
  readonly holder: string | null;
  readonly heldHere: boolean;
  readonly since: string | null;
  readonly reason: string;
  /** By the name of each other member that may hold it: whether it reaches the VIP. */
  readonly observedBy: Readonly<Record<string, boolean | null>>;
}

export interface FrontendStatus {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly dataPath: string;
  readonly dataPathReason: string;
  readonly backends: readonly {
    readonly name: string;
    readonly address: string;
    readonly port: number;
    readonly weight: number;
    readonly state: 'up' | 'degraded' | 'down' | 'draining' | null;
    readonly since: string | null;
    readonly reason: string;
    readonly connections: number | null;
    readonly totalConnections: number | null;
  }[];
}

export interface TransitionStatus {
  readonly at: string;
  readonly vip: string;
  readonly from: string | null;
  readonly to: string | null;
  readonly reason: string;
}
