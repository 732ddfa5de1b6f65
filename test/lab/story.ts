/** What the demo and the benches print: numbers and tables for people. Pure. */
import type { Tenure } from './tenures.ts';

/** `0.42 s`, `38 ms`. */
export function duration(ms: number): string {
  return ms >= 1_000 ? `${(ms / 1_000).toFixed(2)} s` : `${Math.round(ms)} ms`;
}

/**
 * Columns as wide as their widest cell, the first row being the head. Columns of figures are set to
 * the right, the others to the left.
 */
export function table(rows: readonly (readonly string[])[], indent = '  '): string {
  const columns = Array.from({ length: Math.max(...rows.map((row) => row.length)) }, (_, at) => {
    const cells = rows.map((row) => row[at] ?? '');
    return {
      width: Math.max(...cells.map((cell) => cell.length)),
      figures: cells.slice(1).every((cell) => /^\d|^$/.test(cell)),
    };
  });
  const set = (cell: string, at: number): string => {
    const { width = 0, figures = false } = columns[at] ?? {};
    return figures ? cell.padStart(width) : cell.padEnd(width);
  };
  return rows.map((row) => `${indent}${row.map(set).join('   ').trimEnd()}`).join('\n');
}

/** Who held the VIP from when to when, with the times in between in which nobody did. */
export function tenureRows(
  tenures: readonly Tenure[],
  origin: number,
): readonly (readonly string[])[] {
  const second = (at: number): string => `${((at - origin) / 1_000).toFixed(3)} s`;
  return tenures.flatMap((tenure, i) => {
    const former = tenures[i - 1];
    const between =
      former === undefined || former.to >= tenure.from
        ? []
        : [['nobody', second(former.to), second(tenure.from), duration(tenure.from - former.to)]];
    const own = [tenure.host, second(tenure.from), second(tenure.to)];
    return [...between, [...own, `${tenure.claims} answers`]];
  });
}

/** Each name with its count and its share. */
export function shareRows(counts: ReadonlyMap<string, number>): readonly (readonly string[])[] {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return [...counts]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, count]) => [name, `${count}`, `${((100 * count) / total).toFixed(1)} %`]);
}
