/**
 * Carries the connections of all lanes (a lane is one frontend's way through this process): accepts
 * clients, chooses a backend, connects, on failure tries the next, each once, and moves bytes until
 * both sides have said all. A client is never kept waiting for a backend that is known to be dead,
 * and never dropped while another one could serve it.
 *
 * It runs on a thread of its own that does nothing else, turn after turn: whatever the kernel has
 * to tell, then whatever has waited too long. Its order makes timeouts fair after a pause: what
 * arrived meanwhile is seen before anybody is blamed for silence.
 */
import { defined } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import type { FromCarrier, LaneBackend, LaneCounters, LanePlan } from './carrier-protocol.ts';
import { Ducts } from './ducts.ts';
import type { ConnectFailure } from './health.ts';
import {
  flush,
  isWaiting,
  type Means,
  newSide,
  type Progress,
  pump,
  release,
  type Side,
} from './relay.ts';
import { createPicker, type Picker, pick, withCandidates } from './scheduler.ts';
import {
  type Fd,
  type Poller,
  Readiness,
  type SocketAddress,
  type StreamSockets,
  WOULD_BLOCK,
} from './sockets.ts';

/** For a backend while another one could be tried: silence costs the client no more than this. */
export const CONNECT_TIMEOUT_MS: Millis = 300;
/** For the last one left: long enough for one lost SYN to be sent again (RFC 6298: 1 s). */
export const FINAL_CONNECT_TIMEOUT_MS: Millis = 1_500;
/** Clients taken from one door before other sockets have their turn. */
const ACCEPTS_PER_TURN = 64;
/** The kernel refuses to open another descriptor: a door is looked at again after this. */
const SHORTAGE_MS: Millis = 100;
/** Several counts within this time make one message. */
const COUNT_MS: Millis = 20;
/** Of the buffer that all connections share: what fits the processor's cache. */
const BUFFER_BYTES = 128 * 1024;

/** Of events that are about no connection. */
const DOOR_TAG = 0;

/** Errors of this host, which say nothing about the backend. */
const LOCAL_ERRORS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EADDRNOTAVAIL',
]);

export interface CarrierParts {
  readonly clock: Clock;
  readonly sockets: StreamSockets;
  readonly maxConnections: number;
  readonly tell: (message: FromCarrier) => void;
  /** The poller tells of a descriptor that is no socket of the carrier's. */
  readonly woken: () => void;
}

/** One backend of a lane, for as long as it is planned or connected. */
interface Target extends LaneBackend {
  readonly to: SocketAddress;
  readonly load: { open: number; total: number };
}

interface Lane {
  readonly id: number;
  door: Fd | null;
  picker: Picker;
  targets: ReadonlyMap<string, Target>;
  /** Connections by backend, also of those that are planned no more. */
  readonly loads: Map<string, { open: number; total: number }>;
  readonly links: Set<Link>;
  readonly counters: { -readonly [name in keyof LaneCounters]: number };
  /** Counts have changed since they were told. */
  changed: boolean;
  left: boolean;
}

/** A client with the backend that serves it, or is to. */
interface Link {
  readonly lane: Lane;
  readonly client: Side;
  /** Null while no attempt is under way. */
  upstream: Side | null;
  target: Target | null;
  connected: boolean;
  readonly tried: Set<string>;
}

interface Attempt {
  readonly link: Link;
  readonly upstream: Side;
  readonly at: Millis;
  readonly timeoutMs: Millis;
}

export class Carrier {
  readonly #parts: CarrierParts;
  readonly #sockets: StreamSockets;
  readonly #poller: Poller;
  readonly #lanes = new Map<number, Lane>();
  readonly #doors = new Map<Fd, Lane>();
  /** By descriptor; the tag of an event must match, or it is about a former socket. */
  readonly #links: (Link | undefined)[] = [];
  readonly #tags: number[] = [];
  #nextTag = 1;
  readonly #means: Means;
  /** Connections under way, oldest first for each timeout. */
  readonly #attempts: ReadonlyMap<Millis, Attempt[]> = new Map([
    [CONNECT_TIMEOUT_MS, []],
    [FINAL_CONNECT_TIMEOUT_MS, []],
  ]);
  /** Sides that have more to say than one turn's worth. */
  #again: { readonly link: Link; readonly from: Side }[] = [];
  readonly #shortDoors: { readonly lane: Lane; readonly door: Fd; readonly at: Millis }[] = [];
  #open = 0;
  #countsDueAt: Millis = Number.POSITIVE_INFINITY;

  /** @param poller which the caller may watch for what wakes it, too. */
  constructor(poller: Poller, parts: CarrierParts) {
    this.#poller = poller;
    this.#parts = parts;
    this.#sockets = parts.sockets;
    const { sockets } = parts;
    const ducts = new Ducts(() => sockets.createDuct());
    this.#means = { sockets, buffer: new Uint8Array(BUFFER_BYTES), ducts };
  }

  plan(id: number, plan: LanePlan): void {
    const lane = this.#lanes.get(id) ?? this.#newLane(id, plan);
    const targets = new Map<string, Target>();
    for (const backend of plan.backends) {
      const { name, address, port } = backend;
      const load = lane.loads.get(name) ?? { open: 0, total: 0 };
      lane.loads.set(name, load);
      const to = this.#sockets.addressOf(address, port);
      targets.set(name, { ...backend, to, load });
    }
    lane.targets = targets;
    const { scheduler, candidates } = lane.picker;
    const same = scheduler === plan.scheduler;
    const picker = same ? lane.picker : createPicker(plan.scheduler, candidates);
    lane.picker = withCandidates(picker, plan.backends);
  }

  open(id: number, door: Fd): void {
    const lane = this.#lane(id);
    this.#shut(lane);
    lane.door = door;
    this.#doors.set(door, lane);
    this.#poller.watchDoor(door, DOOR_TAG);
  }

  shut(id: number): void {
    this.#shut(this.#lane(id));
  }

  /** Resets every client of the lane; nothing where it is forgotten already. */
  reset(id: number): void {
    for (const link of [...(this.#lanes.get(id)?.links ?? [])]) this.#end(link, 'failed');
  }

  /** Resets the clients of the lane that are connected to this backend. */
  sever(id: number, backend: string): void {
    for (const link of [...(this.#lanes.get(id)?.links ?? [])]) {
      if (link.connected && link.target?.name === backend) this.#end(link, 'failed');
    }
  }

  /** The lane is forgotten with its last client, which is told. */
  leave(id: number): void {
    const lane = this.#lane(id);
    this.#shut(lane);
    lane.left = true;
    this.#count(lane);
  }

  /** Ends everything. */
  close(): void {
    for (const lane of this.#lanes.values()) {
      this.#shut(lane);
      for (const link of [...lane.links]) this.#end(link, 'failed');
    }
  }

  /** One turn; waits `maxMs` at most for something to happen. */
  turn(maxMs: Millis): void {
    this.#poller.wait(this.#patienceMs(maxMs), (fd, tag, readiness) => {
      if (tag === DOOR_TAG) {
        // Also of doors that are closed: until a program that is being started has let go of them.
        const lane = this.#doors.get(fd);
        if (lane === undefined) this.#parts.woken();
        else this.#accept(lane, fd);
      } else if (this.#tags[fd] === tag) {
        this.#moved(defined(this.#links[fd], 'a link'), fd, readiness);
      }
    });
    const again = this.#again;
    this.#again = [];
    for (const { link, from } of again) this.#proceed(link, from, true);
    this.#expire();
    this.#tell();
  }

  #newLane(id: number, { scheduler, backends }: LanePlan): Lane {
    const lane: Lane = {
      id,
      door: null,
      picker: createPicker(scheduler, backends),
      targets: new Map(),
      loads: new Map(),
      links: new Set(),
      counters: { accepted: 0, unserved: 0, overLimit: 0, connectFailures: 0 },
      changed: false,
      left: false,
    };
    this.#lanes.set(id, lane);
    return lane;
  }

  #lane(id: number): Lane {
    return defined(this.#lanes.get(id), `lane ${id}`);
  }

  #shut(lane: Lane): void {
    if (lane.door === null) return;
    this.#doors.delete(lane.door);
    this.#sockets.close(lane.door);
    lane.door = null;
  }

  /** How long the next turn may wait. */
  #patienceMs(maxMs: Millis): Millis {
    if (this.#again.length > 0) return 0;
    let at = this.#countsDueAt;
    for (const [timeoutMs, [oldest]] of this.#attempts) {
      if (oldest !== undefined) at = Math.min(at, oldest.at + timeoutMs);
    }
    for (const short of this.#shortDoors) at = Math.min(at, short.at);
    if (at === Number.POSITIVE_INFINITY) return maxMs;
    return Math.max(0, Math.min(maxMs, at - this.#parts.clock.now()));
  }

  #accept(lane: Lane, door: Fd): void {
    for (let i = 0; i < ACCEPTS_PER_TURN; i++) {
      const fd = this.#sockets.accept(door);
      if (fd === WOULD_BLOCK) return;
      if (fd < 0) {
        this.#refuse(lane, door, -fd);
        return;
      }
      this.#count(lane);
      lane.counters.accepted++;
      if (this.#open >= this.#parts.maxConnections) {
        lane.counters.overLimit++;
        this.#sockets.reset(fd);
        continue;
      }
      this.#open++;
      const client = newSide(fd);
      const link: Link = {
        lane,
        client,
        upstream: null,
        target: null,
        connected: false,
        tried: new Set(),
      };
      lane.links.add(link);
      this.#watch(link, fd);
      this.#attempt(link);
    }
  }

  /** A door that cannot be served now would be told of in each turn: it has to wait. */
  #refuse(lane: Lane, door: Fd, errno: number): void {
    if (!LOCAL_ERRORS.has(this.#sockets.nameOf(errno))) return;
    this.#poller.forget(door);
    this.#shortDoors.push({ lane, door, at: this.#parts.clock.now() + SHORTAGE_MS });
  }

  #watch(link: Link, fd: Fd): void {
    const tag = this.#nextTag;
    this.#nextTag = tag === 0xffff_ffff ? 1 : tag + 1;
    this.#links[fd] = link;
    this.#tags[fd] = tag;
    this.#poller.watch(fd, tag);
  }

  #attempt(link: Link): void {
    const { lane } = link;
    for (;;) {
      const choice = pick(lane.picker, {
        client: () => this.#sockets.peerAddress(link.client.fd),
        connections: (name) => lane.loads.get(name)?.open ?? 0,
        tried: link.tried,
      });
      if (choice === null) {
        lane.counters.unserved++;
        this.#end(link, 'failed');
        return;
      }
      lane.picker = choice.next;
      const target = defined(lane.targets.get(choice.name), 'the backend of a candidate');
      link.target = target;
      const fd = this.#sockets.connect(target.to);
      if (fd >= 0) {
        this.#wait(link, fd, choice.final ? FINAL_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS);
        return;
      }
      this.#failed(link, this.#failureOf(-fd));
    }
  }

  #wait(link: Link, fd: Fd, timeoutMs: Millis): void {
    const upstream = newSide(fd);
    link.upstream = upstream;
    this.#watch(link, fd);
    const attempt = { link, upstream, at: this.#parts.clock.now(), timeoutMs };
    defined(this.#attempts.get(timeoutMs), 'a queue').push(attempt);
  }

  /** The attempt under way came to nothing. */
  #failed(link: Link, failure: ConnectFailure): void {
    const { lane } = link;
    const { name } = defined(link.target, 'a target');
    if (link.upstream !== null) {
      this.#release(link.upstream.fd);
      this.#sockets.close(link.upstream.fd);
      link.upstream = null;
    }
    lane.counters.connectFailures++;
    link.tried.add(name);
    // First what went before: a connection that succeeded earlier must not speak for the backend.
    this.#tellOf(lane);
    this.#count(lane);
    this.#parts.tell({ kind: 'failed', lane: lane.id, backend: name, failure });
  }

  #failureOf(errno: number): ConnectFailure {
    const reason = this.#sockets.nameOf(errno);
    if (LOCAL_ERRORS.has(reason)) return { kind: 'local', reason };
    return { kind: reason === 'ETIMEDOUT' ? 'timeout' : 'refused', reason };
  }

  #moved(link: Link, fd: Fd, readiness: number): void {
    const { client, upstream } = link;
    if (!link.connected) {
      if (fd === client.fd) this.#clientMoved(link, readiness);
      else if (upstream !== null && fd === upstream.fd) this.#decided(link, upstream);
      return;
    }
    if (upstream === null) return;
    const [from, to] = fd === client.fd ? [client, upstream] : [upstream, client];
    if ((readiness & Readiness.writable) !== 0 && isWaiting(from)) {
      // What waits for this socket was said by the other one.
      const progress = flush(this.#means, to, from);
      if (this.#concluded(link, to, progress)) return;
    }
    const reads = Readiness.readable | Readiness.failed | Readiness.over | Readiness.ended;
    if ((readiness & reads) === 0) return;
    this.#proceed(link, from, (readiness & Readiness.ended) !== 0);
  }

  /** A client that is gone needs no backend; what it says can wait for one. */
  #clientMoved(link: Link, readiness: number): void {
    if ((readiness & (Readiness.failed | Readiness.over)) !== 0) this.#end(link, 'failed');
  }

  #decided(link: Link, upstream: Side): void {
    const errno = this.#sockets.failure(upstream.fd);
    if (errno !== 0) {
      this.#failed(link, this.#failureOf(errno));
      this.#attempt(link);
      return;
    }
    link.connected = true;
    const { load } = defined(link.target, 'a target');
    load.open++;
    load.total++;
    this.#count(link.lane);
    // Their events may have come while there was nobody to read for.
    this.#proceed(link, link.client, true);
    this.#proceed(link, upstream, true);
  }

  /** Moves what `from` says, unless the link has ended since. */
  #proceed(link: Link, from: Side, toTheEnd: boolean): void {
    const { client, upstream } = link;
    if (upstream === null || !link.lane.links.has(link)) return;
    const to = from === client ? upstream : client;
    this.#concluded(link, from, pump(this.#means, from, to, toTheEnd));
  }

  /** Whether the link is over. */
  #concluded(link: Link, from: Side, progress: Progress): boolean {
    switch (progress) {
      case 'open':
        return false;
      case 'more':
        this.#again.push({ link, from });
        return false;
      case 'over':
      case 'failed':
        this.#end(link, progress);
        return true;
    }
  }

  #end(link: Link, how: 'over' | 'failed'): void {
    const { lane, client, upstream } = link;
    if (!lane.links.delete(link)) return;
    this.#open--;
    for (const side of upstream === null ? [client] : [client, upstream]) {
      this.#release(side.fd);
      release(this.#means.ducts, side);
      if (how === 'over') this.#sockets.close(side.fd);
      else this.#sockets.reset(side.fd);
    }
    if (link.connected && link.target !== null) link.target.load.open--;
    this.#count(lane);
  }

  #release(fd: Fd): void {
    this.#links[fd] = undefined;
    this.#tags[fd] = DOOR_TAG;
  }

  /** Whatever has waited too long. */
  #expire(): void {
    const now = this.#parts.clock.now();
    for (const [timeoutMs, queue] of this.#attempts) {
      let passed = 0;
      for (const { link, upstream, at } of queue) {
        const isPending =
          link.upstream === upstream && !link.connected && link.lane.links.has(link);
        if (isPending && now < at + timeoutMs) break;
        passed++;
        if (!isPending) continue;
        const reason = `connect timed out after ${timeoutMs} ms`;
        this.#failed(link, { kind: 'timeout', reason });
        this.#attempt(link);
      }
      if (passed > 0) queue.splice(0, passed);
    }
    while ((this.#shortDoors[0]?.at ?? Number.POSITIVE_INFINITY) <= now) {
      const short = this.#shortDoors.shift();
      if (short !== undefined && short.lane.door === short.door) {
        this.#poller.watchDoor(short.door, DOOR_TAG);
      }
    }
  }

  #count(lane: Lane): void {
    lane.changed = true;
    if (this.#countsDueAt !== Number.POSITIVE_INFINITY) return;
    this.#countsDueAt = this.#parts.clock.now() + COUNT_MS;
  }

  #tell(): void {
    if (this.#countsDueAt > this.#parts.clock.now()) return;
    this.#countsDueAt = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) if (lane.changed) this.#tellOf(lane);
  }

  #tellOf(lane: Lane): void {
    lane.changed = false;
    const counts = {
      clients: lane.links.size,
      counters: { ...lane.counters },
      backends: new Map([...lane.loads].map(([name, load]) => [name, { ...load }])),
    };
    this.#parts.tell({ kind: 'counts', lane: lane.id, counts });
    for (const [name, { open }] of lane.loads) {
      if (open === 0 && !lane.targets.has(name)) lane.loads.delete(name);
    }
    if (lane.left && lane.links.size === 0) this.#lanes.delete(lane.id);
  }
}
