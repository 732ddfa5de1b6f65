/**
 * What members say they see of the VIPs: the holder believes to be reachable, and only others can
 * tell. Kept by the leader in memory, for `status`; nothing that decides who holds rests on it.
 */
import type { NodeId, Term } from '../raft/types.ts';

/** One member's attempt to reach a VIP, as any of its clients would. */
export interface Observation {
  readonly address: string;
  readonly reached: boolean;
  /** What went wrong, in words; empty where nothing did. */
  readonly reason: string;
}

export interface ObservationReport {
  readonly nodeId: NodeId;
  /** The term whose leader was looked for. */
  readonly term: Term;
  /** How long ago the attempt began. */
  readonly ageMs: number;
  readonly observations: readonly Observation[];
}

export interface Observed extends Observation {
  readonly nodeId: NodeId;
  /** When the attempt began, in wall-clock ms. */
  readonly atWallMs: number;
}

/** Older ones say nothing about the present: members look every ten seconds. */
const freshMs = 30_000;
/** More than there may be members; a report takes its member's former one's place. */
const maxReporters = 64;
const maxReasonChars = 200;

export class Observations {
  readonly #reports = new Map<NodeId, readonly Observed[]>();
  #term: Term = 0;

  /** Keeps a report on the leader of `term`; one on another leader is left out. */
  note(report: ObservationReport, term: Term, wallNowMs: number): void {
    if (term !== this.#term) this.#reports.clear();
    this.#term = term;
    const { nodeId, observations, ageMs } = report;
    if (report.term !== term) return;
    if (!this.#reports.has(nodeId) && this.#reports.size >= maxReporters) return;
    const atWallMs = wallNowMs - ageMs;
    this.#reports.set(
      nodeId,
      observations.map(({ address, reached, reason }) => {
        return { nodeId, address, reached, reason: reason.slice(0, maxReasonChars), atWallMs };
      }),
    );
  }

  /** What is known about the leader of `term`. */
  list(term: Term, wallNowMs: number): readonly Observed[] {
    if (term !== this.#term) return [];
    const all = [...this.#reports.values()].flat();
    return all.filter(({ atWallMs }) => wallNowMs - atWallMs < freshMs);
  }
}
