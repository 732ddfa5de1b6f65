/**
 * `recover --force-new-cluster` in the simulated world: everybody but one host is lost for ever,
 * and a person makes the log of that one the beginning of a cluster of its own.
 */
import { OperatingError } from '../../src/base/errors.ts';
import { newEpoch, survivorOf } from '../../src/cluster/epoch.ts';
import type { HistoryChecker } from './checkers/history.ts';
import type { VipChecker } from './checkers/vip.ts';
import type { SimHost } from './host.ts';
import { LogImage } from './log-image.ts';
import type { World } from './world.ts';

export interface RecoveryParts {
  readonly world: World;
  readonly hosts: readonly SimHost[];
  readonly history: HistoryChecker;
  readonly vip: VipChecker;
}

/** Hosts that never had a log are left for the new cluster. False if this host cannot go on. */
export function recover({ world, hosts, history, vip }: RecoveryParts, survivor: SimHost): boolean {
  if (!survivor.isProvisioned || survivor.isScrapped) return false;
  const log = renewed(survivor);
  const others = hosts.filter((host) => host !== survivor && host.isProvisioned);
  if (log === null || others.length === 0) return false;
  for (const host of others) host.scrap();
  // Without power, so that nothing of its old process is left either.
  survivor.powerCut();
  const begun = renewed(survivor) ?? log;
  world.note('WORLD', `${survivor.id} goes on alone from ${begun.snapshot().meta.index}`);
  survivor.rewriteLog(begun);
  history.recovered(begun.snapshot().meta.index);
  vip.recovered();
  world.exercise('recovery');
  survivor.start();
  return true;
}

/** The log of a new epoch, as the command writes it; null where it refuses. */
function renewed(survivor: SimHost): LogImage | null {
  const { platters } = survivor;
  const { hard } = platters;
  const first = platters.firstIndex();
  const snapshot = platters.snapshot();
  const entries = platters.entries(first, platters.lastIndex() + 1, Number.POSITIVE_INFINITY);
  try {
    const { term, commit } = hard;
    const found = survivorOf({ term, commit, snapshot, entries }, survivor.id);
    const epoch = newEpoch(found);
    const log = new LogImage(epoch);
    const at = epoch.meta;
    const { promiseMaxMs } = hard;
    log.append({
      hard: { term: at.term, vote: null, commit: at.index, promiseMaxMs },
      entries: [],
    });
    return log;
  } catch (error) {
    if (error instanceof OperatingError) return null;
    throw error;
  }
}
