/** Builds the program into dist/, as `make build` does. */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, root } from './bundle.ts';

const target = join(root, 'dist');
/** A build that fails, or is cut short, leaves the former one in place. */
const fresh = join(root, 'dist.new');
const former = join(root, 'dist.old');

await rm(fresh, { recursive: true, force: true });
await bundle(fresh);
await rm(former, { recursive: true, force: true });
await rename(target, former).catch(() => undefined);
await rename(fresh, target);
await rm(former, { recursive: true, force: true });
await mkdir(join(root, '.cache', 'compiled'), { recursive: true });
console.log('built dist/main.js and dist/worker.js');
