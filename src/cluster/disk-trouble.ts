/**
 * What a node says of its disk where it cannot write for now (rule R13): other than after an error,
 * it goes on, because renewing a lease needs no disk, but a member whose disk is well is a better
 * place for the VIP.
 */
import type { Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { PeerStatus, RaftStatus } from '../raft/rawnode.ts';
import type { Eligibility, Index, NodeId } from '../raft/types.ts';

/** A write that takes longer says that the disk is not to be relied on. */
const stallMs: Millis = 1_000;
/** So long a leader waits for the others to say whether their disks are any better. */
const patienceMs: Millis = 1_000;

const noRoom = 'there is no space left on the disk of its log';
const stalled = 'its disk has not finished a write for more than a second';

/** What a node knows of its own disk. */
export class DiskWatch {
  #trouble: string | null = null;
  #since: Millis = 0;

  /** In words for a person; null where it can write. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Looks anew; whether the trouble is another one than before. */
  changes(now: Millis, isFull: boolean, oldestWriteAt: Millis | null): boolean {
    const isStalled = oldestWriteAt !== null && now - oldestWriteAt > stallMs;
    const trouble = isFull ? noRoom : isStalled ? stalled : null;
    if (trouble === this.#trouble) return false;
    this.#trouble = trouble;
    this.#since = now;
    return true;
  }

  /** All disks may be full at once: the others notice by the same write, and say so a bit later. */
  isNews(now: Millis): boolean {
    return this.#trouble !== null && now - this.#since < patienceMs;
  }
}

/** Travels in the reason, which members of every version carry: it is read by the leader. */
const prefix = 'it cannot write its log: ';

export function withTrouble(trouble: string): Eligibility {
  return { eligible: false, reason: `${prefix}${trouble}` };
}

/** Whether it is the disk that makes a member ineligible. */
export function isOfDisk({ eligible, reason }: Eligibility): boolean {
  return !eligible && reason.startsWith(prefix);
}

/** A vote has to be written before it is given: who wrote the newest entry could do that too. */
function canVote({ eligibility, recentlyActive, match }: PeerStatus, lastIndex: Index): boolean {
  const isWell = eligibility === null || !isOfDisk(eligibility);
  return recentlyActive && isWell && match === lastIndex;
}

/**
 * Whether the others could elect a leader without the vote of `status.id`. If not, what it gave up
 * nobody could take.
 */
export function othersCanElect({ config, id, peers, lastIndex }: RaftStatus): boolean {
  const writing = peers.filter((peer) => canVote(peer, lastIndex));
  const voters = new Set(writing.map((peer): NodeId => peer.id));
  const able = config.voters.filter((voter) => voter !== id && voters.has(voter));
  return able.length > config.voters.length / 2;
}

/** For `status`. */
export function diskAlarms(trouble: string | null): readonly string[] {
  if (trouble === null) return [];
  return [`this host cannot write its log: ${trouble}; see \`df\` and \`dmesg\``];
}

export function diskNotWell(trouble: string): OperatingError {
  return new OperatingError({
    code: 'disk-trouble',
    message: `the leader cannot write its log: ${trouble}; nothing was changed`,
    hint: 'make room on its disk (`df`), or look what keeps it busy (`dmesg`); it goes on by itself',
    facts: { trouble },
  });
}
