/**
 * Keeps what the cluster knows of this node true: version, address, certificate, MACs. Whenever the
 * replicated record differs from the facts, the leader is told, with patience.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterNode } from './node.ts';
import type { Operations, SelfReport } from './operations.ts';
import { memberById } from './state.ts';

const retryMs: Millis = 1_000;
/** After a view that changed. */
const soonMs: Millis = 100;

export interface SelfReporterParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: ClusterNode;
  /** Here or at the leader. */
  readonly report: Operations['report'];
  /** How it is now. */
  readonly facts: () => Omit<SelfReport, 'nodeId'>;
}

export class SelfReporter {
  readonly #parts: SelfReporterParts;
  #busy = false;
  #retry: Timer | null = null;
  #soon: Timer | null = null;
  #stopped = false;
  #stopWatching: () => void = () => undefined;

  constructor(parts: SelfReporterParts) {
    this.#parts = parts;
  }

  start(): void {
    // Not at once: views change most while a leader is elected, and that must not wait.
    this.#stopWatching = this.#parts.node.onView(
      () =>
        (this.#soon ??= this.#parts.clock.after(soonMs, () => {
          this.#soon = null;
          this.look();
        })),
    );
    this.look();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopWatching();
    this.#soon?.cancel();
    this.#retry?.cancel();
  }

  /** Compares, and reports what differs. To be called when a fact changed. */
  look(): void {
    if (this.#busy || this.#stopped || this.#retry !== null) return;
    const { node, facts, report, log } = this.#parts;
    const { state, selfId, leader } = node.view();
    const member = memberById(state, selfId);
    const now = facts();
    if (member === undefined || leader === null || same(member, now)) return;
    this.#busy = true;
    report({ ...now, nodeId: selfId }).then(
      () => {
        this.#busy = false;
        // The record may lag behind the answer, and the facts may have moved on.
        this.#later();
      },
      (error: unknown) => {
        this.#busy = false;
        log.debug('node.report-failed', { why: describeError(error) });
        this.#later();
      },
    );
  }

  #later(): void {
    if (this.#stopped) return;
    this.#retry = this.#parts.clock.after(retryMs, () => {
      this.#retry = null;
      this.look();
    });
  }
}

function same(known: Omit<SelfReport, 'nodeId'>, now: Omit<SelfReport, 'nodeId'>): boolean {
  return (
    known.version === now.version &&
    known.formatVersion === now.formatVersion &&
    known.address === now.address &&
    known.certExpires === now.certExpires &&
    known.macs.join() === now.macs.join()
  );
}
