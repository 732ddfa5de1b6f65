/**
 * What `recover` does on a stopped node: looks whether the others are really gone, and gives its
 * log a new beginning in which it is the only member.
 */
import { OperatingError } from '../../base/errors.ts';
import { checkFenced, newEpoch, type Survivor, survivorOf } from '../../cluster/epoch.ts';
import { clockDrift } from '../../cluster/timing.ts';
import type { Paths } from '../../config/paths.ts';
import { lockNamespace } from '../../linux/netns-lock.ts';
import { readPki } from '../../pki/files.ts';
import type { StoreContents } from '../../storage/log-storage.ts';
import { readOffline } from '../../storage/read-offline.ts';
import { rewriteLog } from '../../storage/rewrite.ts';
import { refuseLiving } from './fencing.ts';
import type { World } from './found.ts';
import { existingNode } from './node-dir.ts';

export interface Recovered {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly term: number;
  /** Who can never come back. */
  readonly fenced: readonly string[];
  /** How long the agent waits before it claims the VIP (rule R2). */
  readonly waitMs: number;
}

/** A `status` that reads the directory at this moment lets go of it soon. */
const lockWaitMs = 2_000;

/** @throws OperatingError for everything that stands in the way, before anything is written */
export async function recoverNode(fenced: readonly string[], world: World): Promise<Recovered> {
  const { paths, clock, say } = world;
  const existing = await existingNode(paths);
  if (existing === null) throw nobodyHere(paths);
  const lock = await lockNamespace();
  try {
    const { config } = existing;
    if (readPki(paths.pki).ca.key === null) throw cannotAdmit();
    const { survivor, promiseMaxMs } = await survivorAtRest(paths);
    const { state, self } = survivor;
    const others = state.members.filter(({ id }) => id !== self.id);
    if (others.length === 0) throw alone(self.name);
    checkFenced(state.members, self.name, fenced);
    say('looking whether anybody is still there …');
    await refuseLiving(state, others, config, clock);
    await rewriteLog(paths.raft, { clock, maxMs: lockWaitMs }, (found) =>
      newEpoch(survivorIn(found)),
    );
    return {
      clusterId: state.clusterId,
      clusterName: state.clusterName,
      nodeName: self.name,
      term: survivor.at.term,
      fenced: others.map(({ name }) => name),
      waitMs: owedMs(promiseMaxMs),
    };
  } finally {
    lock.release();
  }
}

/** How long a node that starts owes the longest promise that it ever made. */
export function owedMs(promiseMaxMs: number): number {
  return Math.ceil(promiseMaxMs * (1 + 2 * clockDrift));
}

/**
 * What the stopped node in `paths` knows.
 *
 * @throws OperatingError `agent-running` and those of {@link survivorOf}
 */
export async function survivorAtRest(
  paths: Paths,
): Promise<{ readonly survivor: Survivor; readonly promiseMaxMs: number }> {
  const view = await readOffline(paths.raft);
  if (view.kind === 'locked') throw running(paths);
  const { identity, hard, snapshot, entries } = view;
  return {
    survivor: survivorIn({ identity, hard, snapshot, entries }),
    promiseMaxMs: hard.promiseMaxMs,
  };
}

function survivorIn({ identity, hard, snapshot, entries }: StoreContents): Survivor {
  const { term, commit } = hard;
  return survivorOf({ term, commit, snapshot, entries }, identity.nodeId);
}

function running(paths: Paths): OperatingError {
  return new OperatingError({
    code: 'agent-running',
    message: `an agent runs on ${paths.dataDir}`,
    hint: 'stop it first (systemctl stop holdfast)',
    facts: { dir: paths.dataDir },
  });
}

function nobodyHere(paths: Paths): OperatingError {
  return new OperatingError({
    code: 'data-missing',
    message: `there is no node in ${paths.dataDir}`,
    hint: 'run this on a surviving member, or restore a snapshot with `holdfast snapshot restore`',
    facts: { dir: paths.dataDir },
  });
}

function alone(name: string): OperatingError {
  return new OperatingError({
    code: 'nothing-to-recover',
    message: `${name} is the only member of its cluster and needs nobody`,
    hint: 'start it: `systemctl start holdfast`',
  });
}

/** Without the CA's key nobody could ever join again. */
export function cannotAdmit(): OperatingError {
  return new OperatingError({
    code: 'ca-key-missing',
    message: 'this node has no CA key, so no further host could ever join it',
    hint: 'do this on a voter',
  });
}
