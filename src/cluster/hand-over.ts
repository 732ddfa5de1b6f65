/**
 * How a leader hands the leadership, and with it the VIP, to another (rule R8): because somebody
 * asks for it, or because this node stops.
 */
import { type Clock, type Millis, sleep } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { RawNode } from '../raft/rawnode.ts';
import type { LeaseView, NodeId, Timing } from '../raft/types.ts';
import { seeInTimeoutMs, stopTimeoutMs } from './node-ports.ts';
import { bestSuccessor } from './promotion.ts';
import { noQuorum, notLeader, transferRefused } from './refusals.ts';
import type { StateMachine } from './state-machine.ts';
import type { ClusterView } from './view.ts';
import type { Watches } from './watches.ts';

export interface HandOverParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly selfId: NodeId;
  readonly raw: RawNode;
  readonly machine: StateMachine;
  readonly watches: Watches<ClusterView>;
  /** Null once the node takes no part any more. */
  readonly lease: () => LeaseView | null;
  readonly timing: () => Timing;
  /** Runs one input through the core, and does what follows from it. */
  readonly run: (input: () => void) => void;
  /** Gives the VIP up, and tells everybody, whether or not there is a successor. */
  readonly letGo: () => void;
}

export class HandOver {
  readonly #parts: HandOverParts;

  constructor(parts: HandOverParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with the new leader.
   *
   * @param to null for the best of those who may.
   * @throws OperatingError (as a rejection) not-leader, transfer-refused, transfer-failed
   */
  async transfer(to: NodeId | null): Promise<NodeId> {
    const { clock, selfId, raw, machine, watches } = this.#parts;
    const lease = this.#parts.lease();
    if (lease?.role !== 'leader') throw notLeader(machine.state, lease?.leader ?? null);
    const { term } = lease;
    const target = to ?? bestSuccessor(raw.status(clock.now()), machine.state);
    if (target === null) throw transferRefused('no other voter may lead at the moment');
    if (target === selfId) return target;
    let refusal: string | null = null;
    this.#parts.run(() => {
      const result = raw.transferLeader(clock.now(), target);
      if (!result.ok) refusal = result.reason;
    });
    if (refusal !== null) throw transferRefused(refusal);
    const timeoutMs = 4 * this.#parts.timing().promiseMs;
    return watches.add(
      timeoutMs,
      () => transferRefused('it took too long'),
      (view) => {
        if (view.leader !== null && view.leader !== selfId) return view.leader;
        const isOver = view.term === term && raw.status(view.atMs).transferTarget === null;
        if (isOver && view.role === 'leader') throw transferRefused('it was given up');
        return undefined;
      },
    );
  }

  /** A leader stops: the best successor, else nobody, but the VIP goes in any case. */
  async leave(): Promise<void> {
    await this.#giveUp();
    await this.#seeSuccessorIn();
  }

  async #giveUp(): Promise<void> {
    const { machine, selfId } = this.#parts;
    if (await this.#transferPatiently()) return;
    if (!this.#leads()) return;
    this.#parts.letGo();
    // Others may need this vote; alone there is nobody to wait for.
    if (machine.config.voters.length <= 1) return;
    await this.#wait(stopTimeoutMs, ({ leader }) => leader !== null && leader !== selfId);
  }

  /** The successor needs its first entry committed before it may claim: this node still counts. */
  async #seeSuccessorIn(): Promise<void> {
    const lease = this.#parts.lease();
    if (lease === null || lease.leader === null) return;
    const { machine } = this.#parts;
    await this.#wait(seeInTimeoutMs, () => machine.appliedTerm >= lease.term);
  }

  /** A successor that was silent for a moment is worth a moment: an election takes much longer. */
  async #transferPatiently(): Promise<boolean> {
    const { clock, log, machine } = this.#parts;
    const { heartbeatMs, promiseMs } = this.#parts.timing();
    const giveUpAt = clock.now() + promiseMs;
    for (;;) {
      try {
        log.info('node.handed-over', { to: await this.transfer(null) });
        return true;
      } catch (error) {
        const worthwhile = machine.config.voters.length > 1 && clock.now() < giveUpAt;
        if (!worthwhile || !this.#leads()) {
          log.warn('node.hand-over-failed', { why: describeError(error) });
          return false;
        }
      }
      await sleep(clock, heartbeatMs);
    }
  }

  #leads(): boolean {
    return this.#parts.lease()?.role === 'leader';
  }

  /** Until the node sees it so, or the time is up. */
  async #wait(timeoutMs: Millis, sees: (view: ClusterView) => boolean): Promise<void> {
    const { watches } = this.#parts;
    const seen = watches.add(
      timeoutMs,
      () => noQuorum(timeoutMs),
      (view) => (sees(view) ? true : undefined),
    );
    await seen.catch(() => undefined);
  }
}
