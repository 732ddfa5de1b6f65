/**
 * A process that writes its workload into a store and says on standard output how many operations
 * are durable, each as soon as it is: `writer.ts DIR SEED LARGE FROM TO`. When it cannot go on it
 * ends as the agent does: one line on standard error, exit status 1.
 */
import { writeSync } from 'node:fs';
import { describeError } from '../../../src/base/errors.ts';
import { openLogStorage } from '../../../src/storage/log-storage.ts';
import { isSynced, operationAt, perform } from './workload.ts';

/** Several at once, so that some share a write. */
const inFlight = 3;

const [, , dir = '', ...numbers] = process.argv;
const [seed = 0, largeBytes = 0, from = 0, to = 0] = numbers.map(Number);

try {
  const log = await openLogStorage(dir, { expected: null });
  writeSync(1, 'open\n');
  const pending: Promise<unknown>[] = [];
  for (let step = from; step < to; step++) {
    const operation = operationAt({ seed, largeBytes }, step, log);
    // An operation without a sync is promised to nobody.
    const durable = perform(log, operation).then(
      () => isSynced(operation) && void writeSync(1, `${step + 1}\n`),
    );
    durable.catch(() => undefined);
    pending.push(durable);
    if (pending.length >= inFlight) await pending.shift();
  }
  await Promise.all(pending);
  await log.close();
} catch (error) {
  writeSync(2, `${describeError(error)}\n`);
  process.exitCode = 1;
}
