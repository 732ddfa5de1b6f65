/**
 * Are the tests strong enough? Each mutant is the product with one rule broken: a copy of the
 * sources in which exact strings, each found exactly once, are replaced. The simulator must catch
 * it within its number of seeds; or, where a fault needs a situation that chance hardly makes or
 * that costs time but no safety, the one test that is named.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../../../src/base/assert.ts';

export interface Patch {
  /** Relative to the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Seeds in a row within which the simulator catches it, wherever they begin. */
export interface BySeeds {
  readonly seeds: number;
}

export interface ByTest {
  readonly file: string;
  readonly title: string;
}

export interface Mutant {
  readonly name: string;
  /** What it stands for: a bug of docs/known-bugs.md by its number, a rule of docs/lease.md. */
  readonly stands: string;
  readonly by: BySeeds | ByTest;
  readonly patches: readonly Patch[];
}

/** How it was caught: by which rule or test, and by the how-manyth seed. */
export interface Caught {
  readonly by: string;
  readonly seeds: number | null;
}

export interface Verdict {
  readonly caught: Caught | null;
  readonly output: string;
}

/** A mutant that never ends has shown nothing: it must be made to fail instead. */
const PATIENCE_MS = 300_000;

const root = join(import.meta.dirname, '../../..');

/** What the simulator and the tests of the pure rooms run on. */
const copied = ['package.json', 'src', 'proto/gen', 'test', 'bench', 'packaging'];

/** Tries `mutant` on a mutated copy. Leaves nothing behind. */
export async function hunt(mutant: Mutant, from = 1): Promise<Verdict> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-mutant-'));
  try {
    for (const path of copied) await cp(join(root, path), join(dir, path), { recursive: true });
    await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
    for (const patch of mutant.patches) await apply(dir, patch);
    const { by } = mutant;
    return 'seeds' in by ? await bySeeds(dir, by, from) : await byTest(dir, by);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function apply(dir: string, { file, find, replace }: Patch): Promise<void> {
  const path = join(dir, file);
  const text = await readFile(path, 'utf8');
  const pieces = text.split(find);
  assert(pieces.length === 2, `${file} has ${pieces.length - 1} times: ${find}`);
  await writeFile(path, pieces.join(replace));
}

async function bySeeds(dir: string, { seeds }: BySeeds, from: number): Promise<Verdict> {
  const range = ['--from', String(from), '--seeds', String(seeds), '--workers', '1'];
  const output = await run(dir, ['test/sim/main.ts', ...range]);
  assert(/ seeds failed: /.test(output), `it did not run: ${output.slice(-2_000)}`);
  const found = /^seed (\d+): ([a-z-]+) at /m.exec(output);
  if (found === null) return { caught: null, output };
  return { caught: { by: found[2] ?? '', seeds: Number(found[1]) - from + 1 }, output };
}

async function byTest(dir: string, { file, title }: ByTest): Promise<Verdict> {
  const only = `^${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
  const options = ['--test-reporter=tap', `--test-name-pattern=${only}`];
  const output = await run(dir, [...options, file]);
  // A copy that does not even load would fail too, and prove nothing.
  const result = output.split('\n').find((line) => line.endsWith(` - ${escaped(title)}`));
  assert(result !== undefined, `no test of that name ran: ${output.slice(-2_000)}`);
  return { caught: result.startsWith('not ok') ? { by: title, seeds: null } : null, output };
}

/** As the tap reporter prints it. */
function escaped(title: string): string {
  return title.replaceAll('#', '\\#');
}

function run(dir: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // Else the test runner that runs this one would take the answers for its own.
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const child = spawn(process.execPath, args, {
      cwd: dir,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE_MS,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const take = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', reject);
    child.on('close', () => resolve(output));
  });
}
