/**
 * Carries datagrams. What one client (an address with a port) sends is a flow: its first datagram
 * chooses a backend, the following ones go the same way by a socket of the flow's own, and what
 * comes back by that socket is the client's. A flow ends when nothing has moved for a while, when
 * its backend says that nobody listens there, or when newer ones need its place.
 */
import * as dgram from 'node:dgram';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import type { LaneBackend, LaneCounters, LanePlan } from './carrier-protocol.ts';
import type { Lane, LaneEvents } from './lane.ts';
import { createPicker, type Picker, pick, withCandidates } from './scheduler.ts';
import type { Fd } from './sockets.ts';

/** As long as the kernel remembers an answered exchange by default (nf_conntrack_udp_timeout). */
export const FLOW_IDLE_MS: Millis = 30_000;
/** A flow that was silent for so long gives way when there are as many as there may be. */
const EVICTABLE_MS: Millis = 5_000;
const SWEEP_MS: Millis = 5_000;
/** What a burst may hold while this process does something else. */
const BUFFER_BYTES = 1024 * 1024;
/** Datagrams of a new flow, until its socket knows its backend. */
const MAX_PENDING = 16;

export interface UdpLaneOptions {
  readonly clock: Clock;
  /** Of the VIP, to which the doors are bound. */
  readonly address: string;
  /** Flows of this lane; the datagram of one more client is dropped, and counted. */
  readonly maxFlows: number;
}

interface Flow {
  readonly key: string;
  readonly client: { readonly address: string; readonly port: number };
  readonly backend: string;
  readonly socket: dgram.Socket;
  movedAt: Millis;
  /** Null once its socket is connected. */
  pending: Buffer[] | null;
}

export class UdpLane implements Lane {
  readonly #events: LaneEvents;
  readonly #options: UdpLaneOptions;
  #door: dgram.Socket | null = null;
  #picker: Picker = createPicker('round-robin', []);
  #targets: ReadonlyMap<string, LaneBackend> = new Map();
  /** By client, that of the longest silence first. */
  readonly #flows = new Map<string, Flow>();
  readonly #loads = new Map<string, { open: number; total: number }>();
  readonly #counters: { -readonly [name in keyof LaneCounters]: number } = {
    accepted: 0,
    unserved: 0,
    overLimit: 0,
    connectFailures: 0,
  };
  #sweep: Timer | null = null;

  constructor(events: LaneEvents, options: UdpLaneOptions) {
    this.#events = events;
    this.#options = options;
  }

  plan({ scheduler, backends }: LanePlan): void {
    this.#targets = new Map(backends.map((backend) => [backend.name, backend]));
    const { candidates } = this.#picker;
    const same = this.#picker.scheduler === scheduler;
    const picker = same ? this.#picker : createPicker(scheduler, candidates);
    this.#picker = withCandidates(picker, backends);
  }

  open(fd: Fd): void {
    this.shut();
    const door = newSocket(this.#options.address);
    this.#door = door;
    door.on('message', (bytes, from) => this.#arrived(door, bytes, from));
    door.on('error', () => undefined);
    door.bind({ fd }, () => enlarge(door));
  }

  /** Nothing could be answered any more: it would not come from where it was asked. */
  shut(): void {
    this.resetClients();
    this.#door?.close();
    this.#door = null;
  }

  resetClients(): void {
    for (const flow of [...this.#flows.values()]) this.#end(flow);
  }

  sever(backend: string): void {
    for (const flow of [...this.#flows.values()]) if (flow.backend === backend) this.#end(flow);
  }

  leave(): void {
    this.shut();
    this.#tell();
  }

  #arrived(door: dgram.Socket, bytes: Buffer, from: dgram.RemoteInfo): void {
    const key = `${from.address} ${from.port}`;
    const flow = this.#flows.get(key) ?? this.#begin(door, key, from);
    if (flow === null) return;
    this.#moved(flow);
    if (flow.pending === null) flow.socket.send(bytes, ignore);
    else if (flow.pending.length < MAX_PENDING) flow.pending.push(bytes);
  }

  #begin(door: dgram.Socket, key: string, from: dgram.RemoteInfo): Flow | null {
    this.#counters.accepted++;
    if (!this.#makeRoom()) return this.#refuse('overLimit');
    const choice = pick(this.#picker, {
      client: () => from.address,
      connections: (name) => this.#loads.get(name)?.open ?? 0,
      tried: new Set(),
    });
    const target = choice === null ? undefined : this.#targets.get(choice.name);
    if (choice === null || target === undefined) return this.#refuse('unserved');
    this.#picker = choice.next;
    const socket = newSocket(target.address);
    const flow: Flow = {
      key,
      client: from,
      backend: target.name,
      socket,
      movedAt: this.#options.clock.now(),
      pending: [],
    };
    this.#flows.set(key, flow);
    const load = this.#loads.get(target.name) ?? { open: 0, total: 0 };
    this.#loads.set(target.name, { open: load.open + 1, total: load.total + 1 });
    socket.on('message', (bytes) => {
      this.#moved(flow);
      door.send(bytes, flow.client.port, flow.client.address, ignore);
    });
    socket.on('error', (error) => this.#failed(flow, error));
    socket.connect(target.port, target.address, () => {
      for (const bytes of flow.pending ?? []) socket.send(bytes, ignore);
      flow.pending = null;
    });
    this.#sweepLater();
    this.#tell();
    return flow;
  }

  #refuse(counter: 'overLimit' | 'unserved'): null {
    this.#counters[counter]++;
    this.#tell();
    return null;
  }

  /** Whether one more flow may begin. */
  #makeRoom(): boolean {
    if (this.#flows.size < this.#options.maxFlows) return true;
    const oldest = this.#flows.values().next().value;
    if (oldest === undefined) return false;
    if (this.#options.clock.now() < oldest.movedAt + EVICTABLE_MS) return false;
    this.#end(oldest);
    return true;
  }

  #moved(flow: Flow): void {
    if (this.#flows.get(flow.key) !== flow) return;
    flow.movedAt = this.#options.clock.now();
    this.#flows.delete(flow.key);
    this.#flows.set(flow.key, flow);
  }

  /** Most often a port unreachable of ICMP: the client's next datagram goes elsewhere. */
  #failed(flow: Flow, error: Error): void {
    if (this.#flows.get(flow.key) !== flow) return;
    this.#counters.connectFailures++;
    this.#end(flow);
    const reason = errorCode(error) ?? error.message;
    this.#events.failed(flow.backend, { kind: 'refused', reason });
  }

  #end(flow: Flow): void {
    if (!this.#flows.delete(flow.key)) return;
    flow.socket.close();
    const load = this.#loads.get(flow.backend);
    if (load !== undefined) this.#loads.set(flow.backend, { ...load, open: load.open - 1 });
    this.#tell();
  }

  #sweepLater(): void {
    this.#sweep ??= this.#options.clock.after(SWEEP_MS, () => {
      this.#sweep = null;
      const before = this.#options.clock.now() - FLOW_IDLE_MS;
      for (const flow of this.#flows.values()) {
        if (flow.movedAt > before) break;
        this.#end(flow);
      }
      if (this.#flows.size > 0) this.#sweepLater();
    });
  }

  #tell(): void {
    this.#events.counted({
      clients: this.#flows.size,
      counters: { ...this.#counters },
      backends: new Map(this.#loads),
    });
  }
}

/** Addresses are numbers here: nothing is looked up, and nothing waits for it. */
function newSocket(address: string): dgram.Socket {
  const isSix = address.includes(':');
  return dgram.createSocket({
    type: isSix ? 'udp6' : 'udp4',
    lookup: (host, _options, found) => found(null, host, isSix ? 6 : 4),
  });
}

/** More than the kernel allows is not given, and not needed. */
function enlarge(door: dgram.Socket): void {
  door.setRecvBufferSize(BUFFER_BYTES);
}

/** A datagram that could not be sent is one that was lost; who cares sends it again. */
function ignore(): void {}
