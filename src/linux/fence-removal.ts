/**
 * Finding and removing fences without state: a former agent's, of either kind, whoever it was and
 * however it ended. A fence outlives its agent on purpose, so a later one must be able to.
 */
import { detachTcxById, programName, queryTcx, Tcx } from './bpf.ts';
import type { Direction } from './fence-program.ts';
import type { NetlinkSocket } from './netlink-socket.ts';
import { type NftFamily, nftSync, removeTable, TABLE, tableExists } from './nft.ts';
import { endKeepers, KEPT_TABLE } from './nft-keeper.ts';
import { listLinks } from './rtnetlink.ts';
import {
  DIRECTIONS,
  filterProgramId,
  interfacesWithClsact,
  removeFilters,
} from './traffic-control.ts';

/** By this name programs in a TCX chain are known, for those who may ask for it. */
export const PROGRAM_NAME = 'holdfast_fence';

/** The families in which the nftables fence has a table: the guard, and who may renew it. */
const NFT_FENCE: readonly NftFamily[] = ['netdev', 'ip'];

export function isFenceProgram(id: number): boolean {
  return programName(id) === PROGRAM_NAME;
}

/** Whether a TCX program is a fence of ours, by its name or by the filter that holds it as well. */
export function isOurProgram(
  socket: NetlinkSocket,
  place: { readonly index: number; readonly direction: Direction },
  id: number,
): boolean {
  return filterProgramId(socket, place.index, place.direction) === id || isFenceProgram(id);
}

/** The links on which a fence of ours stands, whichever agent put it there. */
export function fencedLinks(socket: NetlinkSocket): number[] {
  const withClsact = new Set(interfacesWithClsact(socket));
  return listLinks(socket)
    .map((link) => link.index)
    .filter((index) =>
      DIRECTIONS.some((direction) => {
        if (withClsact.has(index) && filterProgramId(socket, index, direction) !== null)
          return true;
        const ids = queryTcx(index, Tcx[direction])?.ids ?? [];
        return ids.some((id) => isFenceProgram(id));
      }),
    );
}

/** Takes every fence of ours off a link; done already is fine. */
export function removeFence(socket: NetlinkSocket, index: number): void {
  for (const direction of DIRECTIONS) {
    const filterId = filterProgramId(socket, index, direction);
    for (const id of queryTcx(index, Tcx[direction])?.ids ?? []) {
      if (id !== filterId && !isFenceProgram(id)) continue;
      detachTcxById(index, id, Tcx[direction]);
    }
  }
  removeFilters(socket, index);
}

/** Removes the nftables fence; done already is fine. The tables removed, in words. */
export function removeNftFence(): string[] {
  const kept = endKeepers() ? [`nft table netdev ${KEPT_TABLE}`] : [];
  return [...kept, ...removeTables(NFT_FENCE)];
}

/** Removes our tables of these families where they are; which ones those were, in words. */
export function removeTables(families: readonly NftFamily[]): string[] {
  return families
    .filter((family) => tableExists(family))
    .map((family) => {
      nftSync(removeTable(family));
      return `nft table ${family} ${TABLE}`;
    });
}
