/**
 * Between a simulated host and the program that runs on it: what the program finds there, what is
 * asked of it, and what it tells. A host knows nothing else of the program.
 */
import type { Prng } from '../../src/base/prng.ts';
import type { ClusterState, Member } from '../../src/cluster/state.ts';
import type { RaftConfig } from '../../src/raft/config.ts';
import type { Message } from '../../src/raft/message.ts';
import type { Index, LeaseView, MemberConfig, NodeId, Timing } from '../../src/raft/types.ts';
import type { SimLogStorage } from './disk.ts';
import type { SimKernelPorts } from './kernel-ports.ts';
import type { SimProcess } from './process.ts';

/** The program under test in one process: plugged together as the agent does it. */
export interface Brain {
  receive(message: Message): void;
  /** The transport got a snapshot through to `to`, or not. */
  snapshotResult(to: NodeId, ok: boolean): void;
  config(): MemberConfig;
  /** The replicated state as far as it has applied it. */
  state(): ClusterState;
  timing(): Timing;
  /** A voter that would rather lead than this node, if there is one. */
  preferred(): NodeId | null;
  /** How far it has applied the log. */
  readonly applied: Index;
  /** Whether its transport was told where this peer is. */
  knows(id: NodeId): boolean;
  /** Whether this peer was removed, as far as it knows: its certificate is refused. */
  refuses(id: NodeId): boolean;
  /** Asks for one command of the workload; what becomes of it shows in the log. */
  ask(request: Request): void;
  /** Hands the VIP over if it can, then calls `stopped`. */
  stop(stopped: () => void): void;
}

/** What the workload asks of a node; most of them only a leader can grant. */
export type Request =
  /** @param floor how far answers to anybody had seen the log when this was asked. */
  | { readonly type: 'write'; readonly value: string; readonly floor: Index }
  /** @param hops how often it was passed on to whom the member asked took for the leader. */
  | { readonly type: 'read'; readonly floor: Index; readonly hops: number }
  | { readonly type: 'add'; readonly id: NodeId }
  | { readonly type: 'replace'; readonly id: NodeId; readonly replaces: NodeId }
  /** Without a look at who is left. */
  | { readonly type: 'remove'; readonly id: NodeId }
  /** As `member remove` does it: refused where it would cost the quorum. */
  | { readonly type: 'retire'; readonly id: NodeId }
  | { readonly type: 'promote'; readonly id: NodeId }
  | { readonly type: 'drain'; readonly id: NodeId; readonly draining: boolean }
  | { readonly type: 'move'; readonly id: NodeId; readonly address: string }
  | { readonly type: 'retime'; readonly timing: Timing | 'auto' }
  | { readonly type: 'transfer'; readonly to: NodeId | null };

/** What a process finds on its host when it starts. */
export interface Surroundings {
  readonly id: NodeId;
  readonly clock: SimProcess;
  readonly storage: SimLogStorage;
  readonly kernel: SimKernelPorts;
  readonly rng: Prng;
  send(message: Message): void;
  /** Told before the lease's side effects are done. */
  leaseIs(lease: LeaseView): void;
  /** Everything up to `index` is applied; `hash` is over the whole state that came of it. */
  applied(index: Index, hash: number): void;
  /** A host was admitted: this is what the joiner is told. */
  admitted(id: NodeId, members: readonly Member[]): void;
  answered(request: Request, answer: Answer): void;
  /** The program cannot go on. */
  died(error: unknown): void;
  note(text: string): void;
  /** Of everything that the core does; undefined where nobody listens. */
  readonly trace: RaftConfig['trace'];
}

/** What became of a request: the index of a write, the applied index that a read saw. */
export type Answer =
  | { readonly ok: true; readonly index: Index }
  | { readonly ok: false; readonly error: unknown };
