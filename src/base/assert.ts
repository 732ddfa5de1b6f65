/**
 * Assertions for what must be true whatever the outside world does. A broken one is a bug in this
 * program: the process ends, systemd starts it again, and `ExecStopPost` frees the VIP.
 */

/** A broken invariant: never caught, except to log it and die. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
}

/** Throws {@link InvariantViolation} unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}

/** Returns `value`, which must be there. */
export function defined<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new InvariantViolation(`${what} is missing`);
  return value;
}

/** The end of an exhaustive `switch`: the compiler proves that no value gets here. */
export function unreachable(value: never): never {
  throw new InvariantViolation(`unreachable case: ${JSON.stringify(value)}`);
}
