/**
 * The one expected failure of the core's pure parts: a configuration change that may not be made.
 * Everything else that goes wrong in here is a broken invariant and ends the process.
 */

export type ConfChangeErrorCode =
  /** A simple or a new joint change while two configurations are in force. */
  | 'already-joint'
  /** Leaving a joint configuration that is not there. */
  | 'not-joint'
  /** Nobody would be left to vote, or nobody votes yet. */
  | 'no-voters'
  /** A simple change moves at most one voter. */
  | 'too-many-voters'
  /** A change that names nobody. */
  | 'empty-id'
  /** The configuration contradicts itself. */
  | 'inconsistent';

/** A refused configuration change; the configuration it was asked of is untouched. */
export class ConfChangeError extends Error {
  override readonly name = 'ConfChangeError';
  readonly code: ConfChangeErrorCode;

  constructor(code: ConfChangeErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
