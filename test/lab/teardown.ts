/**
 * Leaves nothing behind. A lab's namespaces and files carry the id of the process that made them,
 * so that they can be taken down by name alone: at the end, on an exception, on Ctrl-C, and, when
 * the owner was killed outright, by the next lab.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runSync } from './shell.ts';

const namespacePattern = /^hfl(\d+)x\d+-/;
const directoryPattern = /^holdfast-lab-(\d+)-/;

/** Each costs a few ms per namespace; one or two are enough. */
const maxKillRounds = 50;

export interface Footprint {
  /** All the lab's namespaces begin with this. */
  readonly prefix: string;
  readonly directory: string;
}

export function namespacePrefix(sequence: number): string {
  return `hfl${process.pid}x${sequence}-`;
}

export function directoryName(sequence: number): string {
  return join(tmpdir(), `holdfast-lab-${process.pid}-${sequence}`);
}

function namespaces(): readonly string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns') : [];
}

function remove(names: readonly string[]): void {
  // A process is gone a moment after SIGKILL, and may have started another meanwhile.
  for (let round = 0; round < maxKillRounds; round++) {
    const pids = names.flatMap((name) => runSync(['ip', 'netns', 'pids', name]).split(/\s+/));
    const living = pids.filter((pid) => pid !== '');
    if (living.length === 0) break;
    for (const pid of living) kill(Number(pid), 'SIGKILL');
  }
  if (names.length > 0) {
    runSync(['ip', '-batch', '-'], names.map((name) => `netns del ${name}\n`).join(''));
  }
}

/** Takes a lab down, whatever is left of it. Synchronous, and safe to repeat. */
export function tearDown({ prefix, directory }: Footprint): void {
  remove(namespaces().filter((name) => name.startsWith(prefix)));
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** Takes down what labs of processes that are no more left behind, and returns its names. */
export function sweepDeadLabs(): readonly string[] {
  const dead = namespaces().filter((name) => ownerIsDead(namespacePattern, name));
  remove(dead);
  const directories = readdirSync(tmpdir())
    .filter((name) => ownerIsDead(directoryPattern, name))
    .map((name) => join(tmpdir(), name));
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  return [...dead, ...directories];
}

function ownerIsDead(pattern: RegExp, name: string): boolean {
  const pid = pattern.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** Signals a process or (negative) a group; one that is gone already is no error. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * Runs `clean` once when this process ends in whatever way it can still notice, and returns a
 * function that forgets it again.
 */
export function atExit(clean: () => void): () => void {
  const onSignal = (signal: NodeJS.Signals): void => {
    clean();
    forget();
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const forget = (): void => {
    process.off('exit', clean);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.on('exit', clean);
  for (const signal of signals) process.on(signal, onSignal);
  return forget;
}
