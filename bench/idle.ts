/**
 * What an idle cluster of three costs: CPU and resident memory of each agent with all its workers
 * over 30 s (SECONDS=…), and how long an agent takes from its start to being ready.
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
  readonly rssMb: number;
  readonly processes: number;
}

/** The agent (leader of its process group) and everything that it started. */
function usageOf(group: number): Usage {
  const mine = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => statOf(pid))
    .filter((stat) => stat.group === group);
  return {
    cpuSeconds: mine.reduce((sum, { ticks }) => sum + ticks, 0) / ticksPerSecond,
    rssMb: mine.reduce((sum, { rssMb }) => sum + rssMb, 0),
    processes: mine.length,
  };
}

interface Stat {
  readonly group: number;
  readonly ticks: number;
  readonly rssMb: number;
}

/** proc(5): after the name in parentheses come state, ppid, pgrp, …, utime (12th), stime. */
function statOf(pid: string): readonly Stat[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const rssKb = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const ticks = Number(fields[11]) + Number(fields[12]);
    return [{ group: Number(fields[2]), ticks, rssMb: rssKb / 1_024 }];
  } catch {
    return []; // It ended meanwhile.
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
    `${(after[i]?.rssMb ?? 0).toFixed(0)} MB`,
    `${after[i]?.processes ?? 0}`,
    `${(startTimes[i] ?? 0).toFixed(0)} ms`,
  ];
});
console.log(`An idle cluster of three over ${seconds} s, on Node ${process.versions.node}\n`);
console.log(table([['host', 'role', 'cpu', 'rss', 'processes', 'ready after'], ...rows]));
