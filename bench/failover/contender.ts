/** Who competes for the VIP in the failover bench; put back in order after each fault. */
import { stringify } from 'yaml';
import type { TimingProfile } from '../../src/cluster/spec.ts';
import type { Child } from '../../test/lab/children.ts';
import { until } from '../../test/lab/clock.ts';
import { Cluster } from '../../test/lab/cluster.ts';
import { startKeepalived } from '../../test/lab/keepalived.ts';
import type { Lab } from '../../test/lab/lab.ts';
import { run } from '../../test/lab/shell.ts';

/**
 * What happens to the holder. `unplug` pulls its cable, so that it sees its link go down; `cut`
 * loses its frames in the switch, which it cannot see. `transfer` is the command, where there is
 * one.
 */
export const faultKinds = ['SIGTERM', 'transfer', 'unplug', 'cut', 'SIGKILL', 'SIGSTOP'] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Contender {
  readonly name: string;
  /** What befalls it in this round, from 1. */
  faults(round: number): readonly FaultKind[];
  start(lab: Lab): Promise<Contestants>;
}

export interface Contestants {
  /** The processes that own the VIP on this host: signals go to all of them at once. */
  daemon(host: string): Child;
  transfer(from: string): Promise<void>;
  /** Ends the fault and resolves when the host takes part again. */
  recover(kind: FaultKind, host: string): Promise<void>;
}

/**
 * `auto` begins as `balanced`, and is measured where it settles on a quiet network. A leader that
 * was deposed and lives makes it slower for a long while; so of the faults that do this a round has
 * one, the last.
 */
const deposing: readonly FaultKind[] = ['unplug', 'cut', 'SIGSTOP'];

function faultsOf(timing: TimingProfile, round: number): readonly FaultKind[] {
  if (timing !== 'auto') return faultKinds;
  const last = deposing[round % deposing.length];
  return faultKinds
    .filter((kind) => !deposing.includes(kind) || kind === last)
    .toSorted((a, b) => Number(a === last) - Number(b === last));
}

const autoSettlesAt: TimingProfile = 'lan';
const autoPatienceMs = 90_000;

export function holdfast(timing: TimingProfile): Contender {
  return {
    name: `holdfast, ${timing}`,
    faults: (round) => faultsOf(timing, round),
    async start(lab) {
      const cluster = await Cluster.form(lab);
      await retime(cluster, timing);
      return {
        daemon: (host) => lab.host(host).agent,
        async transfer(from) {
          await lab.host(from).must(['transfer']);
        },
        async recover(kind, host) {
          if (kind === 'unplug' || kind === 'cut') await lab.switch.heal();
          else if (kind === 'SIGSTOP') lab.host(host).resumeAgent();
          else if (kind !== 'transfer') await lab.host(host).startAgent();
          await cluster.settled();
          await hasSettledAt(cluster, timing);
        },
      };
    },
  };
}

async function retime(cluster: Cluster, timing: TimingProfile): Promise<void> {
  const leader = await cluster.leader();
  if (leader === null) throw new Error('nobody leads');
  const document = (await leader.json(['get', 'spec'])) as { spec: Record<string, unknown> };
  const changed = { ...document, spec: { ...document.spec, timing } };
  await leader.must(['apply', '-f', '-'], { input: stringify(changed) });
  await hasSettledAt(cluster, timing);
}

async function hasSettledAt(cluster: Cluster, timing: TimingProfile): Promise<void> {
  const wanted = timing === 'auto' ? `auto (${autoSettlesAt})` : timing;
  await until(
    async () => {
      const leader = await cluster.leader();
      if (leader === null) return false;
      return (await cluster.status(leader)).cluster.timing?.profile === wanted;
    },
    { timeoutMs: autoPatienceMs, everyMs: 250, what: `the timing to be ${wanted}` },
  );
}

export function keepalived(advertSeconds: number): Contender {
  return {
    name: `keepalived, ${advertSeconds} s`,
    faults: () => faultKinds.filter((kind) => kind !== 'transfer'),
    start: (lab) => Promise.resolve(keepalivedOn(lab, advertSeconds)),
  };
}

function keepalivedOn(lab: Lab, advertSeconds: number): Contestants {
  const options = { vip: lab.vip, advertSeconds };
  const daemons = new Map(startKeepalived(lab.hosts, options));
  const daemon = (host: string): Child => {
    const child = daemons.get(host);
    if (child === undefined) throw new Error(`no keepalived on ${host}`);
    return child;
  };
  return {
    daemon,
    transfer: () => Promise.reject(new Error('keepalived has no command to hand over')),
    async recover(kind, host) {
      if (kind === 'unplug' || kind === 'cut') {
        await lab.switch.heal();
        // Of two masters one gives way, and the other does not announce itself again: a client
        // would go on sending to the wrong host until its neighbour entry expires.
        await run(['ip', '-n', lab.client.namespace, 'neigh', 'flush', 'all']);
        return;
      }
      if (kind === 'SIGSTOP') return daemon(host).signalGroup('SIGCONT');
      // Killed, it leaves the address behind; a person must take it away.
      const where = ['ip', '-n', lab.host(host).namespace, 'addr', 'del', `${lab.vip}/24`];
      await run([...where, 'dev', 'eth0']);
      for (const [name, child] of startKeepalived([lab.host(host)], {
        ...options,
        firstPriority: 150 - 10 * lab.hosts.findIndex((other) => other.name === host),
      })) {
        daemons.set(name, child);
      }
    },
  };
}
