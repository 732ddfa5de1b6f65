/**
 * Sends snapshots to one peer, each on a connection of its own, one at a time: part by part as the
 * peer takes them, so that a large one fills no memory and delays no heartbeat. What the peer holds
 * of it from a call that broke off is not sent again.
 */
import { createHash } from 'node:crypto';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { InstallSnapshot } from '../raft/message.ts';
import type { DialledStream, DialOptions } from './dial.ts';
import { maxSnapshotBytes, snapshotChunkBytes } from './limits.ts';
import { unfinishedKey } from './raft-service.ts';
import { offeredBytes, snapshotChunks } from './snapshot-codec.ts';

/** Without progress for this long, the peer is taken for gone. */
const stallTimeoutMs: Millis = 5_000;

const hashedAtOnceBytes = 4 * snapshotChunkBytes;

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
    void checksumOf(message.snapshot.data).then((checksum) => this.#dial(message, checksum));
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

/** SHA-256, a piece a turn: a large snapshot at once would delay a heartbeat. */
async function checksumOf(data: Uint8Array): Promise<Uint8Array> {
  const hash = createHash('sha256');
  for (let at = 0; at < data.length; at += hashedAtOnceBytes) {
    hash.update(data.subarray(at, at + hashedAtOnceBytes));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return hash.digest();
}
