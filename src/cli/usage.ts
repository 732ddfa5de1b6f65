/** A command line that makes no sense: exit status 2, and nothing was done. */

export class UsageError extends Error {
  override readonly name = 'UsageError';
}
