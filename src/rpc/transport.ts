/**
 * The transport port over gRPC: messages leave by the links to the peers and arrive by the streams
 * that peers opened to us, each decoded, checked against the sender's certificate, and delivered
 * synchronously, so that the receiver reads its clock after the message was there.
 *
 * Whom we do not know we may still have to answer: a host that has just joined, or one that was
 * down while a leader joined, has no address to reply to. So every stream says where its sender can
 * be reached, and for as long as such a stream stands we dial back, to the key that it has shown.
 */
import {
  Metadata,
  type ServerReadableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { PeerAddress, Transport } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import type { Message } from '../raft/message.ts';
import type { NodeId } from '../raft/types.ts';
import { parseHostPort } from './address.ts';
import { classOf, decodeMessage, type MessageClass } from './codec.ts';
import { failureText } from './failure-text.ts';
import type { PeerIdentity } from './identity.ts';
import { maxControlBytes } from './limits.ts';
import type { NodeTls } from './node-tls.ts';
import { PeerLink, samePeer } from './peer-link.ts';
import { addressKey, emptyAnswer, unfinishedKey } from './raft-service.ts';
import { Refusals } from './refusals.ts';
import { offerText } from './snapshot-codec.ts';
import { SnapshotInbox } from './snapshot-inbox.ts';
import { type TransportCounters, zeroCounters } from './transport-counters.ts';

/** Senders that are no peers of ours and are answered all the same. */
const maxGuests = 16;

export interface RaftTransportOptions {
  readonly tls: NodeTls;
  /** `host:port` under which peers reach this node. */
  readonly advertise: string;
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  /** Takes each message at once. */
  readonly deliver: (message: Message) => void;
  /** Something for this peer was lost: the core should find out again what it has. */
  readonly onUnreachable: (id: NodeId) => void;
  readonly onSnapshotResult: (id: NodeId, ok: boolean) => void;
  readonly onTimeAlarm: (id: NodeId, time: TimeValidity) => void;
}

/** What is known of the way to one peer. */
export interface PeerView {
  readonly id: NodeId;
  readonly address: string;
  readonly connected: boolean;
  /** Since its last message; null for never. */
  readonly lastHeardMs: Millis | null;
}

type InboundStream = ServerReadableStream<Uint8Array, Uint8Array>;

export class RaftTransport implements Transport {
  readonly #options: RaftTransportOptions;
  readonly #counters = zeroCounters();
  readonly #invalid: Refusals;
  readonly #peers = new Map<NodeId, PeerLink>();
  readonly #guests = new Map<NodeId, PeerLink>();
  /** Streams that stand, by sender. */
  readonly #inbound = new Map<NodeId, number>();
  readonly #snapshots: SnapshotInbox;
  #closed = false;

  constructor(options: RaftTransportOptions) {
    this.#options = options;
    this.#snapshots = new SnapshotInbox(options.clock);
    this.#invalid = new Refusals(options.clock, options.log, 'rpc.message-refused');
  }

  send(message: Message): void {
    const link = this.#linkTo(message.to);
    if (link === undefined) this.#counters[classOf(message.type)].droppedMessages += 1;
    else link.send(message);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    if (this.#closed) return;
    const wanted = new Map(
      peers
        .filter(({ id, address }) => id !== this.#self && parseHostPort(address) !== null)
        .map((peer) => [peer.id, peer]),
    );
    for (const [id, link] of this.#peers) {
      if (samePeer(link.peer, wanted.get(id))) continue;
      this.#peers.delete(id);
      void link.close();
    }
    for (const [id, peer] of wanted) {
      const guest = this.#guests.get(id);
      this.#guests.delete(id);
      const keep = guest !== undefined && samePeer(guest.peer, peer);
      if (guest !== undefined && !keep) void guest.close();
      if (!this.#peers.has(id)) this.#peers.set(id, keep ? guest : this.#link(peer));
    }
  }

  /** What the member server offers to `peer` under the Raft service. */
  implementationFor(peer: PeerIdentity): UntypedServiceImplementation {
    return {
      control: (call: InboundStream, done: sendUnaryData<Uint8Array>) =>
        this.#accept('control', peer, call, done),
      log: (call: InboundStream, done: sendUnaryData<Uint8Array>) =>
        this.#accept('log', peer, call, done),
      snapshot: (call: InboundStream, done: sendUnaryData<Uint8Array>) =>
        this.#acceptSnapshot(peer, call, done),
    };
  }

  peers(): readonly PeerView[] {
    const now = this.#options.clock.now();
    return [...this.#peers.values()].map((link) => ({
      id: link.peer.id,
      address: link.peer.address,
      connected: link.connected,
      lastHeardMs: link.lastHeard === null ? null : now - link.lastHeard,
    }));
  }

  counters(): TransportCounters & { readonly invalid: Readonly<Record<string, number>> } {
    return { ...structuredClone(this.#counters), invalid: this.#invalid.totals() };
  }

  /** Ends every stream after what was sent last has arrived, within a fifth of a second. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#snapshots.close();
    const links = [...this.#peers.values(), ...this.#guests.values()];
    this.#peers.clear();
    this.#guests.clear();
    await Promise.all(links.map((link) => link.close()));
  }

  get #self(): NodeId {
    return this.#options.tls.nodeId;
  }

  #linkTo(id: NodeId): PeerLink | undefined {
    return this.#peers.get(id) ?? this.#guests.get(id);
  }

  #link(peer: PeerAddress): PeerLink {
    const { tls, advertise, clock, random, log } = this.#options;
    const failures = new Refusals(clock, log, 'rpc.peer-unreachable');
    const at = { peer: peer.id, address: peer.address };
    return new PeerLink({
      peer,
      advertise,
      tls,
      clock,
      random,
      counters: this.#counters,
      onUnreachable: () => this.#options.onUnreachable(peer.id),
      onSnapshotResult: (ok) => this.#options.onSnapshotResult(peer.id, ok),
      onFailure: (error) => failures.note('failed', { ...at, why: failureText(error.message) }),
      onConnected: () => log.info('rpc.peer-connected', at),
      onTimeAlarm: this.#options.onTimeAlarm,
    });
  }

  #accept(
    kind: MessageClass,
    peer: PeerIdentity,
    call: InboundStream,
    done: sendUnaryData<Uint8Array>,
  ): void {
    const route = { from: peer.nodeId, to: this.#self };
    const maxBytes = kind === 'control' ? maxControlBytes : Number.POSITIVE_INFINITY;
    this.#begin(peer, call, done);
    call.on('data', (bytes: Uint8Array) => {
      this.#received(kind, bytes.length);
      const message =
        bytes.length > maxBytes ? { invalid: 'too-long' } : decodeMessage(bytes, route);
      if ('invalid' in message) {
        this.#invalid.note(message.invalid, { peer: peer.nodeId });
      } else if (classOf(message.type) !== kind) {
        this.#invalid.note('wrong-stream', { peer: peer.nodeId });
      } else {
        this.#deliver(message);
      }
    });
    call.on('end', () => done(null, emptyAnswer));
  }

  #acceptSnapshot(peer: PeerIdentity, call: InboundStream, done: sendUnaryData<Uint8Array>): void {
    const { nodeId } = peer;
    const assembler = this.#snapshots.begin({ from: nodeId, to: this.#self }, () =>
      call.destroy(new Error('another call took its place')),
    );
    const offer = assembler.unfinished;
    let whole: Message | null = null;
    call.once('close', () => this.#snapshots.ended(nodeId, assembler, whole !== null));
    this.#begin(peer, call, done, offer === null ? null : offerText(offer));
    call.on('data', (bytes: Uint8Array) => {
      this.#received('snapshot', bytes.length);
      const result = whole === null ? assembler.add(bytes) : { invalid: 'too-long' };
      if (result === null) return;
      if ('invalid' in result) {
        this.#snapshots.ended(nodeId, assembler, true);
        this.#invalid.note(result.invalid, { peer: nodeId });
        call.destroy(new Error(result.invalid));
        return;
      }
      whole = result;
    });
    call.on('end', () => {
      if (whole !== null) this.#deliver(whole);
      done(whole === null ? { details: 'incomplete' } : null, emptyAnswer);
    });
  }

  /** @param offer what to tell the sender of a snapshot; see {@link offerText}. */
  #begin(
    peer: PeerIdentity,
    call: InboundStream,
    done: sendUnaryData<Uint8Array>,
    offer: string | null = null,
  ): void {
    call.on('error', () => done({ details: 'broken off' }, null));
    if (this.#closed) {
      call.destroy(new Error('stopping'));
      return;
    }
    const [address] = call.metadata.get(addressKey);
    this.#meet(peer, String(address ?? ''));
    this.#linkTo(peer.nodeId)?.called();
    this.#inbound.set(peer.nodeId, (this.#inbound.get(peer.nodeId) ?? 0) + 1);
    call.once('close', () => this.#leave(peer.nodeId));
    // The headers are the peer's sign that it was accepted.
    const headers = new Metadata();
    if (offer !== null) headers.set(unfinishedKey, offer);
    call.sendMetadata(headers);
  }

  /** Makes sure that `peer` can be answered. */
  #meet(peer: PeerIdentity, address: string): void {
    const id = peer.nodeId;
    if (id === this.#self || this.#peers.has(id) || parseHostPort(address) === null) return;
    const guest = { id, address, publicKeyHash: peer.publicKeyHash };
    const link = this.#guests.get(id);
    if (samePeer(link?.peer, guest)) return;
    void link?.close();
    this.#guests.delete(id);
    if (this.#guests.size >= maxGuests) return;
    this.#guests.set(id, this.#link(guest));
  }

  #leave(id: NodeId): void {
    const left = (this.#inbound.get(id) ?? 1) - 1;
    if (left > 0) {
      this.#inbound.set(id, left);
      return;
    }
    this.#inbound.delete(id);
    void this.#guests.get(id)?.close();
    this.#guests.delete(id);
  }

  #received(kind: MessageClass, bytes: number): void {
    const counters = this.#counters[kind];
    counters.receivedMessages += 1;
    counters.receivedBytes += bytes;
  }

  #deliver(message: Message): void {
    if (this.#closed) return;
    this.#linkTo(message.from)?.heard();
    this.#options.deliver(message);
  }
}
