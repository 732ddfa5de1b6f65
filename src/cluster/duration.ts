/** Durations and instants as people read and write them: `500ms`, `24h`, RFC 3339. */

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds; null where `text` is no duration. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  if (match === null) return null;
  return Number(match[1]) * (unitsMs[match[2] ?? ''] ?? Number.NaN);
}

/** The shortest text that {@link parseDuration} reads as `ms`. */
export function formatDuration(ms: number): string {
  for (const unit of ['h', 'm', 's']) {
    const size = unitsMs[unit] ?? 1;
    if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** The last instant that a Date can hold, ms since 1970. */
const lastInstantMs = 8.64e15;

/**
 * RFC 3339 in UTC of a wall-clock time in ms since 1970; total, because it may come from the log.
 */
export function isoTime(wallMs: number): string {
  return new Date(Math.min(Math.max(0, wallMs), lastInstantMs)).toISOString();
}
