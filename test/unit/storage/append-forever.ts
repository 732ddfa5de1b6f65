/** A process that appends until it is killed, and prints each entry once it is durable. */
import { writeSync } from 'node:fs';
import { openLogStorage } from '../../../src/storage/log-storage.ts';

const [, , dir = ''] = process.argv;
const log = await openLogStorage(dir, { expected: null });

for (let term = log.initialState().hard.term + 1; ; term++) {
  // Now and then the suffix is overwritten in a higher term, as a new leader would have it.
  const last = log.lastIndex();
  const index = term % 7 === 0 && last > 4 ? last - 1 : last + 1;
  const entry = { index, term, type: 'normal', data: new Uint8Array(50) } as const;
  const hard = { term, vote: 'a', commit: 1, promiseMaxMs: 400 };
  await log.append({ hard, entries: [entry] }, true);
  writeSync(1, `${index} ${term}\n`);
}
