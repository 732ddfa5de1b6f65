/** What grpc-js says of a failed connection, cut down to what a person needs of it. */

const maxChars = 120;

/**
 * `14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.2:7443
 * (2026-…)` gives `connect ECONNREFUSED 10.0.0.2:7443`; other texts stay, within limits.
 */
export function failureText(details: string): string {
  const last = /Last error: (?:Error: )?(.*)$/s.exec(details)?.[1] ?? details;
  return last
    .replace(/ \(\d{4}-\d{2}-\d{2}T[^)]*\)$/, '')
    .trim()
    .slice(0, maxChars);
}
