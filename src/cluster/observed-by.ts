/** Which members reach a VIP, from what they have told the leader: pure, for `status`. */
import type { Observed } from './observations.ts';
import type { StatusFacts } from './status.ts';
import type { VipStatus } from './status-document.ts';

/** The others that may hold the VIP, each with what it sees of it: null where that is not known. */
export function observedBy(address: string, facts: StatusFacts): VipStatus['observedBy'] {
  const { view, local } = facts;
  if (view.leader === null || !view.quorum) return {};
  const reports = currentObservations(facts).filter((each) => each.address === address);
  const own = local.vips.find((vip) => vip.address === address)?.observed ?? null;
  const others = view.state.members.filter(
    ({ id, joinsAs }) => id !== view.leader && joinsAs !== 'witness',
  );
  return Object.fromEntries(
    others.map(({ id, name }) => {
      if (id === view.selfId) return [name, own?.reached ?? null];
      return [name, reports.find(({ nodeId }) => nodeId === id)?.reached ?? null];
    }),
  );
}

/** What is said about the present tenure, and nothing from before its claim. */
export function currentObservations({ view, local, observed }: StatusFacts): readonly Observed[] {
  if (view.leader !== view.selfId) return [];
  return observed.filter(({ address, atWallMs }) => {
    const here = local.vips.find((vip) => vip.address === address);
    return here?.heldHere === true && (here.sinceWallMs ?? 0) <= atWallMs;
  });
}
