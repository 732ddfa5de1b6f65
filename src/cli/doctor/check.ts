/** What a check says: one line of what it found, and one of what to do where it is not well. */

export interface Check {
  /** Stable; scripts pick by it. */
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do; null where nothing is to be done. */
  readonly hint: string | null;
}

export function ok(name: string, message: string): Check {
  return { name, status: 'ok', message, hint: null };
}

export function warn(name: string, message: string, hint: string): Check {
  return { name, status: 'warn', message, hint };
}

export function fail(name: string, message: string, hint: string): Check {
  return { name, status: 'fail', message, hint };
}

export interface DoctorDocument {
  readonly apiVersion: 'holdfast/v1';
  readonly verdict: Check['status'];
  readonly checks: readonly Check[];
}

export function documentOf(checks: readonly Check[]): DoctorDocument {
  const has = (status: Check['status']): boolean => checks.some((each) => each.status === status);
  const verdict = has('fail') ? 'fail' : has('warn') ? 'warn' : 'ok';
  return { apiVersion: 'holdfast/v1', verdict, checks };
}

/** One line for each check, its hint behind a dash, and the sum at the end. */
export function doctorText({ checks }: DoctorDocument): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.map(({ name, status, message, hint }) => {
    const line = `${status.toUpperCase().padEnd(4)}  ${name.padEnd(width)}  ${message}`;
    return hint === null ? line : `${line}: ${hint}`;
  });
  const count = (status: Check['status']): number =>
    checks.filter((each) => each.status === status).length;
  const sum = `${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} to repair`;
  return `${lines.join('\n')}\n\n${sum}\n`;
}
