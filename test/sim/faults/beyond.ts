/**
 * Worlds outside of what is promised, each marked by its mode: what is lost there is counted and no
 * failure; what must not be lost even there still is one.
 */

import { pick } from '../../../src/base/prng.ts';
import type { Faults } from '../faults.ts';

/** What the exclusivity of the VIP rests on clocks for. Raft's own rules need no clock. */
const clockRules: ReadonlySet<string> = new Set([
  'vip-exclusive',
  'vip-epoch-grows',
  'vip-leader-only',
  // What a promise binds is measured in true time here, and by the node's own clock there.
  'promise-is-durable',
]);

const CLOCKS_EVERY_MS = 800;
const BACKUP_AFTER_MS = 1_500;
const OLDEST_BACKUP_MS = 4_000;

/** Arranges for what the seed's mode brings; nothing in a world as promised. */
export function beginBeyond(faults: Faults): void {
  const { options, world } = faults.parts;
  if (options.mode === 'wild-clocks') {
    world.excuse({ rules: clockRules, ends: false });
    runWild(faults);
  } else if (options.mode === 'disk-rollback') {
    faults.later(BACKUP_AFTER_MS * (1 + faults.random()), () => rollBackSoon(faults));
  }
}

function runWild(faults: Faults): void {
  faults.later(faults.exponential(CLOCKS_EVERY_MS), () => {
    faults.victim().changeRates(true);
    runWild(faults);
  });
}

/** A host comes back with an older image of its disk, whole and unnoticeable by itself. */
function rollBackSoon(faults: Faults): void {
  const { hosts, world } = faults.parts;
  const host = pick(faults.random, hosts);
  host.disk.backUp();
  faults.later(OLDEST_BACKUP_MS * faults.random(), () => {
    if (host.isUp) {
      world.excuse({ rules: null, ends: true });
      host.powerCut();
      if (host.rollBackDisk()) world.exercise('disk-rollback');
      host.start();
    }
    rollBackSoon(faults);
  });
}
