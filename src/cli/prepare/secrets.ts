/** Join tokens from where people and scripts keep them; none of these ends up in a log. */
import { OperatingError } from '../../base/errors.ts';
import { tokenId } from '../../cluster/tokens.ts';
import type { Context } from '../context.ts';
import { readInput } from '../input.ts';
import { UsageError } from '../usage.ts';

export interface TokenOptions {
  readonly token?: string;
  readonly tokenFile?: string;
}

/** From `--token`, `--token-file` or HOLDFAST_TOKEN, in this order; null where none is given. */
export async function givenToken(context: Context, options: TokenOptions): Promise<string | null> {
  if (options.token !== undefined && options.tokenFile !== undefined) {
    throw new UsageError('--token and --token-file contradict each other: give one of them');
  }
  if (options.token !== undefined) return wellFormed(options.token);
  if (options.tokenFile === undefined) {
    const { token } = context.environment;
    return token === null ? null : wellFormed(token.trim());
  }
  const text = (await readInput(context.terminal, options.tokenFile)).trim();
  if (text !== '') return wellFormed(text);
  throw new OperatingError({
    code: 'token-malformed',
    message: 'the token file is empty',
    hint: 'put a token like abcdef.0123456789abcdef into it',
  });
}

function wellFormed(token: string): string {
  tokenId(token);
  return token;
}
