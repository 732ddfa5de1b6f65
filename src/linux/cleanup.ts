/**
 * Removes every kernel object of ours, whoever made it and however that process ended. Nothing but
 * the marks in the kernel is needed: no state file, no configuration. Never while an agent runs.
 */
import { listOurs, removeAddress } from './address-table.ts';
import { fencedLinks, removeFence, removeNftFence, removeTables } from './fence-removal.ts';
import { removeVirtualServers } from './ipvs-forwarder.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { type NftFamily, nftSync, removeTable, tableExists } from './nft.ts';
import { FORWARD_TABLE } from './nft-forwarding-rules.ts';
import { listLinks, NETLINK_ROUTE } from './rtnetlink.ts';
import { interfacesWithClsact, removeIdleClsact } from './traffic-control.ts';
import { TRIAL_TABLE } from './trial.ts';

const FAMILIES: readonly NftFamily[] = ['inet', 'arp'];

/**
 * What was removed, in words; empty where nothing was left. The addresses go before their guard.
 */
export function sweep(): string[] {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    return [
      ...sweepAddresses(socket),
      ...sweepFences(socket),
      ...removeNftFence(),
      ...removeTables(FAMILIES),
      ...removeForwarding(),
      ...removeVirtualServers(),
    ];
  } finally {
    socket.close();
  }
}

/**
 * Removes what {@link sweep} leaves because to take it away disturbs the host for a moment: what a
 * host that is done with us may be rid of as well. An empty clsact bears nobody's name, so one that
 * others have left empty goes too.
 */
export function sweepIdle(): string[] {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const names = new Map(listLinks(socket).map((link) => [link.index, link.name]));
    return interfacesWithClsact(socket)
      .filter((index) => removeIdleClsact(socket, index))
      .map((index) => `empty clsact on ${names.get(index)}`);
  } finally {
    socket.close();
  }
}

function sweepAddresses(socket: NetlinkSocket): string[] {
  return listOurs(socket).map((vip) => {
    removeAddress(socket, vip.address);
    return `address ${vip.address} of ${vip.interface}`;
  });
}

function sweepFences(socket: NetlinkSocket): string[] {
  const names = new Map(listLinks(socket).map((link) => [link.index, link.name]));
  return fencedLinks(socket).map((index) => {
    removeFence(socket, index);
    return `fence on ${names.get(index)}`;
  });
}

function removeForwarding(): string[] {
  return [FORWARD_TABLE, TRIAL_TABLE]
    .filter((name) => tableExists('inet', name))
    .map((name) => {
      nftSync(removeTable('inet', name));
      return `nft table inet ${name}`;
    });
}
