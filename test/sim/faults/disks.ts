/** Faults of disks. */
import { pick } from '../../../src/base/prng.ts';
import { newestLeader } from '../host.ts';
import type { Catalogue } from './fault.ts';

/** How often the loss of a disk is let happen when it is drawn: it changes all that follows. */
const LOSS_CHANCE = 0.3;

type Kind = 'disk-stall' | 'disk-slow' | 'disk-full' | 'disk-error' | 'torn-write' | 'disk-lost';

export const diskFaults: Catalogue<Kind> = {
  'disk-stall'(faults) {
    const host = faults.victim();
    const ms = faults.duration();
    faults.note(`${host.id}'s disk stalls for ${ms.toFixed(0)} ms`);
    host.disk.stall(faults.parts.world.now + ms);
    return host.isUp;
  },
  'disk-slow'(faults) {
    const host = faults.victim();
    const ms = faults.duration();
    faults.note(`${host.id}'s disk is slow for ${ms.toFixed(0)} ms`);
    host.disk.slowDown(faults.parts.world.now + ms);
    return host.isUp;
  },
  /** One host's, or everybody's at once, as when all logs grow alike. */
  'disk-full'(faults) {
    const { hosts, world } = faults.parts;
    const ms = faults.duration();
    const full = faults.random() < 0.3 ? hosts : [faults.victim()];
    const names = full.map(({ id }) => id).join(',');
    faults.note(`no space left on ${names} for ${ms.toFixed(0)} ms`);
    for (const host of full) host.disk.fill(world.now + ms);
    return full.some((host) => host.isUp);
  },
  'disk-error'(faults) {
    const host = faults.victim();
    host.failDisk();
    return host.isUp;
  },
  /** The power goes in the middle of a write: the batch under way is there whole or not at all. */
  'torn-write'(faults) {
    const host = faults.victim();
    if (!host.isUp) return false;
    host.disk.tearNext(() => {
      faults.note(`${host.id}'s power fails in the middle of a write`);
      faults.parts.world.exercise('torn-write');
      host.powerCut();
      faults.parts.world.after(faults.duration(), () => host.start());
    });
    return 'asked';
  },
  /** A member's disk is gone for good; a new host takes its place, or it is removed. */
  'disk-lost'(faults) {
    const { hosts, workload, options } = faults.parts;
    if (options.mode !== 'promised' || faults.random() > LOSS_CHANCE) return false;
    const leader = newestLeader(hosts);
    const config = leader?.config();
    if (config === undefined || config === null || config.votersOutgoing.length > 0) return false;
    const voters = hosts.filter((host) => config.voters.includes(host.id) && host.isUp);
    // What is left must be able to go on without it.
    if ((voters.length - 1) * 2 <= config.voters.length) return false;
    if (hosts.some((host) => host.isScrapped)) return false;
    const lost = pick(faults.random, voters);
    lost.scrap();
    const spare = hosts.find((host) => !host.isProvisioned);
    const ask = (): void => {
      if (spare === undefined) workload.ask({ type: 'retire', id: lost.id });
      else workload.ask({ type: 'replace', id: spare.id, replaces: lost.id }, 'replace');
    };
    for (const ms of [500, 1_500, 3_000]) faults.later(ms * (1 + faults.random()), ask);
    return true;
  },
};
