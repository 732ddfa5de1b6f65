/** The load and what is read from it: wrk for requests and connections, curl for bulk. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { lasting } from '../../test/lab/clock.ts';
import type { Host } from '../../test/lab/host.ts';
import { inNamespace } from '../../test/lab/namespace.ts';
import { failure } from '../../test/lab/shell.ts';
import { servicePort } from './scene.ts';

const idleProgram = fileURLToPath(new URL('idle-child.ts', import.meta.url));

export interface Rate {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the whole machine, in seconds, for 100,000 requests. */
  readonly cpuPer100k: number;
  /** Connections that failed or timed out: any makes the figure worthless. */
  readonly errors: number;
}

/** wrk with 64 connections from two threads; each request on a new connection if `anew`. */
export async function requests(
  from: Host,
  address: string,
  seconds: number,
  anew: boolean,
): Promise<Rate> {
  const busyBefore = busySeconds();
  const outcome = await from.exec(
    [
      ...['wrk', '-t', '2', '-c', '64', '-d', `${seconds}s`, '--latency'],
      ...(anew ? ['-H', 'Connection: close'] : []),
      `http://${address}:${servicePort}/`,
    ],
    { timeoutMs: seconds * 1_000 + 20_000 },
  );
  if (outcome.code !== 0) throw new Error(failure(outcome));
  const busy = busySeconds() - busyBefore;
  const text = outcome.stdout;
  const count = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
  if (count === 0) throw new Error(`wrk had no answer: ${text}`);
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p50Ms: milliseconds(/^\s+50%\s+(\S+)/m.exec(text)?.[1]),
    p99Ms: milliseconds(/^\s+99%\s+(\S+)/m.exec(text)?.[1]),
    cpuPer100k: (busy * 100_000) / count,
    errors: errorsIn(text),
  };
}

function errorsIn(text: string): number {
  const found = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  return (found ?? []).slice(1).reduce((sum, each) => sum + Number(each), 0);
}

/** wrk prints `812.00us`, `1.24ms` or `1.02s`. */
function milliseconds(text = ''): number {
  const value = Number.parseFloat(text);
  if (text.endsWith('us')) return value / 1_000;
  return text.endsWith('ms') ? value : value * 1_000;
}

/** Bytes a second of `streams` downloads at once, all together. */
export async function bulk(
  from: Host,
  address: string,
  seconds: number,
  streams: number,
): Promise<number> {
  const download = (): Promise<number> => curl(from, address, seconds);
  const bytes = await Promise.all(Array.from({ length: streams }, download));
  return bytes.reduce((sum, each) => sum + each, 0) / seconds;
}

async function curl(from: Host, address: string, seconds: number): Promise<number> {
  const outcome = await from.exec([
    ...['curl', '-s', '-o', '/dev/null', '-w', '%{size_download}', '--max-time', `${seconds}`],
    `http://${address}:${servicePort}/bulk`,
  ]);
  // 28: the time was up, as it must be.
  if (outcome.code !== 28) throw new Error(failure(outcome));
  return Number(outcome.stdout);
}

/** Processor time of the whole machine since its start, in seconds; proc(5), /proc/stat. */
function busySeconds(): number {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / 100;
}

export interface Idle {
  /** What one connection adds to the resident memory of those that carry it. */
  readonly bytesEach: number;
  /** Processor time that they use while nothing happens, as a share of one processor. */
  readonly cpuShare: number;
}

/** Holds `count` connections that say nothing, for `seconds`. */
export async function idle(
  from: Host,
  address: string,
  count: number,
  seconds: number,
  pids: readonly number[],
): Promise<Idle> {
  const before = residentBytes(pids);
  const [command = '', ...args] = inNamespace(from.namespace, [
    ...[process.execPath, idleProgram, address],
    ...[`${servicePort}`, `${count}`],
  ]);
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(60_000) });
    const cpuBefore = processorSeconds(pids);
    await lasting(seconds * 1_000);
    return {
      bytesEach: (residentBytes(pids) - before) / count,
      cpuShare: (processorSeconds(pids) - cpuBefore) / seconds,
    };
  } finally {
    child.stdin.end();
    await once(child, 'exit');
  }
}

/** User and system time of all of `pids` together; proc(5), the 14th and 15th field. */
function processorSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

/** Resident memory of all of `pids` together, shared pages counted once for each, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  const kilobytes = pids.map((pid) => {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0);
  });
  return 1_024 * kilobytes.reduce((sum, each) => sum + each, 0);
}
