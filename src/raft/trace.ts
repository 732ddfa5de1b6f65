/**
 * What a core does, in the words of etcd-io/raft's `state_trace.go`, so that the TLA+ specification
 * there can judge it too. A trace is for machines, one event a line; nothing in here changes what
 * the core does.
 *
 * The specification knows neither pre-votes nor promises: those messages leave no event, and its
 * heartbeats are appends without entries.
 */
import type { Core } from './core.ts';
import type { Message } from './message.ts';
import type { ConfChange, Index, NodeId, Role, Term } from './types.ts';

export type TraceName =
  | 'InitState'
  | 'BecomeFollower'
  | 'BecomeCandidate'
  | 'BecomeLeader'
  | 'Commit'
  | 'Replicate'
  | 'ChangeConf'
  | 'ApplyConfChange'
  | 'Ready'
  | 'SendAppendEntriesRequest'
  | 'ReceiveAppendEntriesRequest'
  | 'SendAppendEntriesResponse'
  | 'ReceiveAppendEntriesResponse'
  | 'SendRequestVoteRequest'
  | 'ReceiveRequestVoteRequest'
  | 'SendRequestVoteResponse'
  | 'ReceiveRequestVoteResponse';

export interface TraceMessage {
  readonly type: string;
  readonly term: Term;
  readonly from: NodeId;
  readonly to: NodeId;
  /** How many; of a snapshot, its index. */
  readonly entries: number;
  readonly logTerm: Term;
  readonly index: Index;
  readonly commit: Index;
  readonly vote: NodeId;
  readonly reject: boolean;
  readonly rejectHint: Index;
}

export interface TraceConfChange {
  readonly changes?: readonly { readonly nid: NodeId; readonly action: string }[];
  readonly newconf?: readonly NodeId[];
}

export interface TraceEvent {
  readonly name: TraceName;
  readonly nid: NodeId;
  /** `vote` is 0 for nobody, as there. */
  readonly state: { readonly term: Term; readonly vote: NodeId; readonly commit: Index };
  readonly role: string;
  /** The last index of the log. */
  readonly log: Index;
  /** The voters of both configurations. */
  readonly conf: readonly [readonly NodeId[], readonly NodeId[]];
  readonly msg?: TraceMessage;
  readonly prop?: { readonly cc: TraceConfChange };
}

/** One line of such a trace, as the tools there read it. */
export function traceLine(event: TraceEvent): string {
  return `${JSON.stringify({ tag: 'trace', event })}\n`;
}

const nobody = '0';

const roles: Readonly<Record<Role, string>> = {
  follower: 'StateFollower',
  'pre-candidate': 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
};

/** Of the messages that the specification knows: etcd's type, and the event without its verb. */
const words: Readonly<Partial<Record<Message['type'], readonly [type: string, event: Traced]>>> = {
  append: ['MsgApp', 'AppendEntriesRequest'],
  heartbeat: ['MsgHeartbeat', 'AppendEntriesRequest'],
  snapshot: ['MsgSnap', 'AppendEntriesRequest'],
  'append-reply': ['MsgAppResp', 'AppendEntriesResponse'],
  'heartbeat-reply': ['MsgHeartbeatResp', 'AppendEntriesResponse'],
  vote: ['MsgVote', 'RequestVoteRequest'],
  'vote-reply': ['MsgVoteResp', 'RequestVoteResponse'],
};

type Traced =
  | 'AppendEntriesRequest'
  | 'AppendEntriesResponse'
  | 'RequestVoteRequest'
  | 'RequestVoteResponse';

/** Watches one core from its door and tells `sink` what came of each input. */
export class Tracer {
  readonly #core: Core;
  readonly #sink: (event: TraceEvent) => void;
  #role: Role;
  #term: Term;
  #commit: Index;
  #last: Index;

  constructor(core: Core, sink: (event: TraceEvent) => void) {
    this.#core = core;
    this.#sink = sink;
    this.#role = core.role;
    this.#term = core.term;
    this.#commit = core.log.committed;
    this.#last = core.log.lastIndex();
    this.#tell('InitState');
    this.#tell('BecomeFollower');
  }

  /** Before the core takes it. */
  received(message: Message): void {
    this.#message('Receive', message);
  }

  /** When it leaves the core. */
  sent(message: Message): void {
    this.#message('Send', message);
  }

  /** Tells of every transition since the last look. */
  look(): void {
    const { role, term, log } = this.#core;
    if (role !== this.#role || (term !== this.#term && role !== 'pre-candidate')) {
      this.#role = role;
      this.#term = term;
      if (role === 'leader') this.#tell('BecomeLeader');
      else if (role === 'candidate') this.#tell('BecomeCandidate');
      else if (role === 'follower') this.#tell('BecomeFollower');
    }
    if (role === 'leader' && log.lastIndex() > this.#last) {
      for (const entry of log.entriesFrom(this.#last + 1, Number.POSITIVE_INFINITY)) {
        if (entry.type === 'normal') this.#tell('Replicate');
      }
    }
    this.#last = log.lastIndex();
    if (log.committed === this.#commit) return;
    this.#commit = log.committed;
    this.#tell('Commit');
  }

  ready(): void {
    this.#tell('Ready');
  }

  /** A leader has put `change` into its log. */
  confChangeProposed({ changes }: ConfChange): void {
    const told = changes.flatMap(({ id, type }) => {
      if (type === 'update') return [];
      const action = { 'add-voter': 'AddNewServer', 'add-learner': 'AddLearner' } as const;
      return [{ nid: id, action: type === 'remove' ? 'RemoveServer' : action[type] }];
    });
    if (told.length > 0) this.#tell('ChangeConf', { prop: { cc: { changes: told } } });
  }

  confChangeApplied(): void {
    const newconf = this.#core.tracker.config.voters;
    this.#tell('ApplyConfChange', { prop: { cc: { newconf } } });
  }

  #message(verb: 'Send' | 'Receive', message: Message): void {
    const [type, event] = words[message.type] ?? [];
    if (type === undefined || event === undefined) return;
    this.#tell(`${verb}${event}`, { msg: { ...plain, ...envelope(message), type } });
  }

  #tell(name: TraceName, more: Pick<TraceEvent, 'msg' | 'prop'> = {}): void {
    const { id, term, vote, role, log, tracker } = this.#core;
    const { voters, votersOutgoing } = tracker.config;
    this.#sink({
      name,
      nid: id,
      state: { term, vote: vote ?? nobody, commit: log.committed },
      role: roles[role],
      log: log.lastIndex(),
      conf: [voters, votersOutgoing],
      ...more,
    });
  }
}

const plain = {
  entries: 0,
  logTerm: 0,
  index: 0,
  commit: 0,
  vote: nobody,
  reject: false,
  rejectHint: 0,
} as const;

function envelope(m: Message): Omit<Partial<TraceMessage>, 'type'> & Route {
  const route = { from: m.from, to: m.to, term: m.term };
  switch (m.type) {
    case 'append': {
      const { prevIndex: index, prevTerm: logTerm, commit } = m;
      return { ...route, index, logTerm, commit, entries: m.entries.length };
    }
    case 'heartbeat':
      return { ...route, commit: m.commit };
    case 'snapshot':
      return { ...route, entries: m.snapshot.meta.index };
    case 'append-reply': {
      const { index, rejected: reject, hintIndex: rejectHint, hintTerm: logTerm } = m;
      return { ...route, index, reject, rejectHint, logTerm };
    }
    case 'vote':
      return { ...route, index: m.lastIndex, logTerm: m.lastTerm };
    case 'vote-reply':
      return { ...route, reject: !m.granted };
    default:
      return route;
  }
}

type Route = Pick<TraceMessage, 'from' | 'to' | 'term'>;
