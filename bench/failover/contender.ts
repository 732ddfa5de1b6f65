/** Who competes for the VIP in the failover bench; put back in order after each fault. */
import type { Child } from '../../test/lab/children.ts';
import { Cluster } from '../../test/lab/cluster.ts';
import { startKeepalived } from '../../test/lab/keepalived.ts';
import type { Lab } from '../../test/lab/lab.ts';
import { run } from '../../test/lab/shell.ts';

/**
 * What happens to the holder. `unplug` pulls its cable, so that it sees its link go down; `cut`
 * loses its frames in the switch, which it cannot see.
 */
export const faultKinds = ['SIGTERM', 'unplug', 'cut', 'SIGKILL', 'SIGSTOP'] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Contender {
  readonly name: string;
  start(lab: Lab): Promise<Contestants>;
}

export interface Contestants {
  /** The processes that own the VIP on this host: signals go to all of them at once. */
  daemon(host: string): Child;
  /** Ends the fault and resolves when the host takes part again. */
  recover(kind: FaultKind, host: string): Promise<void>;
}

export const holdfast: Contender = {
  name: 'holdfast',
  async start(lab) {
    const cluster = await Cluster.form(lab);
    return {
      daemon: (host) => lab.host(host).agent,
      async recover(kind, host) {
        if (kind === 'unplug' || kind === 'cut') await lab.switch.heal();
        else if (kind === 'SIGSTOP') lab.host(host).resumeAgent();
        else await lab.host(host).startAgent();
        await cluster.settled();
      },
    };
  },
};

export function keepalived(advertSeconds: number): Contender {
  return {
    name: `keepalived, adverts ${advertSeconds} s`,
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
      await run([
        'ip',
        '-n',
        lab.host(host).namespace,
        'addr',
        'del',
        `${lab.vip}/24`,
        'dev',
        'eth0',
      ]);
      for (const [name, child] of startKeepalived([lab.host(host)], {
        ...options,
        firstPriority: 150 - 10 * lab.hosts.findIndex((other) => other.name === host),
      })) {
        daemons.set(name, child);
      }
    },
  };
}
