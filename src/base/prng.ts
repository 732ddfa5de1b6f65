/**
 * A small seeded generator (sfc32, of the PractRand suite): the same seed gives the same numbers on
 * every machine, which is all that the simulator and the election jitter need. Not for secrets.
 */

/** Uniform in [0, 1), with 32 random bits. */
export type Prng = () => number;

export function prng(seed: number): Prng {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x243f6a88 ^ Math.floor(seed / 2 ** 32);
  let c = 0xb7e15162;
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}

/** An integer in [low, high], both included. */
export function intBetween(random: Prng, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

/** One of `items`, which must not be empty. */
export function pick<T>(random: Prng, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)] as T;
}
