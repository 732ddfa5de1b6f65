/**
 * What an idle cluster of three costs: CPU and memory of each agent with its worker over 30 s
 * (SECONDS=…), and how long an agent takes from its start to taking admin connections.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { ApiServer } from '../test/lab/api-server.ts';
import { lasting, monotonicMs } from '../test/lab/clock.ts';
import { Cluster } from '../test/lab/cluster.ts';
import { createLab } from '../test/lab/lab.ts';
import { table } from '../test/lab/story.ts';

const seconds = Number(process.env.SECONDS ?? 30);
/** USER_HZ of every Linux: the unit of /proc/PID/stat. */
const ticksPerSecond = 100;

interface Usage {
  readonly cpuSeconds: number;
  /** Resident memory of each process, largest first. */
  readonly rssMb: readonly number[];
  /** Resident memory with shared pages divided among those who share them. */
  readonly pssMb: number;
}

/** The agent (leader of its process group) and everything that it started. */
function usageOf(group: number): Usage {
  const mine = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => statOf(pid))
    .filter((stat) => stat.group === group);
  return {
    cpuSeconds: mine.reduce((sum, { ticks }) => sum + ticks, 0) / ticksPerSecond,
    rssMb: mine.map(({ rssMb }) => rssMb).sort((a, b) => b - a),
    pssMb: mine.reduce((sum, { pssMb }) => sum + pssMb, 0),
  };
}

interface Stat {
  readonly group: number;
  readonly ticks: number;
  readonly rssMb: number;
  readonly pssMb: number;
}

/** proc(5): after the name in parentheses come state, ppid, pgrp, …, utime (12th), stime. */
function statOf(pid: string): readonly Stat[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const memory = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const mb = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) / 1_024;
    const ticks = Number(fields[11]) + Number(fields[12]);
    return [{ group: Number(fields[2]), ticks, rssMb: mb('Rss'), pssMb: mb('Pss') }];
  } catch {
    return []; // It ended meanwhile, or is a thread of the kernel.
  }
}

await using lab = await createLab();
await ApiServer.startAll(lab.hosts);
const cluster = await Cluster.form(lab);
const startTimes: number[] = [];
for (const host of lab.hosts) {
  await host.stopAgent();
  const began = monotonicMs();
  await host.startAgent();
  startTimes.push(monotonicMs() - began);
  await cluster.settled();
}
// Just-in-time compilation and the first probes are not idling.
await lasting(5_000);
const before = lab.hosts.map((host) => usageOf(host.agent.pid));
await lasting(seconds * 1_000);
const after = lab.hosts.map((host) => usageOf(host.agent.pid));
const leader = await cluster.leader();

const rows = lab.hosts.map((host, i) => {
  const cpu = ((after[i]?.cpuSeconds ?? 0) - (before[i]?.cpuSeconds ?? 0)) / seconds;
  return [
    host.name,
    host === leader ? 'leader' : 'follower',
    `${(100 * cpu).toFixed(1)} %`,
    `${(after[i]?.rssMb ?? []).map((mb) => mb.toFixed(0)).join(' + ')} MB`,
    `${(after[i]?.pssMb ?? 0).toFixed(0)} MB`,
    `${(startTimes[i] ?? 0).toFixed(0)} ms`,
  ];
});
console.log(`An idle cluster of three over ${seconds} s, on Node ${process.versions.node}\n`);
const head = ['host', 'role', 'cpu', 'rss (agent + worker)', 'pss', 'ready after'];
console.log(table([head, ...rows]));
