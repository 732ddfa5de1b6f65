/** How the traces of scripts spell what a core says: one line each. */
import { unreachable } from '../../src/base/assert.ts';
import type { Message, Release } from '../../src/raft/message.ts';
import type { Entry, MemberConfig } from '../../src/raft/types.ts';
import { text } from './network.ts';

export function showConfig(config: MemberConfig): string {
  const outgoing = config.votersOutgoing.length > 0 ? ` and ${config.votersOutgoing}` : '';
  const learners = config.learners.length > 0 ? `, learners ${config.learners}` : '';
  return `${config.voters}${outgoing}${learners}`;
}

export function showEntries(entries: readonly Entry[]): string {
  return `[${entries.map(showEntry).join(' ')}]`;
}

function showEntry({ index, term, type, data }: Entry): string {
  const what = type === 'conf-change' ? ':change' : data.length > 0 ? `:${text(data)}` : '';
  return `${term}/${index}${what}`;
}

export function showMessage(m: Message): string {
  return `${m.from}>${m.to} ${m.type} term ${m.term}${showBody(m)}`;
}

function showBody(m: Message): string {
  switch (m.type) {
    case 'vote':
    case 'pre-vote':
      return ` log ${m.lastTerm}/${m.lastIndex}${showRelease(m.release)}`;
    case 'vote-reply':
    case 'pre-vote-reply':
      if (m.granted) return ' yes';
      return m.promiseRemainingMs > 0 ? ` no, owes ${m.promiseRemainingMs} ms` : ' no';
    case 'append':
      return ` after ${m.prevTerm}/${m.prevIndex} ${showEntries(m.entries)} commit ${m.commit}`;
    case 'append-reply':
      return m.rejected
        ? ` rejects ${m.index}, try ${m.hintTerm}/${m.hintIndex}`
        : ` holds ${m.index}`;
    case 'heartbeat':
      return ` round ${m.round} E ${m.promiseMs} commit ${m.commit}`;
    case 'heartbeat-reply':
      if (m.eligibility.eligible) return ` round ${m.round}`;
      return ` round ${m.round} not eligible: ${m.eligibility.reason}`;
    case 'snapshot':
      return ` at ${m.snapshot.meta.term}/${m.snapshot.meta.index}`;
    case 'timeout-now':
    case 'lease-release':
      return showRelease(m.release);
    default:
      return unreachable(m);
  }
}

function showRelease(release: Release | null): string {
  return release === null ? '' : ` released ${release.term}`;
}
