/** What a client felt: pure arithmetic over the instants at which its attempts succeeded. */

/** The longest time within [from, to] in which nothing succeeded, and when it began. */
export function longestGap(
  successes: readonly number[],
  { from, to }: { readonly from: number; readonly to: number },
): { readonly lengthMs: number; readonly at: number } {
  const inside = successes.filter((at) => at >= from && at <= to).toSorted((a, b) => a - b);
  let last = from;
  let longest = { lengthMs: 0, at: from };
  for (const at of [...inside, to]) {
    if (at - last > longest.lengthMs) longest = { lengthMs: at - last, at: last };
    last = at;
  }
  return longest;
}

/** How many of each: `['n1', 'n2', 'n1']` gives n1 2, n2 1. */
export function tally(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** How far the extremes lie apart, as a share of the mean: 0 is perfectly even. */
export function unevenness(counts: readonly number[]): number {
  if (counts.length === 0) return 0;
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return mean === 0 ? 0 : (Math.max(...counts) - Math.min(...counts)) / mean;
}

/** The q-quantile (nearest rank) of `values`; NaN for none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}
