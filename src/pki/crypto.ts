/** The primitives that tokens and identities need, on `node:crypto`. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Crypto } from '../cluster/ports.ts';

export function systemCrypto(): Crypto {
  return {
    sha256Hex: (text) => createHash('sha256').update(text).digest('hex'),
    randomHex: (bytes) => randomBytes(bytes).toString('hex'),
    timingSafeEqual(left, right) {
      // Digests have one length whatever the texts have, which `timingSafeEqual` demands.
      const digest = (text: string) => createHash('sha256').update(text).digest();
      return timingSafeEqual(digest(left), digest(right));
    },
  };
}
