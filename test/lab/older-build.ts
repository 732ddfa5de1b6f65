/**
 * An older Holdfast, built from today's sources: one that knows the first format of the cluster's
 * messages and nothing newer. Whatever came later (a member's priority, say) it refuses to propose,
 * to apply and to read. The program itself has no switch for this.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Plugin, stop } from 'esbuild';
import { bundle, root } from '../../packaging/bundle.ts';

export const olderVersion = '0.0.9';
export const olderFormat = 1;

interface Change {
  readonly file: RegExp;
  readonly loader: 'ts' | 'json';
  readonly what: RegExp;
  readonly by: string;
}

const changes: readonly Change[] = [
  {
    file: /src\/cluster\/state\.ts$/,
    loader: 'ts',
    what: /export const formatVersion = \d+;/,
    by: `export const formatVersion = ${olderFormat};`,
  },
  {
    file: new RegExp(`^${root.replaceAll('.', '\\.')}package\\.json$`),
    loader: 'json',
    what: /"version": "[^"]+"/,
    by: `"version": "${olderVersion}"`,
  },
];

function changing({ file, loader, what, by }: Change): Plugin {
  return {
    name: `older ${file}`,
    setup(build) {
      let changed = false;
      build.onLoad({ filter: file }, ({ path }) => {
        const contents = readFileSync(path, 'utf8');
        changed = what.test(contents);
        return { contents: contents.replace(what, by), loader };
      });
      build.onEnd(() => {
        if (!changed) throw new Error(`no ${what} in ${file}: the older build would be today's`);
      });
    },
  };
}

/** Builds it below `directory`; returns the launcher. */
export async function buildOlder(directory: string): Promise<string> {
  const home = join(directory, 'older');
  mkdirSync(home, { recursive: true });
  await bundle(join(home, 'dist'), { plugins: changes.map(changing) });
  // Its service would keep a test that has failed from ending.
  await stop();
  cpSync(join(root, 'bin'), join(home, 'bin'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));
  return join(home, 'bin', 'holdfast');
}
