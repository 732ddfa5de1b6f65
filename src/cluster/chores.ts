/**
 * What a leader does unasked, looked at a few times a second: it promotes learners that have caught
 * up, and it hands on a leadership that it cannot use because it may not hold the VIP (rule R7), or
 * that a preferred host has been able to take for a while.
 */
import type { Millis } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { RaftStatus } from '../raft/rawnode.ts';
import type { Eligibility, NodeId, Term } from '../raft/types.ts';
import { isOfDisk, othersCanElect } from './disk-trouble.ts';
import { type HoldDown, Preference } from './preference.ts';
import { bestSuccessor, learnersToPromote } from './promotion.ts';
import type { ClusterState } from './state.ts';

export interface ChorePorts {
  readonly log: Logger;
  readonly holdDown: HoldDown;
  readonly promote: (ids: readonly NodeId[]) => Promise<unknown>;
  readonly handOn: (to: NodeId) => Promise<unknown>;
}

export class Chores {
  readonly #ports: ChorePorts;
  readonly #preference: Preference;
  /** One at a time: each of them changes what the next one would see. */
  #busy = false;

  constructor(ports: ChorePorts) {
    this.#ports = ports;
    this.#preference = new Preference(ports.holdDown);
  }

  /** Who leads at `now`, as far as this node knows; to be told whenever it changes. */
  saw(leader: NodeId | null, term: Term, now: Millis): void {
    this.#preference.saw(leader, term, now);
  }

  /** @param eligibility whether this node may hold the VIP. */
  look(status: RaftStatus, state: ClusterState, eligibility: Eligibility, now: Millis): void {
    if (this.#busy || status.role !== 'leader' || status.transferTarget !== null) return;
    const { eligible } = eligibility;
    const successor = eligible
      ? this.#preference.successor(status, state, now)
      : // Who cannot write cannot vote for its successor either: the others must suffice.
        isOfDisk(eligibility) && !othersCanElect(status)
        ? null
        : bestSuccessor(status, state);
    if (successor !== null) {
      const event = eligible ? 'node.handed-to-preferred' : 'node.handed-on';
      const handOn = this.#ports.handOn(successor).catch((error: unknown) => {
        this.#preference.refused(successor);
        throw error;
      });
      this.#run(event, { to: successor }, handOn);
      return;
    }
    if (isOfDisk(eligibility)) return;
    const ids = learnersToPromote(status, state);
    if (ids.length > 0) this.#run('node.promoted', { ids }, this.#ports.promote(ids));
  }

  #run(event: string, fields: Readonly<Record<string, unknown>>, work: Promise<unknown>): void {
    this.#busy = true;
    const { log } = this.#ports;
    work
      .then(
        () => log.info(event, fields),
        (error: unknown) => log.warn(`${event}-not`, { ...fields, why: describeError(error) }),
      )
      .finally(() => {
        this.#busy = false;
      });
  }
}
