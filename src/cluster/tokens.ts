/**
 * Join tokens, in kubeadm's form `abcdef.0123456789abcdef`: a public id and a secret. Only a hash
 * of the whole is stored, so that whoever reads the log, a snapshot or a backup cannot join with
 * it.
 */
import { defined } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import { isoTime } from './duration.ts';
import type { Crypto } from './ports.ts';
import type { ClusterState, JoinToken } from './state.ts';

const tokenPattern = /^[a-z0-9]{6}\.[a-z0-9]{16}$/;
const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';
const idLength = 6;
const secretLength = 16;

export interface TokenProblem {
  readonly code: 'token-unknown' | 'token-expired' | 'token-used-up' | 'token-revoked';
  readonly message: string;
  readonly hint: string;
}

/** A new token: 83 bits of secret. */
export function generateToken(crypto: Crypto): string {
  const letters = randomLetters(crypto, idLength + secretLength);
  return `${letters.slice(0, idLength)}.${letters.slice(idLength)}`;
}

function randomLetters(crypto: Crypto, count: number): string {
  // A byte above the largest multiple of 36 would favour the first letters.
  const usable = 256 - (256 % alphabet.length);
  let letters = '';
  while (letters.length < count) {
    const hex = crypto.randomHex(count);
    for (let at = 0; at < hex.length && letters.length < count; at += 2) {
      const byte = Number.parseInt(hex.slice(at, at + 2), 16);
      if (byte < usable) letters += alphabet.charAt(byte % alphabet.length);
    }
  }
  return letters;
}

/** The public part of a well-formed token; rejects what is none with `token-malformed`. */
export function tokenId(token: string): string {
  if (!tokenPattern.test(token)) {
    throw new OperatingError({
      code: 'token-malformed',
      message: 'this is not a join token, which looks like abcdef.0123456789abcdef',
      hint: 'make one on a member with `holdfast token create --print-join-command`',
    });
  }
  return token.slice(0, idLength);
}

export interface TokenInit {
  readonly token: string;
  readonly expiresWallMs: number;
  readonly uses: number | null;
  readonly description: string;
}

/** What is stored of a token. */
export function storedToken(crypto: Crypto, init: TokenInit): JoinToken {
  return {
    id: tokenId(init.token),
    secretHash: crypto.sha256Hex(init.token),
    expiresWallMs: init.expiresWallMs,
    usesLeft: init.uses,
    description: init.description,
    revoked: false,
  };
}

/** Why a token, already known by its id, lets nobody in at this wall time; null if it does. */
export function checkToken(token: JoinToken | undefined, nowWallMs: number): TokenProblem | null {
  const hint = 'make a new one on a member with `holdfast token create --print-join-command`';
  if (token === undefined) {
    return { code: 'token-unknown', message: 'the cluster does not know this join token', hint };
  }
  if (token.revoked) {
    return { code: 'token-revoked', message: `the join token ${token.id} was revoked`, hint };
  }
  if (token.expiresWallMs <= nowWallMs) {
    const when = isoTime(token.expiresWallMs);
    return {
      code: 'token-expired',
      message: `the join token ${token.id} expired at ${when}`,
      hint,
    };
  }
  if (token.usesLeft !== null && token.usesLeft <= 0) {
    const message = `the join token ${token.id} was used as often as it may be`;
    return { code: 'token-used-up', message, hint };
  }
  return null;
}

/**
 * The stored token that `presented` is. A wrong secret gets the same answer, in the same time, as
 * an id that does not exist.
 *
 * @throws OperatingError token-malformed, token-unknown, token-revoked, token-expired,
 * token-used-up
 */
export function authenticateToken(
  crypto: Crypto,
  state: ClusterState,
  presented: string,
  nowWallMs: number,
): JoinToken {
  const id = tokenId(presented);
  const known = state.tokens.find((token) => token.id === id);
  const hash = crypto.sha256Hex(presented);
  const expected = known?.secretHash ?? crypto.sha256Hex('');
  const genuine = crypto.timingSafeEqual(hash, expected) && known !== undefined;
  const problem = checkToken(genuine ? known : undefined, nowWallMs);
  if (problem !== null) throw new OperatingError(problem);
  return defined(known, 'the authenticated token');
}
