/**
 * Bundles the program: three entry points (the CLI with the agent, the worker, its carrier) over
 * shared chunks, so that a command loads only what it needs. The same sources give the same bytes.
 * Packages with native parts stay outside and are found in node_modules.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** They load shared objects from beside their own files. */
const native = ['koffi', 'classic-level'];

/** Bundled CommonJS packages call `require` for Node's own modules, which ESM does not have. */
const banner =
  "import { createRequire as holdfastRequire } from 'node:module';" +
  'const require = holdfastRequire(import.meta.url);';

const program = {
  main: 'src/main.ts',
  worker: 'src/lb/worker.ts',
  carrier: 'src/lb/carrier-thread.ts',
};

export interface BundleOptions {
  readonly plugins?: readonly Plugin[];
  /** Names of files to be made, and their sources; the program's own unless told otherwise. */
  readonly entryPoints?: Readonly<Record<string, string>>;
}

/** @param target a directory that is not there yet. */
export async function bundle(target: string, options: BundleOptions = {}): Promise<void> {
  const { plugins = [], entryPoints = program } = options;
  await mkdir(target, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir: target,
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
    plugins: [...plugins],
  });
  await writeFile(join(target, 'package.json'), '{ "type": "module" }\n');
}
