/**
 * Who gets the next connection. A picker is an immutable snapshot of the candidates and of the
 * rotation's position; each choice returns the picker for the next one. The position is a name, not
 * an index, so it survives any change of the candidates: whoever comes next in the alphabet is
 * next.
 */
import { assert, unreachable } from '../base/assert.ts';
import type { Scheduler } from './ports.ts';

export interface Candidate {
  /** Unique among the candidates. */
  readonly name: string;
  /** Above 0; counts for `weighted`, `least-connections` and `source-hash`. */
  readonly weight: number;
  /** Candidates that are not preferred are chosen only when no preferred one is left. */
  readonly preferred: boolean;
}

export interface Picker {
  readonly scheduler: Scheduler;
  /** Ordered by name. */
  readonly candidates: readonly Candidate[];
  /** Name of the last choice. */
  readonly last: string;
  /** Smooth weighted round-robin: what each candidate is owed, in units of weight. */
  readonly owed: ReadonlyMap<string, number>;
}

/** What a choice may depend on besides the picker. */
export interface PickRequest {
  /** Address of the client, without its port; read only by `source-hash`. */
  readonly client: () => string;
  /** Open connections of a candidate; read only by `least-connections`. */
  readonly connections: (name: string) => number;
  /** Names that failed for this connection already. */
  readonly tried: ReadonlySet<string>;
}

export interface Choice {
  readonly name: string;
  /** No other candidate is left to try. */
  readonly final: boolean;
  readonly next: Picker;
}

const NOTHING_OWED: ReadonlyMap<string, number> = new Map();

export function createPicker(scheduler: Scheduler, candidates: readonly Candidate[]): Picker {
  return withCandidates({ scheduler, candidates: [], last: '', owed: NOTHING_OWED }, candidates);
}

/** The same rotation over other candidates. */
export function withCandidates(picker: Picker, candidates: readonly Candidate[]): Picker {
  const ordered = candidates.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  assert(
    ordered.every((candidate) => candidate.weight > 0),
    'a candidate of weight 0 takes no connection',
  );
  const owed = new Map<string, number>();
  for (const { name } of ordered) {
    const debt = picker.owed.get(name);
    if (debt !== undefined) owed.set(name, debt);
  }
  return { ...picker, candidates: ordered, owed };
}

/** The backend for one connection (or for its next attempt), or null when none is left. */
export function pick(picker: Picker, request: PickRequest): Choice | null {
  const untried = picker.candidates.filter(({ name }) => !request.tried.has(name));
  const preferred = untried.filter((candidate) => candidate.preferred);
  const eligible = preferred.length > 0 ? preferred : untried;
  if (eligible.length === 0) return null;
  const final = untried.length === 1;
  if (picker.scheduler === 'weighted') return { ...pickWeighted(picker, eligible), final };
  const { name } = pickByRule(picker, eligible, request);
  return { name, final, next: { ...picker, last: name } };
}

function pickByRule(
  picker: Picker,
  eligible: readonly Candidate[],
  request: PickRequest,
): Candidate {
  switch (picker.scheduler) {
    case 'round-robin':
    case 'weighted':
      return inRotation(eligible, picker.last);
    case 'least-connections': {
      const load = eligible.map(({ name, weight }) => (request.connections(name) + 1) / weight);
      const least = Math.min(...load);
      const idlest = eligible.filter((_, index) => load[index] === least);
      return inRotation(idlest, picker.last);
    }
    case 'source-hash':
      return highestScore(eligible, request.client());
    default:
      return unreachable(picker.scheduler);
  }
}

/** The first candidate after `last` in the alphabet, else the first of all. */
function inRotation(eligible: readonly Candidate[], last: string): Candidate {
  const next = eligible.find(({ name }) => name > last) ?? eligible[0];
  assert(next !== undefined, 'a choice needs a candidate');
  return next;
}

/**
 * Smooth weighted round-robin, as nginx does it: each choice owes every candidate its weight, and
 * whoever is owed most gets it and pays the whole round. Weights 5, 1, 1 give a a b a c a a.
 */
function pickWeighted(picker: Picker, eligible: readonly Candidate[]): Omit<Choice, 'final'> {
  const owed = new Map(picker.owed);
  let total = 0;
  let best: string | null = null;
  let most = Number.NEGATIVE_INFINITY;
  for (const { name, weight } of eligible) {
    const debt = (owed.get(name) ?? 0) + weight;
    owed.set(name, debt);
    total += weight;
    if (debt > most) {
      most = debt;
      best = name;
    }
  }
  assert(best !== null, 'a choice needs a candidate');
  owed.set(best, most - total);
  return { name: best, next: { ...picker, last: best, owed } };
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as -w / ln h): every host
 * computes the same choice, and a change of candidates moves only the clients that it must move.
 */
function highestScore(eligible: readonly Candidate[], client: string): Candidate {
  let best: Candidate | null = null;
  let highest = Number.NEGATIVE_INFINITY;
  for (const candidate of eligible) {
    const score = -candidate.weight / Math.log(unitHash(`${client}|${candidate.name}`));
    if (score > highest) {
      highest = score;
      best = candidate;
    }
  }
  assert(best !== null, 'a choice needs a candidate');
  return best;
}

/** FNV-1a with MurmurHash3's finalizer, mapped into the open interval (0, 1). */
function unitHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return ((hash >>> 0) + 0.5) / 2 ** 32;
}
