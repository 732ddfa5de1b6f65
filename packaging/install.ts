/**
 * Puts a built Holdfast where a host expects it: the program with its Node under
 * /usr/lib/holdfast, a link in /usr/bin, and the unit. `DESTDIR` puts it all below another root, as
 * packagers want it.
 */

import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const destination = process.env.DESTDIR ?? '/';
const library = join(destination, 'usr/lib/holdfast');
const fresh = `${library}.new`;

/** What the bundle leaves outside, because it loads shared objects from beside its own files. */
const native = ['koffi', 'classic-level'];
/** Other systems' binaries, and the sources of LevelDB. */
const dispensable = /\/prebuilds\/(?!linux-)[^/]+$|\/classic-level\/deps$/;

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** `names` and everything that they need and that is installed. */
async function closure(names: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const folder = join(root, 'node_modules', name);
    if (found.has(name) || !existsSync(folder)) continue;
    found.add(name);
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
    open.push(...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
  }
  return [...found].sort();
}

if (!existsSync(join(root, 'dist/main.js'))) {
  console.error('install: there is no dist/main.js; run `make build` first');
  process.exit(1);
}
await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });
await cp(join(root, 'dist'), join(fresh, 'dist'), { recursive: true });
await mkdir(join(fresh, 'bin'));
await cp(join(root, 'bin/holdfast'), join(fresh, 'bin/holdfast'));
await chmod(join(fresh, 'bin/holdfast'), 0o755);
await cp(join(root, 'LICENSE'), join(fresh, 'LICENSE'));
await mkdir(join(fresh, 'node_modules/node/bin'), { recursive: true });
await cp(join(root, 'node_modules/node/bin/node'), join(fresh, 'node_modules/node/bin/node'));
for (const name of await closure(native)) {
  await cp(join(root, 'node_modules', name), join(fresh, 'node_modules', name), {
    recursive: true,
    filter: (path) => !dispensable.test(path),
  });
}
// A host that runs the former version keeps it until the new one is whole.
await rm(library, { recursive: true, force: true });
await rename(fresh, library);

const link = join(destination, 'usr/bin/holdfast');
await mkdir(join(destination, 'usr/bin'), { recursive: true });
await rm(link, { force: true });
await symlink('../lib/holdfast/bin/holdfast', link);
const units = join(destination, 'usr/lib/systemd/system');
await mkdir(units, { recursive: true });
await cp(join(root, 'systemd/holdfast.service'), join(units, 'holdfast.service'));
console.log(`installed ${library}, ${link} and ${join(units, 'holdfast.service')}`);
