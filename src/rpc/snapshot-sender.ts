/**
 * Sends snapshots to one peer, each on a connection of its own, one at a time: part by part as the
 * peer takes them, so that a large one fills no memory and delays no heartbeat.
 */
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { InstallSnapshot } from '../raft/message.ts';
import type { DialledStream, DialOptions } from './dial.ts';
import { maxSnapshotBytes } from './limits.ts';
import { snapshotChunks } from './snapshot-codec.ts';

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
    const parts = snapshotChunks(message);
    const stream = this.#options.dial({
      preflight: false,
      onOpen: () => this.#pump(stream, parts),
      onEnd: (error) => this.#ended(error === null),
    });
    this.#stream = stream;
    this.#watch();
  }

  close(): void {
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
