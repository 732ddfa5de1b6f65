/**
 * Makes tests and the programs that they start into one file each: reading and compiling many small
 * ones is what an emulated machine is slowest at.
 */
import { readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { root } from './machine.ts';

/** How a file names another one beside it, or elsewhere in the tree. */
const neighbour = /new URL\('([^']+)', import\.meta\.url\)/g;

const bundled = (path: string): string => `${basename(path, '.ts')}.mjs`;

/** Returns the bundles of `files` in `target`, in their order. */
export async function bundleTests(files: readonly string[], target: string): Promise<string[]> {
  rmSync(target, { recursive: true, force: true });
  const made = new Set<string>();
  let wanted = files.map((file) => resolve(root, file));
  while (wanted.length > 0) {
    for (const path of wanted) made.add(path);
    const programs = new Set<string>();
    await bundle(wanted, target, programs);
    wanted = [...programs].filter((path) => !made.has(path));
  }
  return files.map((file) => join(target, bundled(file)));
}

async function bundle(
  paths: readonly string[],
  target: string,
  programs: Set<string>,
): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: paths.map((path) => ({ in: path, out: basename(path, '.ts') })),
    outdir: target,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['koffi', 'classic-level'],
    sourcemap: 'inline',
    logLevel: 'warning',
    plugins: [resolveNeighbours(programs)],
  });
}

/** A program beside the file is started from its bundle; everything else stays where it is. */
function resolveNeighbours(programs: Set<string>): Plugin {
  return {
    name: 'neighbours',
    setup({ onLoad }) {
      onLoad({ filter: /\/test\/.*\.ts$/ }, ({ path }) => {
        const contents = readFileSync(path, 'utf8').replaceAll(neighbour, (_, name: string) => {
          const named = resolve(dirname(path), name);
          if (!named.endsWith('.ts')) return `new URL('${pathToFileURL(named)}')`;
          programs.add(named);
          return `new URL('${bundled(named)}', import.meta.url)`;
        });
        return { contents, loader: 'ts' };
      });
    },
  };
}
