/**
 * A cluster driven by hand, one command a line, that prints everything it does: which Ready it
 * took, what was sent, delivered and lost. Time stands still except in `pass`. Election draws are
 * fixed, so that a campaigns before b and b before c.
 */
import { assert, defined, unreachable } from '../../src/base/assert.ts';
import type { Message, Release } from '../../src/raft/message.ts';
import { RawNode, type Ready } from '../../src/raft/rawnode.ts';
import type { ConfChange, Entry, MemberChangeType, Millis, NodeId } from '../../src/raft/types.ts';
import { bytes, configFor, decodeChange, encodeChange, text } from './network.ts';
import { MemoryLog } from './storage.ts';

interface Member {
  readonly id: NodeId;
  readonly disk: MemoryLog;
  raft: RawNode;
  /** Readys whose write has begun and not ended. */
  writing: Ready[];
  slowDisk: boolean;
}

type Command = (args: readonly string[]) => void;

export class Script {
  readonly #members = new Map<NodeId, Member>();
  readonly #lossy = new Set<string>();
  #now: Millis = 1_000;
  #wire: Message[] = [];
  #lines: string[] = [];
  readonly #commands: Readonly<Record<string, Command>> = {
    nodes: (args) => this.#addNodes(args),
    joiner: ([id]) => this.#add(defined(id, 'id'), new MemoryLog()),
    pass: ([ms]) => this.#pass(Number(ms)),
    campaign: ([id]) => this.#member(id).raft.campaign(this.#now),
    propose: ([id, payload]) => this.#propose(id, payload ?? ''),
    change: ([id, mode, ...words]) => this.#change(id, mode, words),
    transfer: ([id, to]) => this.#transfer(id, to),
    release: ([id]) => this.#member(id).raft.releaseLease(this.#now),
    read: ([id, context]) => this.#read(id, Number(context)),
    eligible: ([id, reason]) =>
      this.#member(id).raft.setEligibility({
        eligible: reason === undefined,
        reason: reason ?? '',
      }),
    process: ([id]) => this.#process(this.#member(id)),
    'slow-disk': ([id]) => {
      this.#member(id).slowDisk = true;
    },
    'disk-done': ([id]) => this.#diskDone(this.#member(id)),
    deliver: (args) => this.#deliver(args),
    stabilize: () => this.#stabilize(),
    lose: (args) => {
      for (const link of args) this.#lossy.add(link);
    },
    heal: () => this.#lossy.clear(),
    restart: ([id]) => this.#restart(this.#member(id)),
    compact: ([id]) => this.#compact(this.#member(id)),
    'snapshot-sent': ([id, to, ok]) =>
      this.#member(id).raft.reportSnapshot(defined(to, 'to'), ok !== 'failed'),
    status: () => this.#status(),
    log: ([id]) => this.#log(this.#member(id)),
  };

  /** Runs one command; what it printed. */
  run(line: string): string {
    this.#lines = [];
    const [name = '', ...args] = line.split(/\s+/);
    const command = this.#commands[name];
    assert(command !== undefined, `no command ${name}`);
    command(args);
    return this.#lines.length === 0 ? 'ok' : this.#lines.join('\n');
  }

  #print(line: string): void {
    this.#lines.push(line);
  }

  #member(id: NodeId | undefined): Member {
    return defined(this.#members.get(id ?? ''), `node ${id}`);
  }

  /** `nodes a b c learners=d log=1,1,2` */
  #addNodes(args: readonly string[]): void {
    const voters = args.filter((arg) => !arg.includes('='));
    const option = (name: string): string[] =>
      (args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? '')
        .split(',')
        .filter((word) => word !== '');
    const learners = option('learners');
    for (const id of [...voters, ...learners]) {
      this.#add(id, MemoryLog.withTerms({ voters, learners }, ...option('log').map(Number)));
    }
  }

  #add(id: NodeId, disk: MemoryLog): void {
    this.#members.set(id, { id, disk, raft: this.#core(id, disk), writing: [], slowDisk: false });
  }

  #core(id: NodeId, disk: MemoryLog): RawNode {
    const draw = (id.charCodeAt(0) - 'a'.charCodeAt(0)) / 10;
    return new RawNode(configFor(id, { rng: () => draw }), disk, this.#now);
  }

  #restart(member: Member): void {
    member.writing = [];
    member.raft = this.#core(member.id, member.disk);
  }

  #compact(member: Member): void {
    const { applied, config } = member.raft.status(this.#now);
    member.disk.compact(applied, config);
    this.#print(`${member.id} keeps entries from ${member.disk.firstIndex()} on`);
  }

  #pass(ms: Millis): void {
    const end = this.#now + ms;
    for (;;) {
      const due = Math.min(...[...this.#members.values()].map((m) => m.raft.nextDeadline()));
      if (due > end) break;
      this.#now = Math.max(this.#now, due);
      for (const { id, raft } of this.#members.values()) {
        if (raft.nextDeadline() > this.#now) continue;
        const before = raft.status(this.#now);
        raft.tick(this.#now);
        const after = raft.status(this.#now);
        const moved = before.role !== after.role ? `: ${before.role} to ${after.role}` : '';
        this.#print(`${id} ticks at ${Math.round(this.#now - 1_000)}${moved}`);
      }
    }
    this.#now = end;
  }

  #propose(id: NodeId | undefined, payload: string): void {
    const result = this.#member(id).raft.propose(bytes(payload));
    this.#print(result.ok ? `entry ${result.term}/${result.index}` : `refused: ${result.reason}`);
  }

  /** `change a joint v:d r:b` */
  #change(id: NodeId | undefined, mode: string | undefined, words: readonly string[]): void {
    assert(mode === 'simple' || mode === 'joint' || mode === 'leave', `no mode ${mode}`);
    const types: Record<string, MemberChangeType> = {
      v: 'add-voter',
      l: 'add-learner',
      r: 'remove',
    };
    const changes = words.map((word) => ({
      type: defined(types[word[0] ?? ''], word),
      id: word.slice(2),
    }));
    const change: ConfChange = { mode, changes };
    const result = this.#member(id).raft.proposeConfChange(change, encodeChange(change));
    if (result.ok) this.#print(`entry ${result.term}/${result.index}`);
    else this.#print(`refused: ${result.reason}${result.detail ? `: ${result.detail}` : ''}`);
  }

  #transfer(id: NodeId | undefined, to: NodeId | undefined): void {
    const result = this.#member(id).raft.transferLeader(this.#now, defined(to, 'to'));
    if (!result.ok) this.#print(`refused: ${result.reason}`);
  }

  #read(id: NodeId | undefined, context: number): void {
    const result = this.#member(id).raft.readIndex(context);
    if (!result.ok) this.#print(`refused: ${result.reason}`);
  }

  /** The driver's order of one Ready; with a slow disk the second half waits for `disk-done`. */
  #process(member: Member): void {
    while (member.raft.hasReady()) {
      const ready = member.raft.ready(this.#now);
      this.#printReady(member, ready);
      this.#send(ready.messages);
      member.writing.push(ready);
      if (!member.slowDisk) this.#written(member);
    }
  }

  #written(member: Member): void {
    const ready = defined(member.writing.shift(), 'a write under way');
    member.disk.write(ready);
    this.#send(ready.afterAppend);
    member.raft.advance(this.#now);
    for (const entry of ready.committed) {
      if (entry.type !== 'conf-change') continue;
      const config = member.raft.applyConfChange(this.#now, decodeChange(entry.data));
      this.#print(`  ${member.id} now counts ${showConfig(config)}`);
    }
  }

  #diskDone(member: Member): void {
    member.slowDisk = false;
    while (member.writing.length > 0) this.#written(member);
    this.#process(member);
  }

  #printReady({ id }: Member, ready: Ready): void {
    const parts = [`${id} ${ready.lease.role} ${ready.lease.term}`];
    if (ready.hard !== undefined) {
      const { term, vote, commit, promiseMaxMs } = ready.hard;
      parts.push(`hard term ${term} vote ${vote ?? '-'} commit ${commit} promised ${promiseMaxMs}`);
    }
    if (ready.snapshot !== undefined) parts.push(`snapshot ${ready.snapshot.meta.index}`);
    if (ready.entries.length > 0) parts.push(`entries ${showEntries(ready.entries)}`);
    if (ready.mustSync) parts.push('sync');
    if (ready.committed.length > 0) parts.push(`apply ${showEntries(ready.committed)}`);
    if (ready.readStates.length > 0) parts.push(`reads ${ready.readStates.map((r) => r.context)}`);
    if (ready.failedReads.length > 0) parts.push(`failed reads ${ready.failedReads}`);
    if (ready.lease.deadline > 0) parts.push(`lease until ${ready.lease.deadline - 1_000}`);
    if (ready.lease.wantsRelease) parts.push('wants release');
    this.#print(parts.join(' | '));
    for (const m of ready.messages) this.#print(`  ${showMessage(m)}`);
    for (const m of ready.afterAppend) this.#print(`  when durable: ${showMessage(m)}`);
  }

  #send(messages: readonly Message[]): void {
    this.#wire.push(...messages);
  }

  /** `deliver b` hands over what is on its way to b, `deliver` everything. */
  #deliver(to: readonly string[]): void {
    const now = this.#wire.filter((m) => to.length === 0 || to.includes(m.to));
    this.#wire = this.#wire.filter((m) => !now.includes(m));
    for (const m of now) {
      const member = this.#members.get(m.to);
      if (member === undefined || this.#lossy.has(`${m.from}>${m.to}`)) {
        this.#print(`lost: ${showMessage(m)}`);
      } else {
        member.raft.step(this.#now, m);
      }
    }
  }

  /** Until nobody has anything to do or to say. */
  #stabilize(): void {
    const busy = (): boolean =>
      this.#wire.length > 0 || [...this.#members.values()].some((m) => m.raft.hasReady());
    while (busy()) {
      for (const member of this.#members.values()) this.#process(member);
      this.#deliver([]);
    }
  }

  #status(): void {
    for (const { id, raft } of this.#members.values()) {
      const { role, term, leader, commit, lastIndex, promiseRemainingMs } = raft.status(this.#now);
      const owes = promiseRemainingMs > 0 ? `, owes ${promiseRemainingMs} ms` : '';
      this.#print(
        `${id} ${role} ${term}, leader ${leader ?? '-'}, commit ${commit} of ${lastIndex}${owes}`,
      );
      for (const peer of raft.status(this.#now).peers) {
        this.#print(`  ${peer.id} ${peer.state}, match ${peer.match}, next ${peer.next}`);
      }
    }
  }

  #log({ disk }: Member): void {
    const { index, term } = disk.snapshot().meta;
    this.#print(`snapshot ${term}/${index}, entries ${showEntries(disk.all())}`);
  }
}

function showConfig(config: ReturnType<RawNode['applyConfChange']>): string {
  const outgoing = config.votersOutgoing.length > 0 ? ` and ${config.votersOutgoing}` : '';
  const learners = config.learners.length > 0 ? `, learners ${config.learners}` : '';
  return `${config.voters}${outgoing}${learners}`;
}

function showEntries(entries: readonly Entry[]): string {
  return `[${entries.map(showEntry).join(' ')}]`;
}

function showEntry({ index, term, type, data }: Entry): string {
  const what = type === 'conf-change' ? ':change' : data.length > 0 ? `:${text(data)}` : '';
  return `${term}/${index}${what}`;
}

function showMessage(m: Message): string {
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
