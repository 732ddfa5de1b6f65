/**
 * The environment, read here and nowhere else: what systemd and the operator tell a process without
 * arguments. Empty means not set.
 */

export interface Environment {
  /** A join token for unattended installs, so that it stays out of the process list. */
  readonly token: string | null;
  /** Where systemd wants to hear of readiness (`sd_notify(3)`). */
  readonly notifySocket: string | null;
  /** How often systemd wants a sign of life; null where it wants none for this process. */
  readonly watchdogMs: number | null;
  /** Standard error goes to the journal (`systemd.exec(5)`). */
  readonly journal: boolean;
  /** The terminal asked for plain text (no-color.org). */
  readonly plain: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** Reads what this process was given. Tests pass variables of their own. */
export function readEnvironment(
  variables: Variables = process.env,
  pid: number = process.pid,
): Environment {
  return {
    token: given(variables.HOLDFAST_TOKEN),
    notifySocket: given(variables.NOTIFY_SOCKET),
    watchdogMs: watchdog(variables, pid),
    journal: given(variables.JOURNAL_STREAM) !== null,
    plain: given(variables.NO_COLOR) !== null || variables.TERM === 'dumb',
  };
}

/** `sd_watchdog_enabled(3)`: microseconds, meant for the process that WATCHDOG_PID names. */
function watchdog(variables: Variables, pid: number): number | null {
  const micros = Number(given(variables.WATCHDOG_USEC) ?? Number.NaN);
  const meant = given(variables.WATCHDOG_PID);
  if (!Number.isSafeInteger(micros) || micros <= 0) return null;
  if (meant !== null && Number(meant) !== pid) return null;
  return micros / 1000;
}

function given(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value;
}
