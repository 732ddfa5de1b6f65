/**
 * How one set of members becomes the next: pure functions from a configuration and changes to a new
 * configuration, or a `ConfChangeError` that leaves everything as it was. A simple change moves at
 * most one voter, so that every old majority meets every new one; anything larger goes through a
 * joint configuration, in which both majorities are asked (Raft dissertation, section 4.3).
 *
 * Invariants of every configuration that goes in or comes out: a learner votes nowhere; a learner
 * to be still votes in the outgoing half; without an outgoing half nobody is a learner to be and
 * there is nothing to leave by itself.
 */
import { unreachable } from '../base/assert.ts';
import { ConfChangeError } from './errors.ts';
import type { ConfChange, MemberChange, MemberConfig, NodeId } from './types.ts';

interface Draft {
  readonly voters: Set<NodeId>;
  readonly outgoing: Set<NodeId>;
  readonly learners: Set<NodeId>;
  readonly learnersNext: Set<NodeId>;
}

/** Applies `changes` at once; refuses to move more than one voter or to touch a joint `config`. */
export function simple(config: MemberConfig, changes: readonly MemberChange[]): MemberConfig {
  checkInvariants(config);
  if (isJoint(config)) {
    throw new ConfChangeError('already-joint', 'a simple change cannot be made in a joint config');
  }
  const draft = draftOf(config);
  applyChanges(draft, changes);
  if (distance(config.voters, draft.voters) > 1) {
    throw new ConfChangeError('too-many-voters', 'a simple change moves at most one voter');
  }
  return finish(draft, false);
}

/** Makes today's voters the outgoing half and applies `changes` to the incoming one. */
export function enterJoint(
  config: MemberConfig,
  autoLeave: boolean,
  changes: readonly MemberChange[],
): MemberConfig {
  checkInvariants(config);
  if (isJoint(config)) {
    throw new ConfChangeError('already-joint', 'the config is already joint');
  }
  if (config.voters.length === 0) {
    throw new ConfChangeError('no-voters', 'a config without voters cannot become joint');
  }
  const draft = draftOf(config);
  for (const id of config.voters) draft.outgoing.add(id);
  applyChanges(draft, changes);
  return finish(draft, autoLeave);
}

/** Drops the outgoing half; its learners to be become learners. */
export function leaveJoint(config: MemberConfig): MemberConfig {
  checkInvariants(config);
  if (!isJoint(config)) {
    throw new ConfChangeError('not-joint', 'a config that is not joint cannot be left');
  }
  const draft = draftOf(config);
  for (const id of draft.learnersNext) draft.learners.add(id);
  draft.learnersNext.clear();
  draft.outgoing.clear();
  return finish(draft, false);
}

/** The configuration after `change`: what a node puts in force when it applies the entry. */
export function changed(config: MemberConfig, change: ConfChange): MemberConfig {
  switch (change.mode) {
    case 'simple':
      return simple(config, change.changes);
    case 'joint':
      return enterJoint(config, true, change.changes);
    case 'leave':
      return leaveJoint(config);
    default:
      return unreachable(change.mode);
  }
}

/** Takes over a configuration from a snapshot or a disk, checked and in canonical order. */
export function restore(config: MemberConfig): MemberConfig {
  checkInvariants(config);
  return finish(draftOf(config), config.autoLeave);
}

/** Whether two configurations are in force. */
export function isJoint(config: MemberConfig): boolean {
  return config.votersOutgoing.length > 0;
}

/** Throws unless the configuration agrees with itself (see the head of this file). */
export function checkInvariants(config: MemberConfig): void {
  const refuse = (why: string): never => {
    throw new ConfChangeError('inconsistent', why);
  };
  const incoming = new Set(config.voters);
  const outgoing = new Set(config.votersOutgoing);
  const learners = new Set(config.learners);
  for (const id of config.learnersNext) {
    if (!outgoing.has(id)) refuse(`${id} is to become a learner but is no outgoing voter`);
    if (learners.has(id)) refuse(`${id} is to become a learner and is one`);
    if (incoming.has(id)) refuse(`${id} is to become a learner and stays a voter`);
  }
  for (const id of learners) {
    if (incoming.has(id) || outgoing.has(id)) refuse(`${id} is a voter and a learner`);
  }
  if (outgoing.size > 0) return;
  if (config.learnersNext.length > 0) refuse('learners to be without an outgoing config');
  if (config.autoLeave) refuse('nothing to leave by itself');
}

function draftOf(config: MemberConfig): Draft {
  return {
    voters: new Set(config.voters),
    outgoing: new Set(config.votersOutgoing),
    learners: new Set(config.learners),
    learnersNext: new Set(config.learnersNext),
  };
}

function finish(draft: Draft, autoLeave: boolean): MemberConfig {
  const config: MemberConfig = {
    voters: [...draft.voters].sort(),
    votersOutgoing: [...draft.outgoing].sort(),
    learners: [...draft.learners].sort(),
    learnersNext: [...draft.learnersNext].sort(),
    autoLeave,
  };
  checkInvariants(config);
  return config;
}

function applyChanges(draft: Draft, changes: readonly MemberChange[]): void {
  for (const change of changes) {
    if (change.id === '') throw new ConfChangeError('empty-id', 'a change must name a node');
    switch (change.type) {
      case 'add-voter':
        makeVoter(draft, change.id);
        break;
      case 'add-learner':
        makeLearner(draft, change.id);
        break;
      case 'remove':
        remove(draft, change.id);
        break;
      case 'update':
        break;
      default:
        unreachable(change.type);
    }
  }
  if (draft.voters.size === 0) {
    throw new ConfChangeError('no-voters', 'the change would leave no voter');
  }
}

function makeVoter(draft: Draft, id: NodeId): void {
  draft.learners.delete(id);
  draft.learnersNext.delete(id);
  draft.voters.add(id);
}

function makeLearner(draft: Draft, id: NodeId): void {
  if (draft.learners.has(id)) return;
  draft.voters.delete(id);
  // Whoever still votes in the outgoing half cannot be a learner yet.
  if (draft.outgoing.has(id)) draft.learnersNext.add(id);
  else draft.learners.add(id);
}

function remove(draft: Draft, id: NodeId): void {
  draft.voters.delete(id);
  draft.learners.delete(id);
  draft.learnersNext.delete(id);
}

/** How many voters the two sets do not share. */
function distance(before: readonly NodeId[], after: ReadonlySet<NodeId>): number {
  const old = new Set(before);
  let count = 0;
  for (const id of old) if (!after.has(id)) count += 1;
  for (const id of after) if (!old.has(id)) count += 1;
  return count;
}
