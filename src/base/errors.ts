/**
 * Operating errors: what may go wrong with the world while the program is right. Each says what
 * happened, why, and what to do next, and carries its facts for programs.
 */

export interface OperatingErrorInit {
  /** Stable identifier in kebab-case, for programs: `not-leader`, `port-in-use`. */
  readonly code: string;
  /** What happened and why, in one line, without a final full stop. */
  readonly message: string;
  /** What the person can do next, in one line. */
  readonly hint?: string;
  /** The facts of this failure, by name. */
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class OperatingError extends Error {
  override readonly name = 'OperatingError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(init: OperatingErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.hint = init.hint;
    this.facts = init.facts ?? {};
  }

  /** The one line a person reads: what, why; what to do next. */
  get line(): string {
    return this.hint === undefined ? this.message : `${this.message}; ${this.hint}`;
  }
}

/** The `code` of an operating error or of a Node system error, else undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** A one-line description of whatever was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof OperatingError) return error.line;
  if (error instanceof Error) return error.message;
  return String(error);
}
