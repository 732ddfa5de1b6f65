/**
 * Runs test files inside the test VM, all in one boot, and ends with their status. Each is made
 * into one file first: reading and compiling many small ones is what an emulated machine is
 * slowest at.
 *
 *   node test/vm/main.ts [FILE…]      the files of test/vm unless told otherwise
 */
import { readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { root, runInMachine } from './machine.ts';

/** Of the whole run; a quiet machine needs a quarter of it. */
const timeoutMs = 900_000;

const own = readdirSync(join(root, 'test/vm'))
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `test/vm/${name}`);
const named = process.argv.slice(2);
const files = named.length > 0 ? named : own;

const bundles = join(root, '.cache/vm/bundles');
rmSync(bundles, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: files,
  outdir: bundles,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: ['koffi', 'classic-level'],
  sourcemap: 'inline',
  logLevel: 'warning',
});

/** Of all tests those whose names match, as `node --test-name-pattern` has it. */
const only = process.env.ONLY === undefined ? '' : ` --test-name-pattern='${process.env.ONLY}'`;
const options = `--enable-source-maps --test-reporter=spec --test-force-exit${only}`;
const node = join(root, 'node_modules/node/bin/node');
const script = files
  .map((file) => {
    const path = join(bundles, `${basename(file, '.ts')}.mjs`);
    return `${node} ${options} ${path} || status=1`;
  })
  .join('\n');
const { status, trouble } = await runInMachine({
  script: `status=0\n${script}\nexit $status`,
  timeoutMs,
  onLine: (line) => console.log(line),
});
if (status !== 0) console.error(status === null ? `the test VM: ${trouble}` : 'a test failed');
process.exitCode = status === 0 ? 0 : 1;
