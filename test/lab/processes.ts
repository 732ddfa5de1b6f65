/** What the processes of an agent cost its host, as /proc has it. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Host } from './host.ts';

/** Those that carry and probe; not what the agent starts for a moment. */
export function workersOf(host: Host): readonly number[] {
  const { pid } = host.agent;
  return readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => textOf(`/proc/${pid}/task/${task}/children`).split(' '))
    .filter((child) => /worker\.[jt]s/.test(textOf(`/proc/${child}/cmdline`)))
    .map(Number);
}

/** Memory in use, of all of them together; who has gone has none. */
export function residentKb(pids: readonly number[]): number {
  return sum(pids, (pid) => Number(/VmRSS:\s+(\d+)/.exec(textOf(`/proc/${pid}/status`))?.[1] ?? 0));
}

/** Files, sockets and the like that are open, of all of them together. */
export function descriptors(pids: readonly number[]): number {
  return sum(pids, (pid) => readdirSync(`/proc/${pid}/fd`).length);
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}

/** Nothing, where the process has gone meanwhile. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
