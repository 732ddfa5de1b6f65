/**
 * Runs test files inside the test VM, all in one boot, and ends with their status.
 *
 *   node test/vm/main.ts [FILE…]      the files of test/vm unless told otherwise
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bundleTests } from './bundle.ts';
import { root, runInMachine } from './machine.ts';

/** Of the whole run, on a machine that has much else to do. */
const timeoutMs = 1_500_000;

const own = readdirSync(join(root, 'test/vm'))
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `test/vm/${name}`);
const named = process.argv.slice(2);
const files = named.length > 0 ? named : own;

const bundles = await bundleTests(files, join(root, '.cache/vm/bundles'));
/** Of all tests those whose names match, as `node --test-name-pattern` has it. */
const only = process.env.ONLY === undefined ? '' : ` --test-name-pattern='${process.env.ONLY}'`;
const options = `--enable-source-maps --test-reporter=spec --test-force-exit${only}`;
const node = join(root, 'node_modules/node/bin/node');
const script = bundles.map((path) => `${node} ${options} ${path} || status=1`).join('\n');
const { status, trouble } = await runInMachine({
  script: `status=0\n${script}\nexit $status`,
  timeoutMs,
  onLine: (line) => console.log(line),
});
if (status !== 0) console.error(status === null ? `the test VM: ${trouble}` : 'a test failed');
process.exitCode = status === 0 ? 0 : 1;
