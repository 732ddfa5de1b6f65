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
  for (const name of names) {
    for (const pid of runSync(['ip', 'netns', 'pids', name]).split(/\s+/)) {
      if (pid !== '') kill(Number(pid), 'SIGKILL');
    }
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

/** Takes down what labs of processes that are no more left behind. */
export function sweepDeadLabs(): void {
  remove(namespaces().filter((name) => ownerIsDead(namespacePattern, name)));
  for (const name of readdirSync(tmpdir())) {
    if (!ownerIsDead(directoryPattern, name)) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
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
