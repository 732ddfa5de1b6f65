/**
 * What a leader does unasked, looked at a few times a second: it promotes learners that have caught
 * up, and it hands on a leadership that it cannot use because it may not hold the VIP (rule R7).
 */
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { RaftStatus } from '../raft/rawnode.ts';
import type { Eligibility, NodeId } from '../raft/types.ts';
import { isOfDisk, othersCanElect } from './disk-trouble.ts';
import { bestSuccessor, learnersToPromote } from './promotion.ts';
import type { ClusterState } from './state.ts';

export interface ChorePorts {
  readonly log: Logger;
  readonly promote: (ids: readonly NodeId[]) => Promise<unknown>;
  readonly handOn: (to: NodeId) => Promise<unknown>;
}

export class Chores {
  readonly #ports: ChorePorts;
  /** One at a time: each of them changes what the next one would see. */
  #busy = false;

  constructor(ports: ChorePorts) {
    this.#ports = ports;
  }

  /** @param eligibility whether this node may hold the VIP. */
  look(status: RaftStatus, state: ClusterState, eligibility: Eligibility): void {
    if (this.#busy || status.role !== 'leader' || status.transferTarget !== null) return;
    // Who cannot write cannot vote for its successor either: the others must suffice.
    const stays = eligibility.eligible || (isOfDisk(eligibility) && !othersCanElect(status));
    const successor = stays ? null : bestSuccessor(status, state);
    if (successor !== null) {
      this.#run('node.handed-on', { to: successor }, this.#ports.handOn(successor));
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
