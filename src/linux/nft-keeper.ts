/**
 * A table that others cannot flush. nftables lets the process that made a table own it (Linux
 * 5.12): `nft flush ruleset` passes it over, and it goes when its owner goes. So the owner is an
 * nft of its own, in a session of its own, which does nothing and outlives the agent: the fence in
 * its table falls shut by itself whether the agent is stopped or killed, flush or no flush.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type NftFamily, TABLE, tableExists } from './nft.ts';

/** The keeper's table. */
export const KEPT_TABLE = `${TABLE}_kept`;

/** An include path that is not there: nothing to nft, and the mark by which keepers are known. */
const MARK = '/holdfast/keeper';
/** nft reads its one command, and then waits for more that never comes. */
const PROGRAM =
  'exec 3<&0; { cat <&3; exec sleep infinity; } | nft -i -I "$0" 3<&- >/dev/null 2>&1 &';
/** How long the table may take to appear: nft has some thousand rules to read. */
const APPEARS_MS = 1_000;
const LOOK_EVERY_MS = 2;

/**
 * Replaces the kept table. Returns whether it is there: not so where the kernel or nft is too old,
 * or the program setsid is missing.
 *
 * @param body of the table, as nft reads it from a file
 */
export function keepTable(family: NftFamily, body: string): boolean {
  endKeepers();
  const table = `table ${family} ${KEPT_TABLE} {\n  flags owner\n${body}}`;
  // An interactive nft takes each line by itself.
  const line = table.replaceAll(/\s*\n\s*/g, '; ').replaceAll('{;', '{');
  spawnSync('setsid', ['sh', '-c', PROGRAM, MARK], {
    input: `${line}\n`,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; waited < APPEARS_MS; waited += LOOK_EVERY_MS) {
    if (tableExists(family, KEPT_TABLE)) return true;
    Atomics.wait(cell, 0, 0, LOOK_EVERY_MS);
  }
  endKeepers();
  return false;
}

/** Ends every keeper of this network namespace, and their tables; whether there was one. */
export function endKeepers(): boolean {
  const groups = new Set(keepers());
  for (const group of groups) {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; waited < APPEARS_MS && groups.size > 0; waited += LOOK_EVERY_MS) {
    if (!tableExists('netdev', KEPT_TABLE)) break;
    Atomics.wait(cell, 0, 0, LOOK_EVERY_MS);
  }
  return groups.size > 0;
}

/** The process groups of the keepers in this network namespace. */
function keepers(): number[] {
  const here = readlinkSync('/proc/self/ns/net');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`\0${MARK}\0`)) return [];
        if (readlinkSync(`/proc/${pid}/ns/net`) !== here) return [];
        // proc_pid_stat(5): the name may hold anything; the group is the third field after it.
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return [Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2])];
      } catch {
        return [];
      }
    })
    .filter((group) => group > 1);
}
