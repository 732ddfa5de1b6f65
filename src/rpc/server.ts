/**
 * All of this node's gRPC in one piece: the port for members and joiners, the local socket, the
 * transport, and the way to the leader. Built first, started when the node can answer.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { Operations } from '../cluster/operations.ts';
import type { PeerAddress, Transport } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import type { Message } from '../raft/message.ts';
import type { NodeId } from '../raft/types.ts';
import { type HostPort, parseHostPort } from './address.ts';
import { adminService } from './admin-service.ts';
import { Forwarder } from './forwarder.ts';
import { defaultGateLimits, type GateLimits, plainAddress } from './gate.ts';
import type { Judgement, PeerIdentity, StandingOf } from './identity.ts';
import { JoinServer } from './join-server.ts';
import { type Listener, openListener } from './listener.ts';
import { type LocalPeerOf, type LocalServer, openLocalServer } from './local-server.ts';
import { MemberServers } from './member-servers.ts';
import { NodeTls, type TlsMaterial } from './node-tls.ts';
import { raftService } from './raft-service.ts';
import { Refusals } from './refusals.ts';
import { type PeerView, RaftTransport } from './transport.ts';
import type { TransportCounters } from './transport-counters.ts';

/** Addresses from which members came, beside those under which they are listed. */
const maxSeenAddresses = 64;

export interface RpcOptions {
  readonly listen: HostPort;
  /** `host:port` under which peers reach this node. */
  readonly advertise: string;
  readonly material: TlsMaterial;
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  /** What the replicated state says of a node id now. */
  readonly standingOf: StandingOf;
  /** This node's own answers; `not-leader` is forwarded. */
  readonly operations: Operations;
  /** The same for what another member forwarded; see {@link Forwarder}. */
  readonly forwarded: Operations;
  readonly local: {
    readonly path: string;
    readonly peerOf: LocalPeerOf;
    readonly gid: number | null;
  } | null;
  readonly deliver: (message: Message) => void;
  readonly onUnreachable: (id: NodeId) => void;
  readonly onSnapshotResult: (id: NodeId, ok: boolean) => void;
  /** A known member was let in by its key although its certificate is out of time. */
  readonly onTimeAlarm: (id: NodeId, time: TimeValidity) => void;
  readonly gate?: GateLimits;
  /** Sets what this host's TCP offers for a connection to or from a member. */
  readonly tune?: (socket: Socket) => void;
}

export interface RpcCounters {
  readonly transport: TransportCounters & { readonly invalid: Readonly<Record<string, number>> };
  /** Refused connections by reason. */
  readonly refused: Readonly<Record<string, number>>;
}

export class Rpc {
  /** For the node: sends to peers, and keeps out who is no longer one. */
  readonly transport: Transport;
  readonly #options: RpcOptions;
  readonly #tls: NodeTls;
  readonly #refusals: Refusals;
  readonly #raft: RaftTransport;
  readonly #members: MemberServers;
  readonly #forwarder: Forwarder;
  readonly #joins: JoinServer;
  readonly #peers = new Map<NodeId, PeerAddress>();
  readonly #seenAddresses = new Set<string>();
  #listener: Listener | null = null;
  #local: LocalServer | null = null;

  constructor(options: RpcOptions) {
    const { clock, log, random, advertise, onTimeAlarm } = options;
    this.#options = options;
    this.#tls = new NodeTls(options.material, options.tune);
    this.#refusals = new Refusals(clock, log, 'rpc.refused');
    this.#raft = new RaftTransport({ ...options, tls: this.#tls, advertise, random });
    this.#forwarder = new Forwarder({
      local: options.operations,
      forwarded: options.forwarded,
      tls: this.#tls,
      clock,
      peerOf: (id) => this.#peers.get(id) ?? null,
      onTimeAlarm,
    });
    this.#members = new MemberServers((peer) => [
      { definition: raftService, implementation: this.#raft.implementationFor(peer) },
      adminService(this.#forwarder, {
        kind: 'member',
        nodeId: peer.nodeId,
        isMember: () => this.#options.standingOf(peer.nodeId).kind === 'member',
      }),
    ]);
    this.#joins = new JoinServer({
      admit: (request) => this.operations.admit(request),
      clock,
      refusals: this.#refusals,
    });
    this.transport = {
      send: (message) => this.#raft.send(message),
      setPeers: (peers) => this.#setPeers(peers),
    };
  }

  /** Every operation, answered by this node or by whoever leads. */
  get operations(): Operations {
    return this.#forwarder.operations;
  }

  /** The operations of one member, whoever leads. */
  operationsOf(id: NodeId): Operations {
    return this.#forwarder.operationsOf(id);
  }

  /** The port that is listened on; null before {@link start}. */
  get port(): number | null {
    return this.#listener?.port ?? null;
  }

  /** Opens the port and the local socket; when it rejects, neither is open. */
  async start(): Promise<void> {
    const { listen, clock, standingOf, local, gate } = this.#options;
    this.#listener = await openListener({
      ...listen,
      tls: this.#tls,
      clock,
      gate: gate ?? defaultGateLimits,
      refusals: this.#refusals,
      standingOf,
      onMember: (socket, judged) => {
        this.#admitted(judged, socket.remoteAddress);
        if (this.#members.accept(socket, judged.peer)) return;
        this.#refusals.note('too-many-members', { peer: judged.peer.nodeId });
        socket.destroy();
      },
      onJoiner: (socket) => this.#joins.accept(socket),
    });
    this.#listener.setMemberAddresses(this.#memberAddresses());
    if (local === null) return;
    try {
      this.#local = await openLocalServer({
        ...local,
        forwarder: this.#forwarder,
        refusals: this.#refusals,
      });
    } catch (error) {
      await this.#listener.close();
      throw error;
    }
  }

  /** Serves with other certificates from the next handshake on. */
  updateCertificates(material: Pick<TlsMaterial, 'certificate' | 'key' | 'caCertificate'>): void {
    this.#tls.update(material);
  }

  peers(): readonly PeerView[] {
    return this.#raft.peers();
  }

  counters(): RpcCounters {
    return { transport: this.#raft.counters(), refused: this.#refusals.totals() };
  }

  /** Says what there was to say (a released lease above all), then closes everything. */
  async close(): Promise<void> {
    await this.#local?.close();
    await this.#raft.close();
    this.#forwarder.close();
    this.#joins.close();
    this.#members.close();
    await this.#listener?.close();
  }

  #setPeers(peers: readonly PeerAddress[]): void {
    this.#peers.clear();
    for (const peer of peers) this.#peers.set(peer.id, peer);
    this.#raft.setPeers(peers);
    this.#listener?.setMemberAddresses(this.#memberAddresses());
    // After the caller is done: the state that it reports may not be the published one yet.
    this.#options.clock.after(0, () => this.#members.recheck((peer) => this.#welcome(peer)));
  }

  #welcome(peer: PeerIdentity): boolean {
    const standing = this.#options.standingOf(peer.nodeId);
    if (standing.kind === 'member') return standing.publicKeyHash === peer.publicKeyHash;
    return standing.kind === 'unknown';
  }

  #admitted(judged: Extract<Judgement, { ok: true }>, from: string | undefined): void {
    if (judged.time !== 'valid') this.#options.onTimeAlarm(judged.peer.nodeId, judged.time);
    if (!judged.known || from === undefined || this.#seenAddresses.has(plainAddress(from))) return;
    if (this.#seenAddresses.size >= maxSeenAddresses) this.#seenAddresses.clear();
    this.#seenAddresses.add(plainAddress(from));
    this.#listener?.setMemberAddresses(this.#memberAddresses());
  }

  *#memberAddresses(): Generator<string> {
    yield* this.#seenAddresses;
    for (const { address } of this.#peers.values()) {
      const at = parseHostPort(address);
      if (at !== null) yield at.host;
    }
  }
}
