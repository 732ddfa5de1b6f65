/**
 * Everything towards one peer: a stream for heartbeats and votes, one for appends, and one for each
 * snapshot, on three connections.
 *
 * A connection whose other end vanished without a word (power, cable) is not noticed by TCP for
 * many seconds, and TCP's own retries grow slow. So when several messages have gone unanswered for
 * a second, both streams are dialled anew: the peer is met again soon after it is back.
 */
import { Metadata } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import type { Prng } from '../base/prng.ts';
import type { PeerAddress } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import type { InstallSnapshot, Message } from '../raft/message.ts';
import { encodeMessage, type MessageClass } from './codec.ts';
import { type DialOptions, dialStream } from './dial.ts';
import { maxControlBytes, maxMessageBytes } from './limits.ts';
import type { NodeTls } from './node-tls.ts';
import { addressKey } from './raft-service.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { StreamLink } from './stream-link.ts';
import type { TransportCounters } from './transport-counters.ts';

const silenceMs: Millis = 1_000;

/** Fewer unanswered messages than this prove nothing. */
const silenceMessages = 3;

/** A second and a half of heartbeats, or all votes of an election many times over. */
const maxPendingControlMessages = 32;

/** Appends on the way to a slow peer; the core limits them too, and repeats what was dropped. */
const maxPendingLogBytes = 2 * maxMessageBytes;
const maxPendingLogMessages = 512;

export interface PeerLinkOptions {
  readonly peer: PeerAddress;
  /** `host:port` under which the peer can reach us. */
  readonly advertise: string;
  readonly tls: NodeTls;
  readonly clock: Clock;
  readonly random: Prng;
  readonly counters: TransportCounters;
  readonly onUnreachable: () => void;
  readonly onSnapshotResult: (ok: boolean) => void;
  readonly onFailure: (error: Error) => void;
  readonly onConnected: () => void;
  readonly onTimeAlarm: (nodeId: string, time: TimeValidity) => void;
}

export class PeerLink {
  readonly peer: PeerAddress;
  readonly #options: PeerLinkOptions;
  readonly #control: StreamLink;
  readonly #log: StreamLink;
  readonly #snapshots: SnapshotSender;
  #lastHeard: Millis | null = null;
  #unansweredSince: Millis | null = null;
  #unanswered = 0;

  constructor(options: PeerLinkOptions) {
    this.peer = options.peer;
    this.#options = options;
    this.#control = this.#streamLink('control');
    this.#log = this.#streamLink('log');
    this.#snapshots = new SnapshotSender({
      clock: options.clock,
      dial: (events) => this.#dial('snapshot', events),
      onResult: options.onSnapshotResult,
      onPart: (bytes) => {
        options.counters.snapshot.sentMessages += 1;
        options.counters.snapshot.sentBytes += bytes;
      },
    });
  }

  /** Whether heartbeats can leave. */
  get connected(): boolean {
    return this.#control.open;
  }

  /** When the peer was last heard; null for never. */
  get lastHeard(): Millis | null {
    return this.#lastHeard;
  }

  /** Sends or drops; never waits. */
  send(message: Message): void {
    if (message.type === 'snapshot') this.#sendSnapshot(message);
    else if (message.type === 'append') this.#sendLog(encodeOpen(message, this.#log));
    else this.#sendControl(encodeOpen(message, this.#control));
  }

  /** A message of this peer has arrived. */
  heard(): void {
    this.#lastHeard = this.#options.clock.now();
    this.#unansweredSince = null;
    this.#unanswered = 0;
  }

  /** The peer has just opened a stream to us, so it can be reached again. */
  called(): void {
    this.#control.nudge();
    this.#log.nudge();
  }

  async close(): Promise<void> {
    this.#snapshots.close();
    await Promise.all([this.#control.close(), this.#log.close()]);
  }

  #sendControl(bytes: Uint8Array | null): void {
    if (!this.#count('control', bytes, maxControlBytes, this.#control)) return;
    const now = this.#options.clock.now();
    this.#unansweredSince ??= now;
    this.#unanswered += 1;
    if (this.#unanswered < silenceMessages || now - this.#unansweredSince < silenceMs) return;
    this.#unansweredSince = null;
    this.#unanswered = 0;
    this.#control.redial();
    this.#log.redial();
  }

  #sendLog(bytes: Uint8Array | null): void {
    // The core then probes instead of streaming on past the gap.
    if (!this.#count('log', bytes, maxMessageBytes, this.#log)) this.#options.onUnreachable();
  }

  #sendSnapshot(message: InstallSnapshot): void {
    this.#snapshots.send(message);
  }

  #count(
    kind: 'control' | 'log',
    bytes: Uint8Array | null,
    maxBytes: number,
    link: StreamLink,
  ): boolean {
    const counters = this.#options.counters[kind];
    if (bytes === null || bytes.length > maxBytes || !link.send(bytes)) {
      counters.droppedMessages += 1;
      return false;
    }
    counters.sentMessages += 1;
    counters.sentBytes += bytes.length;
    return true;
  }

  #streamLink(kind: 'control' | 'log'): StreamLink {
    const { clock, random, onUnreachable, onFailure, onConnected } = this.#options;
    return new StreamLink({
      clock,
      random,
      dial: (events) => this.#dial(kind, events),
      maxPendingMessages: kind === 'control' ? maxPendingControlMessages : maxPendingLogMessages,
      maxPendingBytes: kind === 'control' ? maxControlBytes * 4 : maxPendingLogBytes,
      onOpen: kind === 'control' ? onConnected : () => undefined,
      onLost: onUnreachable,
      onFailure,
    });
  }

  #dial(kind: MessageClass, events: Pick<DialOptions, 'onOpen' | 'onEnd' | 'preflight'>) {
    const { tls, clock, peer, advertise, counters, onTimeAlarm } = this.#options;
    const metadata = new Metadata();
    metadata.set(addressKey, advertise);
    counters.dials += 1;
    return dialStream({ tls, clock, peer, kind, metadata, onTimeAlarm, ...events });
  }
}

/** Nothing is encoded for a stream that would drop it. */
function encodeOpen(
  message: Exclude<Message, InstallSnapshot>,
  link: StreamLink,
): Uint8Array | null {
  return link.open ? encodeMessage(message) : null;
}

/** Whether both are the same place with the same key. */
export function samePeer(left: PeerAddress | undefined, right: PeerAddress | undefined): boolean {
  if (left === undefined || right === undefined) return false;
  return left.address === right.address && left.publicKeyHash === right.publicKeyHash;
}
