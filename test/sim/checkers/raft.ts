/**
 * Raft's own promises, checked against everything that any node ever did: election safety, leader
 * completeness, log matching, state-machine safety, durability of votes and of what is committed,
 * and that terms and commit indices only grow (Figure 3.2 of Ongaro's dissertation and its kin).
 *
 * The checker is omniscient: it remembers all leaders, all entries and all commits over all
 * incarnations, and it looks at the platters, not at what a process believes to be on them.
 */
import { defined } from '../../../src/base/assert.ts';
import type { LogBatch } from '../../../src/cluster/ports.ts';
import type { Message } from '../../../src/raft/message.ts';
import type {
  Entry,
  HardState,
  Index,
  LeaseView,
  MemberConfig,
  Millis,
  NodeId,
  SnapshotMeta,
  Term,
} from '../../../src/raft/types.ts';
import type { LogImage } from '../log-image.ts';
import { DRIFT_BOUND } from '../options.ts';
import type { World } from '../world.ts';

/** What the checker may see of a node, whether or not its process lives. */
export interface Witnessed {
  readonly id: NodeId;
  readonly platters: LogImage;
  /** The configuration that the node's core has in force; null while it has none. */
  config(): MemberConfig | null;
}

interface KnownEntry {
  readonly hash: number;
  readonly previousTerm: Term | null;
}

interface Memory {
  leading: Term | null;
  commit: Index;
  applied: Index;
  hard: HardState | null;
  config: MemberConfig | null;
  stable: HardState | null;
}

/** Terms stay far below this in a run, so that (index, term) fits one number. */
const TERM_SPAN = 2 ** 20;

interface EchoedPromise {
  readonly promiseMs: Millis;
  /** True time. */
  readonly boundUntil: Millis;
}

export class RaftChecker {
  readonly #world: World;
  readonly #nodes: ReadonlyMap<NodeId, Witnessed>;
  readonly #onCommitted: (entry: Entry) => void;
  readonly #memories = new Map<NodeId, Memory>();
  readonly #leaders = new Map<Term, NodeId>();
  readonly #entries = new Map<number, KnownEntry>();
  /** Term of the committed entry by index, from 1, and the term in which we saw it committed. */
  readonly #committed: Term[] = [0];
  readonly #seenIn: Term[] = [0];
  readonly #grants = new Map<string, NodeId>();
  readonly #stateHashes = new Map<Index, { readonly hash: number; readonly by: NodeId }>();
  readonly #promiseOf = new Map<string, EchoedPromise>();
  /** What each node echoed and is still bound by, over all its incarnations. */
  readonly #owed = new Map<NodeId, readonly EchoedPromise[]>();

  /** @param onCommitted called with each entry, in order, when it is first committed anywhere. */
  constructor(
    world: World,
    nodes: ReadonlyMap<NodeId, Witnessed>,
    onCommitted: (entry: Entry) => void,
  ) {
    this.#world = world;
    this.#nodes = nodes;
    this.#onCommitted = onCommitted;
  }

  /** The highest index that any node ever knew to be committed. */
  get committedIndex(): Index {
    return this.#committed.length - 1;
  }

  /** The cluster begins with this much committed, on the disks of its first members. */
  foundedOn(meta: SnapshotMeta): void {
    for (let index = 1; index <= meta.index; index++) {
      this.#committed[index] = meta.term;
      this.#seenIn[index] = meta.term;
    }
  }

  /** A new incarnation begins: what only its memory knew may be forgotten, the platters may not. */
  started(node: Witnessed): void {
    const before = this.#memory(node.id);
    this.#memories.set(node.id, {
      leading: null,
      commit: 0,
      applied: 0,
      hard: null,
      config: null,
      stable: before.stable,
    });
  }

  /** Somebody set the disk of `node` back: what it held since is gone, and nobody will say so. */
  rolledBack(node: Witnessed): void {
    this.#memory(node.id).stable = null;
  }

  /**
   * The log of `node` begins anew behind all that it held: its word is now what was committed, and
   * nobody else's counts.
   */
  began(node: Witnessed, meta: SnapshotMeta): void {
    this.#committed.length = Math.min(this.#committed.length, meta.index);
    for (let index = this.#committed.length; index <= meta.index; index++) {
      this.#committed[index] = meta.term;
    }
    this.#committed[meta.index] = meta.term;
    for (let index = 0; index <= meta.index; index++) this.#seenIn[index] = 0;
    this.#leaders.clear();
    this.#grants.clear();
    this.#promiseOf.clear();
    this.#entries.clear();
    for (const index of [...this.#stateHashes.keys()]) {
      if (index >= meta.index) this.#stateHashes.delete(index);
    }
    this.#memories.delete(node.id);
  }

  lease(node: Witnessed, lease: LeaseView, memory: LogImage): void {
    const mind = this.#memory(node.id);
    if (lease.role !== 'leader') {
      mind.leading = null;
      return;
    }
    if (mind.leading === lease.term) return;
    mind.leading = lease.term;
    const other = this.#leaders.get(lease.term);
    if (other !== undefined && other !== node.id) {
      this.#fail('election-safety', `${other} and ${node.id} both lead term ${lease.term}`);
    }
    this.#leaders.set(lease.term, node.id);
    const { term, vote } = node.platters.hard;
    if (term < lease.term || (term === lease.term && vote !== node.id)) {
      this.#fail(
        'own-vote-durable',
        `${node.id} leads ${lease.term}, its disk says ${term}/${vote}`,
      );
    }
    this.#checkCompleteness(node.id, lease.term, memory);
  }

  issuing(node: Witnessed, batch: LogBatch, before: LogImage): void {
    if (batch.hard !== undefined) this.#checkHard(node.id, batch.hard);
    for (const entry of batch.entries) {
      const held = before.term(entry.index);
      const final = this.#committed[entry.index];
      if (held !== undefined && held === final && entry.term !== final) {
        const was = `${entry.index}/${held}`;
        this.#fail('committed-is-final', `${node.id} replaces ${was} by term ${entry.term}`);
      }
    }
  }

  issued(node: Witnessed, batch: LogBatch, after: LogImage): void {
    for (const entry of batch.entries) this.#checkEntry(node.id, entry, after);
    if (batch.entries.some((entry) => entry.type === 'conf-change')) {
      this.#checkPendingChanges(node.id, after);
    }
    const mind = this.#memory(node.id);
    const commit = batch.hard?.commit ?? mind.commit;
    if (commit > mind.commit) this.#committedTo(node, mind, commit, after);
  }

  stable(node: Witnessed): void {
    const mind = this.#memory(node.id);
    const now = node.platters.hard;
    const before = mind.stable;
    if (before !== null) {
      const forgot = now.term === before.term && before.vote !== null && now.vote !== before.vote;
      if (now.term < before.term || forgot) {
        const change = `${JSON.stringify(before)} to ${JSON.stringify(now)}`;
        this.#fail('durable-state-grows', `${node.id} goes from ${change}`);
      }
    }
    mind.stable = now;
    this.#checkOwed(node.id, now);
  }

  /** Called for each message as it leaves the host. */
  sent(node: Witnessed, message: Message): void {
    const { hard } = node.platters;
    switch (message.type) {
      case 'vote-reply':
        if (message.granted) this.#checkGrant(node.id, message.term, message.to, hard);
        break;
      case 'append-reply':
        // In a later term the acknowledged entries may have been replaced since; that is no lie.
        if (message.rejected || hard.term > message.term) break;
        if (hard.term < message.term || node.platters.lastIndex() < message.index) {
          const held = `${node.platters.lastIndex()} in term ${hard.term}`;
          this.#fail(
            'ack-is-durable',
            `${node.id} acknowledges ${message.index} in ${message.term}, its disk has ${held}`,
          );
        }
        break;
      case 'heartbeat':
        this.#promiseOf.set(round(message.from, message), {
          promiseMs: message.promiseMs,
          // Counted by the fastest clock, from before anybody heard of it.
          boundUntil: this.#world.now + message.promiseMs / (1 + DRIFT_BOUND),
        });
        break;
      case 'heartbeat-reply': {
        const promise = this.#promiseOf.get(round(message.to, message));
        if (promise === undefined) break;
        this.#owed.set(node.id, [...(this.#owed.get(node.id) ?? []), promise]);
        this.#checkOwed(node.id, hard);
        break;
      }
      default:
        break;
    }
  }

  /** `hash` is over the whole replicated state once everything up to `index` is applied. */
  applied(node: Witnessed, index: Index, hash: number): void {
    if (index > this.committedIndex) {
      this.#fail(
        'applied-is-committed',
        `${node.id} applied ${index} beyond ${this.committedIndex}`,
      );
    }
    const mind = this.#memory(node.id);
    if (index < mind.applied) {
      this.#fail('applied-grows', `${node.id} goes from ${mind.applied} back to ${index}`);
    }
    mind.applied = index;
    // What a joiner was told when it was admitted is nobody's log.
    if (index === 0) return;
    const known = this.#stateHashes.get(index);
    if (known === undefined) this.#stateHashes.set(index, { hash, by: node.id });
    else if (known.hash !== hash) {
      this.#fail('state-machine-safety', `${node.id} and ${known.by} differ after entry ${index}`);
    }
  }

  #committedTo(node: Witnessed, mind: Memory, commit: Index, log: LogImage): void {
    const known = this.committedIndex;
    const first = Math.max(mind.commit + 1, log.firstIndex() - 1, 1);
    for (let index = first; index <= commit; index++) {
      const term = log.term(index);
      if (term === undefined) {
        this.#fail('commit-is-held', `${node.id} commits ${index}, which its log lacks`);
        return;
      }
      const final = this.#committed[index];
      if (final !== undefined && final !== term) {
        const terms = `terms ${final} and ${term}`;
        this.#fail('state-machine-safety', `entry ${index} was committed with ${terms}`);
      }
    }
    if (commit > known) this.#newlyCommitted(node, mind, known, commit, log);
    mind.commit = commit;
    mind.config = node.config();
  }

  #newlyCommitted(node: Witnessed, mind: Memory, known: Index, commit: Index, log: LogImage): void {
    const seenIn = mind.hard?.term ?? 0;
    for (let index = known + 1; index <= commit; index++) {
      this.#committed[index] = defined(log.term(index), 'the term of a committed entry');
      this.#seenIn[index] = seenIn;
      const entry = log.entry(index);
      if (entry !== undefined) this.#onCommitted(entry);
    }
    const term = log.term(commit) ?? 0;
    if (term !== seenIn) {
      const entry = `${commit}/${term}`;
      this.#fail(
        'commits-in-own-term',
        `${node.id} counts ${entry} as committed in term ${seenIn}`,
      );
    }
    const configs = [mind.config, node.config()].filter((config) => config !== null);
    if (configs.length > 0 && !configs.some((config) => this.#onQuorum(config, commit, term))) {
      this.#fail('committed-is-durable', `${commit}/${term} is not on a quorum's platters`);
    }
  }

  #onQuorum(config: MemberConfig, index: Index, term: Term): boolean {
    const holds = (id: NodeId): boolean => {
      const platters = this.#nodes.get(id)?.platters;
      if (platters === undefined) return false;
      return platters.snapshot().meta.index >= index || platters.term(index) === term;
    };
    const majority = (voters: readonly NodeId[]): boolean =>
      voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
    return majority(config.voters) && majority(config.votersOutgoing);
  }

  #checkCompleteness(id: NodeId, term: Term, log: LogImage): void {
    const first = log.firstIndex() - 1;
    for (let index = Math.max(first, 1); index <= this.committedIndex; index++) {
      if ((this.#seenIn[index] ?? 0) >= term) break;
      const held = log.term(index);
      if (held !== this.#committed[index]) {
        const entry = `${index}/${this.#committed[index]}`;
        this.#fail('leader-completeness', `${id} leads ${term} without ${entry} (has ${held})`);
        return;
      }
    }
  }

  #checkEntry(id: NodeId, entry: Entry, log: LogImage): void {
    const key = entry.index * TERM_SPAN + entry.term;
    const hash = bytesHash(entry.data, entry.type === 'normal' ? 1 : 2);
    const previousTerm = log.term(entry.index - 1) ?? null;
    const known = this.#entries.get(key);
    if (known === undefined) this.#entries.set(key, { hash, previousTerm });
    else if (known.hash !== hash || known.previousTerm !== previousTerm) {
      this.#fail('log-matching', `${id} has another ${entry.index}/${entry.term} than somebody`);
    }
  }

  #checkPendingChanges(id: NodeId, log: LogImage): void {
    let pending = 0;
    for (let index = this.committedIndex + 1; index <= log.lastIndex(); index++) {
      if (log.entry(index)?.type === 'conf-change') pending++;
    }
    if (pending > 1) this.#fail('one-change-at-a-time', `${id} holds ${pending} open changes`);
  }

  #checkHard(id: NodeId, hard: HardState): void {
    const mind = this.#memory(id);
    const before = mind.hard;
    mind.hard = hard;
    if (before === null) return;
    const changedVote =
      hard.term === before.term && before.vote !== null && hard.vote !== before.vote;
    if (hard.term < before.term || hard.commit < before.commit || changedVote) {
      const change = `${JSON.stringify(before)} to ${JSON.stringify(hard)}`;
      this.#fail('hard-state-grows', `${id} goes from ${change}`);
    }
  }

  /** Rule R2: a node that starts anew waits as long as what it echoed binds it. */
  #checkOwed(id: NodeId, hard: HardState): void {
    const owed = (this.#owed.get(id) ?? []).filter((it) => it.boundUntil > this.#world.now);
    this.#owed.set(id, owed);
    const longest = Math.max(0, ...owed.map(({ promiseMs }) => promiseMs));
    if (hard.promiseMaxMs >= longest) return;
    const kept = hard.promiseMaxMs;
    this.#fail('promise-is-durable', `${id} promised ${longest}, its disk says ${kept}`);
  }

  #checkGrant(id: NodeId, term: Term, candidate: NodeId, hard: HardState): void {
    const key = `${id}/${term}`;
    const earlier = this.#grants.get(key);
    if (earlier !== undefined && earlier !== candidate) {
      this.#fail('one-vote-a-term', `${id} grants ${term} to ${earlier} and to ${candidate}`);
    }
    this.#grants.set(key, candidate);
    if (hard.term < term || (hard.term === term && hard.vote !== candidate)) {
      const stored = `${hard.term}/${hard.vote}`;
      this.#fail('vote-is-durable', `${id} grants ${term} to ${candidate}, disk says ${stored}`);
    }
  }

  #memory(id: NodeId): Memory {
    const known = this.#memories.get(id);
    if (known !== undefined) return known;
    const fresh = {
      leading: null,
      commit: 0,
      applied: 0,
      hard: null,
      config: null,
      stable: null,
    };
    this.#memories.set(id, fresh);
    return fresh;
  }

  #fail(rule: string, message: string): void {
    this.#world.fail(rule, message);
  }
}

function round(leader: NodeId, message: { readonly term: Term; readonly round: number }): string {
  return `${leader}/${message.term}/${message.round}`;
}

/** FNV-1a. */
export function bytesHash(bytes: Uint8Array, salt = 0): number {
  let hash = 0x811c9dc5 ^ salt;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
