/**
 * Full load on every data path, and a fault every ten seconds: what each host has in memory,
 * descriptors, tracked connections and rules, before and after.
 */
import { tally } from './gaps.ts';
import type { Host } from './host.ts';
import { inNamespace } from './namespace.ts';
import { descriptors, residentKb, workersOf } from './processes.ts';
import type { Scene } from './scene.ts';
import { must } from './shell.ts';

export interface Footing {
  readonly host: string;
  readonly agentKb: number;
  readonly workersKb: number;
  readonly agentDescriptors: number;
  readonly workerDescriptors: number;
  /** Connections to the VIP that the kernel tracks, by the VIP's port and their state. */
  readonly tracked: Readonly<Record<string, number>>;
  readonly rules: number;
}

/** Ended connections are tracked for two minutes otherwise, and would hide what never goes. */
export async function forgetEndedSoon(hosts: readonly Host[]): Promise<void> {
  const names = ['time_wait', 'close', 'close_wait', 'fin_wait', 'last_ack', 'max_retrans'];
  const settings = names.map((name) => `net.netfilter.nf_conntrack_tcp_timeout_${name}=2`);
  await Promise.all(
    hosts.map(({ namespace }) => must(inNamespace(namespace, ['sysctl', '-qw', ...settings]))),
  );
}

export async function footings(scene: Scene): Promise<readonly Footing[]> {
  return Promise.all(
    scene.cluster.running().map(async (host) => {
      const workers = workersOf(host);
      const agent = [host.agent.pid];
      const [tracked, rules] = await Promise.all([
        host.exec(['grep', `dst=${scene.lab.vip} `, '/proc/net/nf_conntrack']),
        host.exec(['nft', '-j', 'list', 'ruleset']),
      ]);
      return {
        host: host.name,
        agentKb: residentKb(agent),
        workersKb: residentKb(workers),
        agentDescriptors: descriptors(agent),
        workerDescriptors: descriptors(workers),
        tracked: Object.fromEntries(tally(tracked.stdout.split('\n').flatMap(trackedAs))),
        rules: rules.stdout.split('{"rule":').length - 1,
      };
    }),
  );
}

/** Of `ipv4 2 tcp 6 86399 ESTABLISHED src=… dst=… sport=… dport=6443 …`: `6443 ESTABLISHED`. */
function trackedAs(line: string): readonly string[] {
  const [, state, port] = / tcp +6 \d+ ([A-Z_]+) .*? dport=(\d+) /.exec(line) ?? [];
  return state === undefined || port === undefined ? [] : [`${port} ${state}`];
}

/** `HOLDFAST_SOAK_MINUTES`; half a minute where nobody asks for more. */
export function soakMs(): number {
  return Number(process.env.HOLDFAST_SOAK_MINUTES ?? 0.5) * 60_000;
}
