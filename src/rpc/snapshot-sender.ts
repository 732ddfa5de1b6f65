/**
 * Sends snapshots to one peer, each on a connection of its own, one at a time: part by part as the
 * peer takes them, so that a large one fills no memory and delays no heartbeat. What the peer holds
 * of it from a call that broke off is not sent again.
 */
import { webcrypto } from 'node:crypto';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { InstallSnapshot } from '../raft/message.ts';
import type { DialledStream, DialOptions } from './dial.ts';
import { maxSnapshotBytes } from './limits.ts';
import { unfinishedKey } from './raft-service.ts';
import { offeredBytes, snapshotChunks } from './snapshot-codec.ts';

/** Without progress for this long, the peer is taken for gone. */
const stallTimeoutMs: Millis = 5_000;

export interface SnapshotSenderOptions {
  readonly clock: Clock;
  readonly dial: (events: Pick<DialOptions, 'onOpen' | 'onEnd' | 'preflight'>) => DialledStream;
  /** One snapshot has arrived whole, or has not. A replaced one is not reported. */
  readonly onResult: (ok: boolean) => void;
  readonly onPart: (bytes: number) => void;
}

export class SnapshotSender {
  readonly #options: SnapshotSenderOptions;
  #stream: DialledStream | null = null;
  /** The one on its way, from the moment it was given. */
  #current: InstallSnapshot | null = null;
  #timer: Timer | null = null;

  constructor(options: SnapshotSenderOptions) {
    this.#options = options;
  }

  /** Sends this one in place of any that is still on its way. */
  send(message: InstallSnapshot): void {
    this.close();
    if (message.snapshot.data.length > maxSnapshotBytes) {
      this.#timer = this.#options.clock.after(0, () => this.#ended(false));
      return;
    }
    this.#current = message;
    this.#watch();
    const data = message.snapshot.data as Uint8Array<ArrayBuffer>;
    // Off this thread: a large one would else delay a heartbeat.
    webcrypto.subtle.digest('SHA-256', data).then(
      (digest) => this.#dial(message, new Uint8Array(digest)),
      () => this.#ended(false),
    );
  }

  #dial(message: InstallSnapshot, checksum: Uint8Array): void {
    if (this.#current !== message) return;
    const stream = this.#options.dial({
      preflight: false,
      onOpen: (metadata) => {
        const [offer = ''] = metadata.get(unfinishedKey);
        const from = offeredBytes(String(offer), message, checksum);
        this.#pump(stream, snapshotChunks(message, checksum, from));
      },
      onEnd: (error) => this.#ended(error === null),
    });
    this.#stream = stream;
    this.#watch();
  }

  close(): void {
    this.#current = null;
    this.#timer?.cancel();
    this.#stream?.abandon();
    this.#stream = null;
  }

  #pump(stream: DialledStream, parts: Generator<Uint8Array>): void {
    if (this.#stream !== stream) return;
    this.#watch();
    const part = parts.next();
    if (part.done === true) {
      stream.call.end();
      return;
    }
    this.#options.onPart(part.value.length);
    stream.call.write(part.value, () => this.#pump(stream, parts));
  }

  #watch(): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(stallTimeoutMs, () => this.#ended(false));
  }

  #ended(ok: boolean): void {
    this.close();
    this.#options.onResult(ok);
  }
}
