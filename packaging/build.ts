/**
 * Bundles the program into dist/: three entry points (the CLI with the agent, the worker, its carrier)
 * over shared chunks, so that a command loads only what it needs. The same sources give the same
 * bytes. Packages with native parts stay outside and are found in node_modules.
 */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'dist');
/** A build that fails, or is cut short, leaves the former one in place. */
const fresh = join(root, 'dist.new');
const former = join(root, 'dist.old');

/** They load shared objects from beside their own files. */
const native = ['koffi', 'classic-level'];

/** Bundled CommonJS packages call `require` for Node's own modules, which ESM does not have. */
const banner =
  "import { createRequire as holdfastRequire } from 'node:module';" +
  'const require = holdfastRequire(import.meta.url);';

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh);
await build({
  absWorkingDir: root,
  entryPoints: {
    main: 'src/main.ts',
    worker: 'src/lb/worker.ts',
    carrier: 'src/lb/carrier-thread.ts',
  },
  outdir: fresh,
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: native,
  banner: { js: banner },
  legalComments: 'none',
  logLevel: 'warning',
});
await writeFile(join(fresh, 'package.json'), '{ "type": "module" }\n');

await rm(former, { recursive: true, force: true });
await rename(target, former).catch(() => undefined);
await rename(fresh, target);
await rm(former, { recursive: true, force: true });
await mkdir(join(root, '.cache', 'compiled'), { recursive: true });
console.log('built dist/main.js and dist/worker.js');
