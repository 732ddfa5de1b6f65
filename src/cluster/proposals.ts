/**
 * Commands on their way from a caller to the state machine: waiting while Raft cannot take them,
 * then in the log under an index, at last applied there. A caller hears what became of its own
 * command; where that cannot be known it is told so.
 */
import { unreachable } from '../base/assert.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { ProposeResult } from '../raft/rawnode.ts';
import type { ConfChange, Index, NodeId, Term } from '../raft/types.ts';
import { type Command, type CommandResult, confChangeOf } from './command.ts';
import { nodeStopped, noQuorum } from './refusals.ts';
import { encodeCommand } from './state-codec.ts';

/** Callers that may wait at once; beyond it a caller is told to come back. */
export const maxWaitingProposals = 64;

/** What an accepted and applied command led to. */
export interface Proposed {
  readonly index: Index;
  /** False where the state already was as the command wanted it. */
  readonly changed: boolean;
}

/** Raft as a proposal sees it. */
export interface ProposalTarget {
  propose(data: Uint8Array): ProposeResult;
  proposeConfChange(change: ConfChange, data: Uint8Array): ProposeResult;
}

interface Proposal {
  readonly data: Uint8Array;
  readonly change: ConfChange | null;
  readonly resolve: (proposed: Proposed) => void;
  readonly reject: (error: OperatingError) => void;
  readonly timer: Timer;
  /** Where it stands in the log, once it does. */
  entry: { readonly index: Index; readonly term: Term } | null;
}

export class Proposals {
  readonly #clock: Clock;
  readonly #notLeader: (leader: NodeId | null) => OperatingError;
  readonly #open = new Set<Proposal>();
  #made = 0;

  constructor(clock: Clock, notLeader: (leader: NodeId | null) => OperatingError) {
    this.#clock = clock;
    this.#notLeader = notLeader;
  }

  /** Proposals since the start, whatever became of them. */
  get made(): number {
    return this.#made;
  }

  /**
   * Resolves when the command was applied here and was not refused.
   *
   * @throws OperatingError (as a rejection) not-leader, proposal-dropped, no-quorum, busy,
   *   node-stopped, or the command's own refusal.
   */
  add(command: Command, timeoutMs: number): Promise<Proposed> {
    if (this.#open.size >= maxWaitingProposals) return Promise.reject(busy());
    this.#made += 1;
    return new Promise((resolve, reject) => {
      const proposal: Proposal = {
        data: encodeCommand(command),
        change: confChangeOf(command),
        resolve,
        reject,
        timer: this.#clock.after(timeoutMs, () => this.#drop(proposal, noQuorum(timeoutMs))),
        entry: null,
      };
      this.#open.add(proposal);
    });
  }

  /** Offers to Raft whatever it did not take so far; membership changes queue here. */
  offer(target: ProposalTarget): void {
    for (const proposal of this.#open) {
      if (proposal.entry !== null) continue;
      const { change, data } = proposal;
      const result =
        change === null ? target.propose(data) : target.proposeConfChange(change, data);
      if (result.ok) proposal.entry = { index: result.index, term: result.term };
      else this.#refused(proposal, result);
    }
  }

  /** The entry at `index` was applied with this result; null for an entry of the core's own. */
  applied(index: Index, term: Term, result: CommandResult | null): void {
    if (this.#open.size === 0) return;
    for (const proposal of this.#open) {
      if (proposal.entry?.index !== index) continue;
      if (proposal.entry.term !== term || result === null) this.#drop(proposal, dropped());
      else if (result.ok) this.#settle(proposal, () => proposal.resolve(result));
      else this.#drop(proposal, new OperatingError(result));
    }
  }

  /** The state up to `index` came as a snapshot: what became of proposals there is not known. */
  skippedTo(index: Index): void {
    for (const proposal of this.#open) {
      if (proposal.entry !== null && proposal.entry.index <= index) {
        this.#drop(proposal, outcomeUnknown());
      }
    }
  }

  /** The node stops: nobody will hear of anything any more. */
  stop(): void {
    for (const proposal of this.#open) this.#drop(proposal, nodeStopped());
  }

  #refused(proposal: Proposal, result: Extract<ProposeResult, { ok: false }>): void {
    switch (result.reason) {
      case 'transferring':
      case 'too-much-uncommitted':
      case 'conf-change-pending':
      case 'not-ready':
        return;
      case 'not-leader':
        this.#drop(proposal, this.#notLeader(result.leader));
        return;
      case 'invalid-change':
        this.#drop(proposal, invalidChange(result.detail ?? 'it is not possible'));
        return;
      default:
        unreachable(result.reason);
    }
  }

  #drop(proposal: Proposal, error: OperatingError): void {
    this.#settle(proposal, () => proposal.reject(error));
  }

  #settle(proposal: Proposal, answer: () => void): void {
    if (!this.#open.delete(proposal)) return;
    proposal.timer.cancel();
    answer();
  }
}

function busy(): OperatingError {
  return new OperatingError({
    code: 'busy',
    message: `${maxWaitingProposals} changes are waiting already`,
    hint: 'try again in a moment',
  });
}

function dropped(): OperatingError {
  return new OperatingError({
    code: 'proposal-dropped',
    message: 'the leadership changed before the change was agreed on; nothing was changed',
    hint: 'try again',
  });
}

function outcomeUnknown(): OperatingError {
  return new OperatingError({
    code: 'outcome-unknown',
    message: 'this node fell behind; the change may or may not have happened',
    hint: 'look with `holdfast get spec` or `holdfast status`, then try again if need be',
  });
}

function invalidChange(detail: string): OperatingError {
  return new OperatingError({
    code: 'invalid-change',
    message: `the membership cannot be changed so: ${detail}`,
    hint: 'see `holdfast member list`',
  });
}
