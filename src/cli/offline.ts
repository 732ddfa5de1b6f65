/**
 * Status without an agent: what this host's disk and kernel tell. It says less than an agent would,
 * and says that it is less. Nothing here waits for anybody, and whatever cannot be read is a
 * warning.
 */
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { ClusterState } from '../cluster/state.ts';
import { replay } from '../cluster/state-machine.ts';
import { type OfflineFacts, offlineStatus } from '../cluster/status.ts';
import type { StatusDocument, VipStatus } from '../cluster/status-document.ts';
import type { Paths } from '../config/paths.ts';
import { version } from '../config/version.ts';
import { createAddressTable } from '../linux/address-table.ts';
import { readOffline } from '../storage/read-offline.ts';
import type { VipPlacement } from '../vip/ports.ts';

interface Disk {
  readonly self: OfflineFacts['self'];
  readonly state: ClusterState | null;
  readonly term: number | null;
}

/**
 * @param stalled an agent is there and does not answer, so nobody need start one
 * @throws OperatingError `data-missing` and others where this host is no node, or its data is
 * broken
 */
export async function readStatusOffline(
  paths: Paths,
  clock: Clock,
  stalled: boolean,
): Promise<StatusDocument> {
  const disk = await readDisk(paths);
  const kernel = readKernel(clock);
  const document = offlineStatus({
    ...disk,
    version,
    heldHere: kernel.held,
    warnings: kernel.warnings,
  });
  if (!stalled) return document;
  const warning = 'the agent runs but did not answer: see its log with `journalctl -u holdfast`';
  return {
    ...document,
    // Its log is locked, so the VIPs are not known; but the kernel shows what this host holds.
    vips: document.vips.length > 0 ? document.vips : kernel.held.map(heldVip),
    warnings: [warning, ...kernel.warnings],
  };
}

function heldVip({ address, interface: link }: VipPlacement): VipStatus {
  return {
    address,
    interface: link,
    interfaceFrom: null,
    holder: null,
    heldHere: true,
    since: null,
    reason: 'the address is on this host, and mute while the agent does not renew its lease',
    observedBy: {},
  };
}

async function readDisk(paths: Paths): Promise<Disk> {
  const view = await readOffline(paths.raft);
  const { clusterId, nodeId: id, name } = view.identity;
  const self = { id, name, clusterId };
  if (view.kind === 'locked') return { self, state: null, term: null };
  const { snapshot, hard, committed } = view;
  const state = snapshot === undefined ? null : replay(snapshot, committed);
  return { self, state, term: hard.term };
}

function readKernel(clock: Clock): {
  readonly held: readonly VipPlacement[];
  readonly warnings: readonly string[];
} {
  try {
    const table = createAddressTable(clock);
    try {
      return { held: table.ours(), warnings: [] };
    } finally {
      table.close();
    }
  } catch (error) {
    const why = describeError(error);
    return { held: [], warnings: [`the addresses of this host cannot be read: ${why}`] };
  }
}
