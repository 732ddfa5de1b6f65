/**
 * The log's meaning on this node: entries in order → state, and with each membership entry the
 * configuration that Raft is to use. Knows where it stands, so that nothing is applied twice.
 */
import { assert } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import type { ConfChange, Entry, MemberConfig, NodeId, Snapshot, Term } from '../raft/types.ts';
import { apply } from './apply.ts';
import { type CommandResult, confChangeOf } from './command.ts';
import type { SavedSnapshot } from './operations.ts';
import { type ClusterState, emptyState } from './state.ts';
import { decodeCommand, decodeState, encodeState } from './state-codec.ts';

/** Whoever puts membership changes in force: Raft, and nobody when a log is read at rest. */
export interface ConfigTarget {
  applyConfChange(change: ConfChange): MemberConfig;
  rejectConfChange(): void;
}

/** The core's own entry by which it leaves a joint configuration. */
const leaveJoint: ConfChange = { mode: 'leave', changes: [] };

export class StateMachine {
  #state: ClusterState = emptyState;
  #config: MemberConfig;
  #index = 0;
  #term: Term = 0;

  constructor(snapshot: Snapshot) {
    this.#config = snapshot.meta.config;
    this.restore(snapshot);
  }

  get state(): ClusterState {
    return this.#state;
  }

  get config(): MemberConfig {
    return this.#config;
  }

  /** The newest entry that the state holds. */
  get appliedIndex(): number {
    return this.#index;
  }

  get appliedTerm(): Term {
    return this.#term;
  }

  /** A joiner's snapshot is at index 0: what it was told when it was admitted. */
  restore(snapshot: Snapshot): void {
    this.#state = snapshot.data.length === 0 ? emptyState : decodeState(snapshot.data);
    this.#config = snapshot.meta.config;
    this.#index = snapshot.meta.index;
    this.#term = snapshot.meta.term;
  }

  /**
   * Applies the next entry; the result is null for an entry of the core's own, which has no
   * command.
   *
   * @throws OperatingError `entry-unknown` or `data-newer`, which must end the node.
   */
  apply(entry: Entry, target: ConfigTarget): CommandResult | null {
    assert(entry.index === this.#index + 1, `entry ${entry.index} follows ${this.#index}`);
    const result =
      entry.data.length === 0 ? this.#own(entry, target) : this.#command(entry, target);
    this.#index = entry.index;
    this.#term = entry.term;
    return result;
  }

  /**
   * The state up to the newest entry applied, fit for a snapshot.
   *
   * @throws OperatingError `nothing-known`: a joiner that the leader has not reached yet
   */
  saved(): SavedSnapshot {
    const { appliedIndex: index, appliedTerm: term, state } = this;
    if (index > 0) return { index, term, state: encodeState(state) };
    throw new OperatingError({
      code: 'nothing-known',
      message: 'this node does not know the state of its cluster yet',
      hint: 'save it on another member',
    });
  }

  #own(entry: Entry, target: ConfigTarget): null {
    if (entry.type === 'conf-change') this.#config = target.applyConfChange(leaveJoint);
    return null;
  }

  #command(entry: Entry, target: ConfigTarget): CommandResult {
    const command = decodeCommand(entry.data);
    const change = confChangeOf(command);
    assert(
      (change !== null) === (entry.type === 'conf-change'),
      `entry ${entry.index} says ${command.type} as ${entry.type}`,
    );
    const { state, result } = apply(this.#state, command, entry.index);
    this.#state = state;
    if (change === null) return result;
    // A refused or repeated change must leave the configuration as it is, on every member alike.
    if (result.ok && result.changed) this.#config = target.applyConfChange(change);
    else target.rejectConfChange();
    return result;
  }
}

/** The state in a log at rest: that of `snapshot` with the committed entries behind it. */
export function replay(snapshot: Snapshot, committed: readonly Entry[]): ClusterState {
  const machine = new StateMachine(snapshot);
  const nobody: ConfigTarget = {
    applyConfChange: () => machine.config,
    rejectConfChange: () => undefined,
  };
  for (const entry of committed) machine.apply(entry, nobody);
  return machine.state;
}

/** The members that have a place in `config`, whatever it is. */
export function configIds(config: MemberConfig): ReadonlySet<NodeId> {
  return new Set([...config.voters, ...config.votersOutgoing, ...config.learners]);
}
