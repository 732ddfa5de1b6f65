/**
 * Is the simulator strong enough? Each mutant is the product with one rule broken: a copy of the
 * sources in which an exact string, found exactly once, is replaced. The simulator must catch every
 * one within its number of seeds, and by a rule that has to do with it.
 */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '../../src/base/assert.ts';

interface Patch {
  /** Relative to the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly name: string;
  readonly patches: readonly Patch[];
  /** Seeds in a row within which it must be caught, wherever they begin. */
  readonly seeds: number;
}

export interface Verdict {
  readonly mutant: string;
  /** The seed and the rule that caught it; null if nothing did. */
  readonly caught: { readonly seed: number; readonly rule: string } | null;
  readonly output: string;
}

const root = join(import.meta.dirname, '../..');

/** What the simulator runs on. */
const copied = [
  'package.json',
  'src/base',
  'src/raft',
  'src/cluster',
  'src/vip',
  'proto/gen',
  'test/sim',
];

export const mutants: readonly Mutant[] = [
  {
    name: 'no promise after a restart (R2 off)',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'Number.NEGATIVE_INFINITY : now + outlasting(maxMs, drift)',
        replace: 'Number.NEGATIVE_INFINITY : now',
      },
    ],
  },
  {
    name: 'promise tied to a known leader',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/core.ts',
        find: 'return Math.max(this.promise.remaining(this.now),',
        replace: 'return Math.max(this.leader === null ? 0 : this.promise.remaining(this.now),',
      },
    ],
  },
  {
    name: 'lease counted from the receipt of the echo',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'leadership.lease.acknowledged(round);',
        replace: 'leadership.lease.acknowledged(round, core.now);',
      },
      {
        file: 'src/raft/lease.ts',
        find: 'acknowledged(round: number): void {',
        replace: 'acknowledged(round: number, now: number): void {',
      },
      {
        file: 'src/raft/lease.ts',
        find: 'this.#deadline = Math.max(this.#deadline, entry.expiresAt);',
        replace: 'this.#deadline = Math.max(this.#deadline, now + entry.expiresAt - entry.sentAt);',
      },
    ],
  },
  {
    name: 'lease of two promises',
    seeds: 50,
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'Math.floor((promiseMs * (1 - drift))',
        replace: 'Math.floor((2 * promiseMs * (1 - drift))',
      },
    ],
  },
  {
    name: 'transfer without dropping first',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'return this.#released ? 0 : this.#deadline;',
        replace: 'return this.#deadline;',
      },
      {
        file: 'src/cluster/assign.ts',
        find: 'if (lease.released || lease.wantsRelease)',
        replace: 'if (Number.isNaN(term))',
      },
    ],
  },
  {
    name: 'agent only, no kernel fence',
    seeds: 50,
    patches: [
      {
        file: 'test/sim/kernel-ports.ts',
        find: 'state.openUntilMono = until;',
        replace: 'state.openUntilMono = Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'fence with a relative timeout',
    seeds: 150,
    patches: [
      {
        file: 'test/sim/kernel-ports.ts',
        find: '(state) => {\n      state.openUntilMono = until;',
        replace:
          '(state, at) => {\n      state.openUntilMono = until - mono + this.#kernel.mono(at);',
      },
    ],
  },
  {
    name: 'vote sent before it is durable',
    seeds: 20,
    patches: [
      {
        file: 'src/raft/core.ts',
        find: '(this.isHardStateDurable() ? this.messages : this.afterAppend).push(message);',
        replace: 'this.messages.push(message);',
      },
    ],
  },
  {
    name: 'entries of older terms committed by counting',
    seeds: 50,
    patches: [
      {
        file: 'src/raft/replication.ts',
        find: 'core.log.maybeCommit({ term: core.term, index: core.tracker.committed() })',
        replace:
          'core.log.maybeCommit({ term: core.log.term(core.tracker.committed()) ?? 0, ' +
          'index: core.tracker.committed() })',
      },
    ],
  },
  {
    name: 'longest promise not stored before the echo',
    seeds: 50,
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: 'core.promiseMaxMs = Math.max(core.promiseMaxMs, m.promiseMs);',
        replace: 'core.promiseMaxMs = core.timing.promiseMs;',
      },
    ],
  },
  {
    name: 'a deaf leader goes on for ever (R9 off)',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'return leadership.lease.provenAt + core.timing.promiseMs;',
        replace: 'return Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'vote granted to a shorter log',
    seeds: 50,
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '|| !core.log.isUpToDate({ term: m.lastTerm, index: m.lastIndex })',
        replace: '',
      },
    ],
  },
  {
    name: 'two membership changes at a time',
    seeds: 150,
    patches: [
      {
        file: 'src/raft/membership.ts',
        find: 'return core.unappliedConfChanges.length > 0 || leadership.pendingConfIndex > core.log.handed;',
        replace: 'return false;',
      },
    ],
  },
  {
    name: 'claims before its own term is committed (R5 off)',
    seeds: 50,
    patches: [
      {
        file: 'src/cluster/assign.ts',
        find: 'if (!lease.ownTermCommitted || !view.ownTermApplied) {',
        replace: 'if (Number.isNaN(term)) {',
      },
    ],
  },
  {
    name: 'heartbeat commits beyond what the follower matches',
    seeds: 50,
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'const commit = Math.min(peer.match, core.log.committed);',
        replace: 'const commit = core.log.committed;',
      },
    ],
  },
];

/** Runs seeds on a mutated copy until one fails. Leaves nothing behind. */
export async function hunt(mutant: Mutant, from = 1): Promise<Verdict> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-mutant-'));
  try {
    for (const path of copied) await cp(join(root, path), join(dir, path), { recursive: true });
    await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
    for (const patch of mutant.patches) await apply(dir, patch);
    const output = await simulateIn(dir, from, mutant.seeds);
    assert(/ seeds failed: /.test(output), `${mutant.name} did not run: ${output.slice(-2_000)}`);
    const caught = /^seed (\d+): ([a-z-]+) at /m.exec(output);
    return {
      mutant: mutant.name,
      caught: caught === null ? null : { seed: Number(caught[1]), rule: caught[2] ?? '' },
      output,
    };
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

function simulateIn(dir: string, from: number, seeds: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const range = ['--from', String(from), '--seeds', String(seeds)];
    const child = spawn(process.execPath, ['test/sim/main.ts', ...range], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', () => resolve(output));
  });
}
