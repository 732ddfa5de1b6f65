/**
 * One core alone: the test plays everybody else, hands it messages and looks at what it answers.
 */
import { assert } from '../../src/base/assert.ts';
import type {
  Append,
  AppendReply,
  Heartbeat,
  HeartbeatReply,
  InstallSnapshot,
  Message,
  MessageType,
  TimeoutNow,
  VoteReply,
  VoteRequest,
} from '../../src/raft/message.ts';
import {
  type RaftConfig,
  type RaftStatus,
  RawNode,
  type ReadState,
  type Ready,
} from '../../src/raft/rawnode.ts';
import type { Entry, LeaseView, Millis, NodeId, Role, Term } from '../../src/raft/types.ts';
import { configFor, decodeChange } from './network.ts';
import { MemoryLog } from './storage.ts';

/** The message that a type stands for; several types may share one shape. */
type Of<T extends MessageType, M = Message> = M extends { readonly type: infer U }
  ? T extends U
    ? M
    : never
  : never;

export class Solo {
  readonly raft: RawNode;
  readonly disk: MemoryLog;
  now: Millis = 1_000;
  applied: Entry[] = [];
  reads: ReadState[] = [];
  failedReads: number[] = [];
  lease: LeaseView | undefined;
  readonly #out: Message[] = [];

  constructor(disk: MemoryLog, overrides: Partial<RaftConfig> = {}, id: NodeId = 'a') {
    this.disk = disk;
    this.raft = new RawNode(configFor(id, overrides), disk, this.now);
  }

  /** A voter among `count` voters a, b, c … with a log of the given terms behind index 1. */
  static of(count: number, ...terms: readonly Term[]): Solo {
    return new Solo(MemoryLog.withTerms({ voters: names(count) }, ...terms));
  }

  get status(): RaftStatus {
    return this.raft.status(this.now);
  }

  get role(): Role {
    return this.status.role;
  }

  get term(): Term {
    return this.status.term;
  }

  /** Hands it `messages` and returns what it sends in answer, disk writes done. */
  step(...messages: readonly Message[]): Message[] {
    for (const message of messages) this.raft.step(this.now, message);
    return this.drain();
  }

  /** Lets `ms` pass, with a tick whenever one is due. */
  pass(ms: Millis): Message[] {
    const end = this.now + ms;
    this.#process();
    while (this.raft.nextDeadline() <= end) {
      this.now = Math.max(this.now, this.raft.nextDeadline());
      this.raft.tick(this.now);
      this.#process();
    }
    this.now = end;
    return this.drain();
  }

  /** Lets time pass up to and including the next thing that is due. */
  passToDeadline(): Message[] {
    return this.pass(Math.max(0, this.raft.nextDeadline() - this.now));
  }

  /** Everything sent since the last look. */
  drain(): Message[] {
    this.#process();
    return this.#out.splice(0);
  }

  /** Wins an election by the votes of all; what the new leader sends at once. */
  lead(): Message[] {
    this.raft.campaign(this.now);
    const out: Message[] = [];
    let asked = this.drain();
    while (this.role !== 'leader') {
      const requests = asked.filter((m) => m.type === 'pre-vote' || m.type === 'vote');
      assert(requests.length > 0, 'nobody is asked for a vote');
      asked = this.step(...requests.map(grant).filter(() => this.role !== 'leader'));
      out.push(...asked);
    }
    return out;
  }

  /** Campaigns up to the real vote. */
  runForOffice(): Message[] {
    this.raft.campaign(this.now);
    const requests = this.drain().filter((m) => m.type === 'pre-vote');
    return this.step(...requests.map(grant));
  }

  #process(): void {
    while (this.raft.hasReady()) this.#take(this.raft.ready(this.now));
  }

  #take(ready: Ready): void {
    this.lease = ready.lease;
    this.disk.write(ready);
    this.#out.push(...ready.messages, ...ready.afterAppend);
    this.reads.push(...ready.readStates);
    this.failedReads.push(...ready.failedReads);
    this.raft.advance(this.now);
    for (const entry of ready.committed) {
      this.applied.push(entry);
      if (entry.type !== 'conf-change') continue;
      this.raft.applyConfChange(this.now, decodeChange(entry.data));
    }
  }
}

export function names(count: number): NodeId[] {
  return [...'abcdefghi'].slice(0, count);
}

export function ofType<T extends MessageType>(messages: readonly Message[], type: T): Of<T>[] {
  return messages.filter((m): m is Of<T> & Message => m.type === type);
}

/** The only message of `type`. */
export function only<T extends MessageType>(messages: readonly Message[], type: T): Of<T> {
  const found = ofType(messages, type);
  const [first] = found;
  assert(first !== undefined && found.length === 1, `${found.length} messages of type ${type}`);
  return first;
}

// Messages to `a` from `b`, with only what matters spelt out.

const head = { from: 'b', to: 'a', term: 1 };

export function vote(fields: Partial<VoteRequest>): VoteRequest {
  return {
    ...head,
    type: 'vote',
    lastIndex: 1,
    lastTerm: 1,
    release: null,
    priority: 0,
    ...fields,
  };
}

export function voteReply(fields: Partial<VoteReply>): VoteReply {
  return { ...head, type: 'vote-reply', granted: true, promiseRemainingMs: 0, ...fields };
}

/** The granting answer to a request. */
export function grant(request: Message): VoteReply {
  assert(request.type === 'vote' || request.type === 'pre-vote', 'no vote request');
  return voteReply({
    type: request.type === 'vote' ? 'vote-reply' : 'pre-vote-reply',
    from: request.to,
    to: request.from,
    term: request.term,
  });
}

export function append(fields: Partial<Append>): Append {
  return { ...head, type: 'append', prevIndex: 1, prevTerm: 1, entries: [], commit: 1, ...fields };
}

export function appendReply(fields: Partial<AppendReply>): AppendReply {
  return {
    ...head,
    type: 'append-reply',
    index: 0,
    rejected: false,
    hintIndex: 0,
    hintTerm: 0,
    ...fields,
  };
}

export function heartbeat(fields: Partial<Heartbeat>): Heartbeat {
  return { ...head, type: 'heartbeat', round: 1, promiseMs: 230, commit: 1, ...fields };
}

export function echo(fields: Partial<HeartbeatReply>): HeartbeatReply {
  const eligibility = { eligible: true, reason: '' };
  return { ...head, type: 'heartbeat-reply', round: 1, eligibility, ...fields };
}

export function install(
  fields: Partial<InstallSnapshot> & Pick<InstallSnapshot, 'snapshot'>,
): InstallSnapshot {
  return { ...head, type: 'snapshot', ...fields };
}

export function timeoutNow(fields: Partial<TimeoutNow> & Pick<TimeoutNow, 'release'>): TimeoutNow {
  return { ...head, type: 'timeout-now', ...fields };
}

/** The acknowledgements by which a member takes all appends in `messages`. */
export function acks(messages: readonly Message[], from?: NodeId): AppendReply[] {
  return ofType(messages, 'append')
    .filter((m) => from === undefined || m.to === from)
    .map((m) =>
      appendReply({
        from: m.to,
        to: m.from,
        term: m.term,
        index: m.prevIndex + m.entries.length,
      }),
    );
}

/** The echoes of all heartbeats in `messages`. */
export function echoes(messages: readonly Message[]): HeartbeatReply[] {
  return ofType(messages, 'heartbeat').map((m) =>
    echo({ from: m.to, to: m.from, term: m.term, round: m.round }),
  );
}
