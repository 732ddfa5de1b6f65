/**
 * Debian's keepalived as the owner of the VIP on the hosts of a lab: the yardstick that the product
 * is measured against, and the proof that the lab sees what it should.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Child } from './children.ts';
import type { Host } from './host.ts';

export interface KeepalivedOptions {
  readonly vip: string;
  /** Seconds between two advertisements; its default is 1. */
  readonly advertSeconds: number;
  /** Of the first of the hosts; the others have ten less each. */
  readonly firstPriority?: number;
}

/** Every host starts as BACKUP with its own priority; a host that comes back takes nothing. */
export function startKeepalived(
  hosts: readonly Host[],
  { vip, advertSeconds, firstPriority = 150 }: KeepalivedOptions,
): ReadonlyMap<string, Child> {
  return new Map(
    hosts.map((host, i) => {
      const file = join(host.directory, 'keepalived.conf');
      writeFileSync(file, configuration({ vip, advertSeconds, priority: firstPriority - 10 * i }));
      return [host.name, daemon(host, file)];
    }),
  );
}

function daemon(host: Host, file: string): Child {
  const pidFile = (name: string): string => join(host.directory, `keepalived-${name}.pid`);
  return host.spawn(
    [
      'keepalived',
      '--dont-fork',
      '--log-console',
      '--vrrp',
      `--use-file=${file}`,
      `--pid=${pidFile('main')}`,
      `--vrrp_pid=${pidFile('vrrp')}`,
    ],
    { log: 'keepalived' },
  );
}

function configuration(
  options: Omit<KeepalivedOptions, 'firstPriority'> & { readonly priority: number },
): string {
  const { vip, advertSeconds, priority } = options;
  return `global_defs {
  vrrp_version 3
}
vrrp_instance lab {
  state BACKUP
  interface eth0
  virtual_router_id 77
  priority ${priority}
  nopreempt
  advert_int ${advertSeconds}
  virtual_ipaddress {
    ${vip}/24 dev eth0
  }
}
`;
}
