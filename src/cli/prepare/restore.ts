/**
 * What `snapshot restore` does: makes this host the only member of a *new* cluster that has the
 * saved state. Cluster and node get new ids, so nobody of the old cluster can ever talk to it. A
 * stopped node keeps its keys and its configuration; an empty host is made as `init` makes one.
 */
import { rm } from 'node:fs/promises';
import { OperatingError } from '../../base/errors.ts';
import type { Founder } from '../../cluster/bootstrap.ts';
import { checkFenced, newEpoch } from '../../cluster/epoch.ts';
import { type ClusterState, formatVersion, type Member } from '../../cluster/state.ts';
import { decodeState } from '../../cluster/state-codec.ts';
import { timingOf } from '../../cluster/timing.ts';
import { type AgentConfig, defaultPreemptDelaySeconds } from '../../config/agent-config.ts';
import { writeAgentConfig } from '../../config/agent-file.ts';
import { defaultHttpListen } from '../../config/endpoint.ts';
import { lockNamespace } from '../../linux/netns-lock.ts';
import type { Ca } from '../../pki/ca.ts';
import { systemCrypto } from '../../pki/crypto.ts';
import { readPki } from '../../pki/files.ts';
import { createKey } from '../../pki/issue.ts';
import { createDataDir } from '../../storage/data-dir.ts';
import { decodeSnapshotFile, type SnapshotFile } from '../../storage/snapshot-file.ts';
import { refuseLiving } from './fencing.ts';
import { chosenCa, type FoundRequest, inspectHost, type World, writeKeys } from './found.ts';
import { beginNode, existingNode, finishNode } from './node-dir.ts';
import { cannotAdmit, owedMs, survivorAtRest } from './recover.ts';

export interface RestoreRequest
  extends Pick<FoundRequest, 'name' | 'interface' | 'advertise' | 'httpListen' | 'ca'> {
  /** The text of a snapshot file. */
  readonly text: string;
  readonly fenced: readonly string[];
}

export interface Restored {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly dataDir: string;
  readonly caHash: string;
  /** How long the agent waits before it claims the VIP (rule R2). */
  readonly waitMs: number;
}

/** On what the new cluster stands on this host. */
interface Ground {
  readonly config: AgentConfig;
  readonly ca: Ca;
  readonly key: string;
  /** The longest promise that may still be owed to anybody. */
  readonly promiseMaxMs: number;
}

/** @throws OperatingError for everything that stands in the way, before anything is written */
export async function restoreSnapshot(request: RestoreRequest, world: World): Promise<Restored> {
  const { paths } = world;
  const file = decodeSnapshotFile(request.text);
  const state = decodeState(file.state);
  const lock = await lockNamespace();
  try {
    const existing = await existingNode(paths);
    const ground =
      existing === null
        ? await emptyGround(request, state, world)
        : await formerGround(existing.config, request, world);
    const { config, ca, promiseMaxMs } = ground;
    await beginNode(paths, { command: 'restore', name: config.node.name });
    // From here on there is no node until the last file is written.
    await rm(paths.raft, { recursive: true, force: true });
    const founder = await writeKeys(config, { ca, key: ground.key }, world);
    writeAgentConfig(paths.config, config);
    const { cluster, node } = config;
    const identity = { clusterId: cluster.id, nodeId: node.id, name: node.name };
    await createDataDir(paths.raft, identity, firstSnapshot(file, state, { config, founder }), {
      promiseMaxMs,
    });
    await finishNode(paths);
    return {
      clusterId: cluster.id,
      clusterName: cluster.name,
      nodeName: node.name,
      dataDir: paths.dataDir,
      caHash: ca.hash,
      waitMs: owedMs(promiseMaxMs),
    };
  } finally {
    lock.release();
  }
}

function firstSnapshot(
  file: SnapshotFile,
  state: ClusterState,
  { config, founder }: { readonly config: AgentConfig; readonly founder: Founder },
) {
  const before = state.members.find(({ name }) => name === founder.name);
  const self: Member = {
    ...founder,
    role: 'voter',
    joinsAs: 'voter',
    priority: before?.priority ?? 0,
    draining: false,
    formatVersion,
    macs: [],
    joinedIndex: 0,
  };
  const at = { index: file.index + 1, term: file.term + 1 };
  return newEpoch({ state, self, at }, config.cluster.id);
}

/** A stopped node that gives up its own past. */
async function formerGround(
  former: AgentConfig,
  request: RestoreRequest,
  { paths, clock, say }: World,
): Promise<Ground> {
  refuseFlags(request, former);
  const { ca, key } = readPki(paths.pki);
  if (ca.key === null) throw cannotAdmit();
  const { survivor, promiseMaxMs } = await survivorAtRest(paths);
  const { state, self } = survivor;
  checkFenced(state.members, self.name, request.fenced);
  say('looking whether anybody is still there …');
  const others = state.members.filter(({ id }) => id !== self.id);
  await refuseLiving(state, others, former, clock);
  return { config: renewed(former, state.clusterName), ca, key, promiseMaxMs };
}

/** A host on which there is no node. */
async function emptyGround(
  request: RestoreRequest,
  state: ClusterState,
  world: World,
): Promise<Ground> {
  const { clock } = world;
  checkFenced(state.members, request.name, request.fenced);
  const local = { interface: request.interface, interfaces: {} };
  const others = state.members.filter(({ name }) => name !== request.name);
  await refuseLiving(state, others, local, clock);
  const vips = state.spec.vips.map(({ address }) => address);
  const reach = await inspectHost({ ...request, vips, peers: [] }, world);
  const ca = await chosenCa({ ...request, clusterName: state.clusterName }, clock);
  const config: AgentConfig = {
    node: { id: '', name: request.name },
    cluster: { id: '', name: state.clusterName },
    role: 'voter',
    ...reach,
    http: { listen: request.httpListen ?? defaultHttpListen },
    ...local,
    preemptDelaySeconds: defaultPreemptDelaySeconds,
    log: { level: 'info', format: 'text' },
  };
  // What this host promised in a former life is not known; the cluster's own promises are.
  const { promiseMs: promiseMaxMs } = timingOf(state.spec.timing);
  return { config: renewed(config, state.clusterName), ca, key: createKey(), promiseMaxMs };
}

function renewed(config: AgentConfig, clusterName: string): AgentConfig {
  const crypto = systemCrypto();
  return {
    ...config,
    node: { ...config.node, id: crypto.randomHex(8) },
    cluster: { id: crypto.randomHex(8), name: clusterName },
  };
}

/** A node that is here already has a configuration of its own. */
function refuseFlags(request: RestoreRequest, former: AgentConfig): void {
  const { advertise, httpListen, interface: link, ca, name } = request;
  const given = [advertise, httpListen, link, ca].some((value) => value !== null);
  if (!given && name === former.node.name) return;
  throw new OperatingError({
    code: 'already-member',
    message: `${former.node.name} is here already, and keeps its own name, addresses and CA`,
    hint: 'repeat it without those flags, or wipe this host first with `holdfast reset --yes`',
    facts: { nodeName: former.node.name },
  });
}
