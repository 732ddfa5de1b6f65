/**
 * The network between hosts: every message takes its own time, may be lost, doubled or overtaken,
 * and arrives at whichever incarnation of the receiver lives then. Links fail by direction, so that
 * one-way cuts, partitions and bridges are all sets of cut links.
 */
import type { Millis } from '../../src/base/clock.ts';
import type { Prng } from '../../src/base/prng.ts';
import type { Message } from '../../src/raft/message.ts';
import type { NodeId } from '../../src/raft/types.ts';
import type { World } from './world.ts';

export interface NetTiming {
  readonly minMs: Millis;
  /** Mean of the exponential part of the delay. */
  readonly meanMs: Millis;
  /** How often a message is held up for up to `tailMs`. */
  readonly tailChance: number;
  readonly tailMs: Millis;
  readonly lossChance: number;
  readonly duplicateChance: number;
}

export const calmNet: NetTiming = {
  minMs: 0.1,
  meanMs: 0.3,
  tailChance: 0,
  tailMs: 0,
  lossChance: 0,
  duplicateChance: 0,
};

/** After this a sender gives a snapshot up that the link swallowed. */
const SNAPSHOT_TIMEOUT_MS = 100;
/** How many messages are remembered, to come again when their time has long passed. */
const REMEMBERED = 256;

export interface NetCounters {
  sent: number;
  delivered: number;
  lost: number;
}

export class SimNet {
  readonly counters: NetCounters = { sent: 0, delivered: 0, lost: 0 };
  readonly #world: World;
  readonly #random: Prng;
  readonly #cut = new Set<string>();
  readonly #slow = new Map<string, Millis>();
  /** The newest messages, the oldest overwritten first. */
  readonly #past: Message[] = [];
  #onSnapshot: (() => void) | null = null;
  #timing: NetTiming;
  #deliver: (message: Message) => void = () => undefined;
  #snapshotResult: (message: Message, ok: boolean) => void = () => undefined;

  constructor(world: World, timing: NetTiming) {
    this.#world = world;
    this.#random = world.random('net');
    this.#timing = timing;
  }

  /** Who gets what arrives. */
  onDelivery(deliver: (message: Message) => void): void {
    this.#deliver = deliver;
  }

  /** Who hears, as the sender's transport does, whether a snapshot got through. */
  onSnapshotResult(tell: (message: Message, ok: boolean) => void): void {
    this.#snapshotResult = tell;
  }

  setTiming(timing: NetTiming): void {
    this.#timing = timing;
  }

  /** Cuts the direction `from` → `to`; what is under way is lost too. */
  cut(from: NodeId, to: NodeId): void {
    this.#cut.add(link(from, to));
  }

  restore(from: NodeId, to: NodeId): void {
    this.#cut.delete(link(from, to));
  }

  restoreAll(): void {
    this.#cut.clear();
    this.#slow.clear();
  }

  /** Messages `from` → `to` take up to `ms` longer; 0 ends it. */
  slow(from: NodeId, to: NodeId, ms: Millis): void {
    if (ms === 0) this.#slow.delete(link(from, to));
    else this.#slow.set(link(from, to), ms);
  }

  /** Calls back once, when the next snapshot leaves. */
  onNextSnapshot(call: () => void): void {
    this.#onSnapshot = call;
  }

  /** Messages of the past from or to `host`, oldest first. */
  past(host: NodeId): readonly Message[] {
    const split = this.counters.sent % REMEMBERED;
    const inOrder = [...this.#past.slice(split), ...this.#past.slice(0, split)];
    return inOrder.filter((message) => message.from === host || message.to === host);
  }

  /** Delivers a message of the past once more, whatever it was about. */
  sendAgain(message: Message): void {
    this.#carry(message);
  }

  isCut(from: NodeId, to: NodeId): boolean {
    return this.#cut.has(link(from, to));
  }

  send(message: Message): void {
    this.#past[this.counters.sent % REMEMBERED] = message;
    this.counters.sent++;
    if (message.type === 'snapshot') this.#snapshotLeaves();
    this.#carry(message);
    if (this.#random() < this.#timing.duplicateChance) this.#carry(message);
  }

  #carry(message: Message): void {
    if (this.#random() < this.#timing.lossChance || this.isCut(message.from, message.to)) {
      this.#lost(message);
      return;
    }
    this.#world.after(this.#delay(message), () => {
      if (this.isCut(message.from, message.to)) {
        this.#lost(message);
        return;
      }
      this.counters.delivered++;
      if (message.type === 'snapshot') this.#snapshotResult(message, true);
      if (isRare(message)) this.#world.note(message.to, `<- ${message.from} ${describe(message)}`);
      this.#deliver(message);
    });
  }

  #lost(message: Message): void {
    this.counters.lost++;
    if (message.type !== 'snapshot') return;
    this.#world.after(SNAPSHOT_TIMEOUT_MS, () => this.#snapshotResult(message, false));
  }

  #snapshotLeaves(): void {
    const call = this.#onSnapshot;
    this.#onSnapshot = null;
    call?.();
  }

  #delay({ from, to }: Message): Millis {
    const { minMs, meanMs, tailChance, tailMs } = this.#timing;
    const slow = this.#slow.size === 0 ? 0 : (this.#slow.get(link(from, to)) ?? 0);
    const held = slow === 0 ? 0 : slow * this.#random();
    const usual = minMs - Math.log(1 - this.#random()) * meanMs + held;
    return this.#random() < tailChance ? usual + tailMs * this.#random() : usual;
  }
}

/** Heartbeats and empty appends would drown the rest. */
function isRare(message: Message): boolean {
  return !message.type.startsWith('heartbeat') && !message.type.startsWith('append');
}

function describe(message: Message): string {
  const { type, term } = message;
  switch (type) {
    case 'vote':
    case 'pre-vote': {
      const released = message.release === null ? '' : ` released ${message.release.term}`;
      return `${type} ${term}, log ${message.lastIndex}/${message.lastTerm}${released}`;
    }
    case 'vote-reply':
    case 'pre-vote-reply': {
      const owes = message.promiseRemainingMs > 0 ? `, owes ${message.promiseRemainingMs}` : '';
      return `${type} ${term} ${message.granted ? 'granted' : 'refused'}${owes}`;
    }
    case 'snapshot':
      return `${type} ${term} at ${message.snapshot.meta.index}`;
    default:
      return `${type} ${term}`;
  }
}

function link(from: NodeId, to: NodeId): string {
  return `${from}>${to}`;
}
