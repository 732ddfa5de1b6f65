/**
 * A scheduler as a table, which is all that a kernel can look things up in: the counter of the
 * connections, or the hash of the client, names a slot, and the slot a backend. Pure.
 */
import { assert, unreachable } from '../base/assert.ts';
import type { ForwardBackend, ForwardPlan } from './ports.ts';

/** More slots than this cost memory and time at each change, and nobody would see them. */
const MAX_SLOTS = 4096;
/**
 * Which client goes where is decided by chance, within the deviation of so many throws: a backend's
 * share of clients is off by less than one point.
 */
const HASH_SLOTS = 4096;

/**
 * Whom each slot belongs to; empty without backends. The order is the same on every host, and of
 * the arguments' order independent.
 *
 * @param turn where the rotation begins: a counter that begins anew with each change must not give
 *   its first connection to the same backend each time
 */
export function slotsOf(
  { scheduler, backends }: Pick<ForwardPlan, 'scheduler' | 'backends'>,
  turn: number,
): readonly ForwardBackend[] {
  const ordered = backends.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (ordered.length === 0) return [];
  switch (scheduler) {
    case 'round-robin':
      return rotated(ordered, turn);
    case 'weighted':
      return rotated(interleaved(ordered), turn);
    case 'source-hash':
      return hashed(ordered);
    case 'least-connections':
      assert(false, 'least-connections is no table');
      return [];
    default:
      return unreachable(scheduler);
  }
}

function rotated<T>(items: readonly T[], turn: number): readonly T[] {
  const start = turn % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

/** Each backend in as many slots as it has weight, as evenly spread as that goes. */
function interleaved(backends: readonly ForwardBackend[]): readonly ForwardBackend[] {
  const divisor = backends.reduce((common, { weight }) => gcd(common, weight), 0);
  const total = backends.reduce((sum, { weight }) => sum + weight / divisor, 0);
  const scale = Math.min(1, MAX_SLOTS / total) / divisor;
  const places = backends.flatMap((backend) => {
    const slots = Math.max(1, Math.round(backend.weight * scale));
    return Array.from({ length: slots }, (_, slot) => ({ at: (slot + 0.5) / slots, backend }));
  });
  return places.sort((a, b) => a.at - b.at).map(({ backend }) => backend);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as -w / ln h): the slots of a
 * backend that goes are shared by the others, and no other slot moves.
 */
function hashed(backends: readonly ForwardBackend[]): readonly ForwardBackend[] {
  const seeds = backends.map(({ address, port }) => hashOf(`${address} ${port}`));
  return Array.from({ length: HASH_SLOTS }, (_, slot) => {
    let best = backends[0] as ForwardBackend;
    let highest = Number.NEGATIVE_INFINITY;
    for (const [index, backend] of backends.entries()) {
      const chance = (mixed((seeds[index] ?? 0) ^ Math.imul(slot + 1, 0x9e3779b1)) + 0.5) / 2 ** 32;
      const score = -backend.weight / Math.log(chance);
      if (score <= highest) continue;
      highest = score;
      best = backend;
    }
    return best;
  });
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return mixed(hash);
}

/** MurmurHash3's finalizer: 32 bits, each of which depends on all. */
function mixed(bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
