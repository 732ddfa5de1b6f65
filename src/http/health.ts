/**
 * The words of /livez and /readyz, in the form that Kubernetes components have made known: `ok`, or
 * a line for each check. `livez` false means "restart this process"; `readyz` false means "this
 * node does not serve its purpose now", for which a restart is no cure.
 */

export interface Check {
  /** In kebab-case, without spaces: `event-loop`, `raft-leader`. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, in one line. */
  readonly detail: string;
}

export interface HealthReport {
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

/** A report that is ok when every check is. */
export function reportOf(checks: readonly Check[]): HealthReport {
  return { ok: checks.every((check) => check.ok), checks };
}

/** The body for `endpoint` ("livez"); a failure is always told in full. */
export function healthText(endpoint: string, report: HealthReport, verbose: boolean): string {
  if (report.ok && !verbose) return 'ok';
  const lines = report.checks.map(({ name, ok, detail }) =>
    ok ? `[+]${name} ok: ${detail}` : `[-]${name} failed: ${detail}`,
  );
  return [...lines, `${endpoint} check ${report.ok ? 'passed' : 'failed'}`, ''].join('\n');
}
