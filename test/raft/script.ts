/**
 * A cluster driven by hand, one command a line, that prints everything it does: which Ready it
 * took, what was sent, delivered and lost. Time stands still except in `pass` and `run`. Election
 * draws are fixed, so that a campaigns before b and b before c.
 */
import { assert, defined } from '../../src/base/assert.ts';
import type { Message } from '../../src/raft/message.ts';
import { type RaftConfig, RawNode, type Ready } from '../../src/raft/rawnode.ts';
import type { ConfChange, MemberChangeType, Millis, NodeId } from '../../src/raft/types.ts';
import { bytes, configFor, decodeChange, encodeChange, lan } from './network.ts';
import { showConfig, showEntries, showMessage } from './script-text.ts';
import { MemoryLog } from './storage.ts';

interface Member {
  readonly id: NodeId;
  readonly disk: MemoryLog;
  raft: RawNode;
  /** Readys whose write has begun and not ended. */
  writing: Ready[];
  slowDisk: boolean;
  up: boolean;
}

type Command = (args: readonly string[]) => void;

export class Script {
  readonly #members = new Map<NodeId, Member>();
  readonly #lossy = new Set<string>();
  #now: Millis = 1_000;
  #wire: Message[] = [];
  /** Copies that the network delivers once more at `let-go`. */
  #kept: Message[] = [];
  #limits: Partial<RaftConfig> = {};
  #lines: string[] = [];
  readonly #commands: Readonly<Record<string, Command>> = {
    limits: (args) => this.#setLimits(args),
    nodes: (args) => this.#addNodes(args),
    node: (args) => this.#addNode(args),
    joiner: ([id]) => this.#add(defined(id, 'id'), new MemoryLog()),
    pass: ([ms]) => this.#pass(Number(ms)),
    run: ([ms]) => this.#run(Number(ms)),
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
    priority: ([id, priority]) => this.#member(id).raft.setPriority(Number(priority)),
    promise: ([id, promiseMs]) =>
      this.#member(id).raft.setTiming({ ...lan, promiseMs: Number(promiseMs) }),
    process: ([id]) => this.#process(this.#member(id)),
    'slow-disk': ([id]) => {
      this.#member(id).slowDisk = true;
    },
    'disk-one': ([id]) => this.#written(this.#member(id)),
    'disk-done': ([id]) => this.#diskDone(this.#member(id)),
    deliver: (args) => this.#deliver(args),
    drop: (args) => this.#drop(args),
    keep: (args) => {
      this.#kept = this.#kept.concat(this.#onWire(args));
    },
    'let-go': () => {
      this.#wire = this.#kept.concat(this.#wire);
      this.#kept = [];
    },
    stabilize: () => this.#stabilize(),
    quietly: (words) => this.#quietly(words),
    lose: (args) => {
      for (const link of args) this.#lossy.add(link);
    },
    heal: () => this.#lossy.clear(),
    kill: ([id]) => {
      this.#member(id).up = false;
    },
    restart: ([id]) => this.#restart(this.#member(id)),
    unreachable: ([id, peer]) =>
      this.#member(id).raft.reportUnreachable(this.#now, defined(peer, 'peer')),
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
    const option = (name: string): string[] => words(args, name);
    const learners = option('learners');
    for (const id of [...voters, ...learners]) {
      this.#add(id, MemoryLog.withTerms({ voters, learners }, ...option('log').map(Number)));
    }
  }

  /** `node b voters=a,b,c log=1,4,4`: one with a log of its own. */
  #addNode([id = '', ...args]: readonly string[]): void {
    const option = (name: string): string[] => words(args, name);
    const members = { voters: option('voters'), learners: option('learners') };
    this.#add(id, MemoryLog.withTerms(members, ...option('log').map(Number)));
  }

  /** `limits maxInflightMessages=2`, for the nodes that are added from then on. */
  #setLimits(args: readonly string[]): void {
    const pairs = args.map((arg) => arg.split('='));
    this.#limits = Object.fromEntries(pairs.map(([name, value]) => [name, Number(value)]));
  }

  #add(id: NodeId, disk: MemoryLog): void {
    const raft = this.#core(id, disk);
    this.#members.set(id, { id, disk, raft, writing: [], slowDisk: false, up: true });
  }

  #core(id: NodeId, disk: MemoryLog): RawNode {
    const draw = (id.charCodeAt(0) - 'a'.charCodeAt(0)) / 10;
    return new RawNode(configFor(id, { rng: () => draw, ...this.#limits }), disk, this.#now);
  }

  #restart(member: Member): void {
    member.writing = [];
    member.slowDisk = false;
    member.up = true;
    member.raft = this.#core(member.id, member.disk);
  }

  #compact(member: Member): void {
    const { applied, config } = member.raft.status(this.#now);
    member.disk.compact(applied, config);
    this.#print(`${member.id} keeps entries from ${member.disk.firstIndex()} on`);
  }

  #up(): Member[] {
    return [...this.#members.values()].filter((member) => member.up);
  }

  /** Time passes for the cores, but not for the wire and the disks. */
  #pass(ms: Millis): void {
    const end = this.#now + ms;
    while (this.#tickUntil(end));
    this.#now = end;
  }

  /** Time passes, and whatever is sent meanwhile arrives at once. */
  #run(ms: Millis): void {
    const end = this.#now + ms;
    while (this.#tickUntil(end)) this.#stabilize();
    this.#now = end;
  }

  /** Goes to the next deadline; false if there is none up to `end`. */
  #tickUntil(end: Millis): boolean {
    const due = Math.min(...this.#up().map((m) => m.raft.nextDeadline()));
    if (due > end) return false;
    this.#now = Math.max(this.#now, due);
    for (const { id, raft } of this.#up()) {
      if (raft.nextDeadline() > this.#now) continue;
      const before = raft.status(this.#now);
      raft.tick(this.#now);
      const after = raft.status(this.#now);
      const moved = before.role !== after.role ? `: ${before.role} to ${after.role}` : '';
      this.#print(`${id} ticks at ${Math.round(this.#now - 1_000)}${moved}`);
    }
    return true;
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

  /** What is on its way to one of `args`, or of a type among them; everything without any. */
  #onWire(args: readonly string[]): Message[] {
    return this.#wire.filter(
      (m) => args.length === 0 || args.includes(m.to) || args.includes(m.type),
    );
  }

  /** `drop append` loses the appends that are under way now. */
  #drop(args: readonly string[]): void {
    const lost = this.#onWire(args);
    this.#wire = this.#wire.filter((m) => !lost.includes(m));
    for (const m of lost) this.#print(`lost: ${showMessage(m)}`);
  }

  /** A command whose trace another script shows. */
  #quietly([name = '', ...args]: readonly string[]): void {
    defined(this.#commands[name], name)(args);
    this.#lines = [];
  }

  /** `deliver b` hands over what is on its way to b, `deliver` everything. */
  #deliver(args: readonly string[]): void {
    const now = this.#onWire(args);
    this.#wire = this.#wire.filter((m) => !now.includes(m));
    for (const m of now) {
      const member = this.#members.get(m.to);
      if (member?.up !== true || this.#lossy.has(`${m.from}>${m.to}`)) {
        this.#print(`lost: ${showMessage(m)}`);
      } else {
        member.raft.step(this.#now, m);
      }
    }
  }

  /** Until nobody has anything to do or to say. */
  #stabilize(): void {
    const busy = (): boolean => this.#wire.length > 0 || this.#up().some((m) => m.raft.hasReady());
    while (busy()) {
      for (const member of this.#up()) this.#process(member);
      this.#deliver([]);
    }
  }

  #status(): void {
    for (const { id, raft } of this.#up()) {
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

/** The words of the option `name` among `args`. */
function words(args: readonly string[], name: string): string[] {
  const found = args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
  return found.split(',').filter((word) => word !== '');
}
