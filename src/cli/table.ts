/**
 * Aligned columns for people: a header in capitals, two spaces between columns, no ruling lines.
 */

/** Rows under `header`; an empty cell shows as `-`. Ends with a newline. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [header.map((name) => name.toUpperCase()), ...rows.map((row) => row.map(orDash))];
  const widths = header.map((_, column) =>
    Math.max(...cells.map((row) => [...(row[column] ?? '')].length)),
  );
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** `3 members`, `1 member`. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** A length of time as a person says it, in its two largest units: `3h 12m`, `45s`, `120ms`. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.floor(ms / 1000);
  const parts = [
    { amount: Math.floor(seconds / 86_400), unit: 'd' },
    { amount: Math.floor(seconds / 3_600) % 24, unit: 'h' },
    { amount: Math.floor(seconds / 60) % 60, unit: 'm' },
    { amount: seconds % 60, unit: 's' },
  ];
  const first = parts.findIndex(({ amount }) => amount > 0);
  return parts
    .slice(first, first + 2)
    .filter(({ amount }) => amount > 0)
    .map(({ amount, unit }) => `${amount}${unit}`)
    .join(' ');
}

/** `2026-01-01 00:00:00Z`, from RFC 3339; as it is where it is not. */
export function shortTime(rfc3339: string): string {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$/.exec(rfc3339);
  return match === null ? rfc3339 : `${match[1]} ${match[2]}Z`;
}

function orDash(cell: string): string {
  return cell === '' ? '-' : cell;
}
