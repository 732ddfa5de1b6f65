/** The lease as the owner of the VIP sees it, one value at a time. */
import type { Core } from './core.ts';
import { wantsRelease } from './transfer.ts';
import type { LeaseView } from './types.ts';

/** Before the first Ready: nobody leads. */
export const idleLease: LeaseView = {
  role: 'follower',
  term: 0,
  leader: null,
  deadline: 0,
  claimNotBefore: 0,
  ownTermCommitted: false,
  released: false,
  wantsRelease: false,
};

/** The view as it is now; `last` itself if nothing changed, so that identity tells. */
export function leaseView(core: Core, last: LeaseView): LeaseView {
  const { leadership, log, role, term, leader } = core;
  const next: LeaseView = {
    role,
    term,
    leader,
    deadline: leadership?.lease.deadline ?? 0,
    claimNotBefore: leadership?.claimNotBefore ?? 0,
    ownTermCommitted: leadership !== null && log.handed >= leadership.ownTermIndex,
    released: leadership?.lease.released ?? false,
    wantsRelease: leadership !== null && wantsRelease(core, leadership),
  };
  const unchanged =
    next.role === last.role &&
    next.term === last.term &&
    next.leader === last.leader &&
    next.deadline === last.deadline &&
    next.claimNotBefore === last.claimNotBefore &&
    next.ownTermCommitted === last.ownTermCommitted &&
    next.released === last.released &&
    next.wantsRelease === last.wantsRelease;
  return unchanged ? last : next;
}
