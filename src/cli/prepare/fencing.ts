/**
 * What can be seen of the person's word that the other members are off for good: none of them
 * answers on its port, and nobody answers for a VIP. Silence proves nothing, an answer does.
 */
import type { Clock } from '../../base/clock.ts';
import { OperatingError } from '../../base/errors.ts';
import type { ClusterState, Member } from '../../cluster/state.ts';
import type { AgentConfig } from '../../config/agent-config.ts';
import { defaultGrpcPort, parseEndpoint } from '../../config/endpoint.ts';
import { placeVip } from '../../vip/placement.ts';
import { hostLinks, vipUse } from './host.ts';
import { findRival } from './rivals.ts';

/** @throws OperatingError `not-fenced`, `vip-in-use` */
export async function refuseLiving(
  state: ClusterState,
  others: readonly Member[],
  config: Pick<AgentConfig, 'interface' | 'interfaces'>,
  clock: Clock,
): Promise<void> {
  await Promise.all([
    ...others.map((member) => refuseAnswering(member, state.clusterId, clock)),
    refuseHeld(state, config, clock),
  ]);
}

async function refuseAnswering(member: Member, clusterId: string, clock: Clock): Promise<void> {
  const endpoint = parseEndpoint(member.address, defaultGrpcPort);
  const found = endpoint === null ? null : await findRival([endpoint], clock);
  if (found?.clusterId !== clusterId) return;
  throw new OperatingError({
    code: 'not-fenced',
    message: `${member.name} is alive: it answers at ${member.address}; nothing was changed`,
    hint: 'with it the quorum may come back; else switch it off for good, then repeat this',
    facts: { name: member.name, address: member.address },
  });
}

async function refuseHeld(
  state: ClusterState,
  config: Pick<AgentConfig, 'interface' | 'interfaces'>,
  clock: Clock,
): Promise<void> {
  const links = hostLinks(clock);
  for (const { address, interface: specified } of state.spec.vips) {
    const wanted = config.interfaces[address] ?? config.interface ?? specified;
    const placed = placeVip(address, links, wanted === null ? {} : { wanted });
    // Where the VIP cannot be carried it cannot be asked for either.
    if ('refused' in placed) continue;
    const use = await vipUse({ address, interface: placed.interface }, links, clock);
    if (use.by !== 'stranger') continue;
    throw new OperatingError({
      code: 'vip-in-use',
      message: `the VIP ${address} answers from ${use.mac}: somebody still holds it`,
      hint: 'find that host and switch it off for good, then repeat this; nothing was changed',
      facts: { vip: address, mac: use.mac },
    });
  }
}
