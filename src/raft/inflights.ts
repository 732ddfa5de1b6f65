/**
 * The sliding window of appends sent to one follower and not yet acknowledged: a ring of the last
 * index and the size of each message, limited in number and in bytes.
 *
 * Invariants: indices grow from the oldest to the newest; `#bytes` is the sum over the ring. The
 * byte limit is soft: the message that crosses it is still admitted, so that one large entry cannot
 * stall.
 */
import { assert } from '../base/assert.ts';
import type { Index } from './types.ts';

export class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #indices: number[] = [];
  #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  /** `maxBytes` 0 means that only the number of messages is limited. */
  constructor(maxMessages: number, maxBytes: number) {
    assert(maxMessages > 0, 'a window of no messages cannot replicate');
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether nothing more may be sent. */
  get full(): boolean {
    return (
      this.#count === this.#maxMessages || (this.#maxBytes !== 0 && this.#bytes >= this.#maxBytes)
    );
  }

  /** Notes a message whose last entry is `index`; the window must not be full. */
  add(index: Index, bytes: number): void {
    assert(!this.full, 'an append was sent into a full window');
    if (this.#count === this.#indices.length) this.#grow();
    const slot = (this.#start + this.#count) % this.#indices.length;
    this.#indices[slot] = index;
    this.#sizes[slot] = bytes;
    this.#count += 1;
    this.#bytes += bytes;
  }

  /** Frees every message whose last index is at most `index`. */
  freeThrough(index: Index): void {
    while (this.#count > 0 && (this.#indices[this.#start] ?? 0) <= index) {
      this.#bytes -= this.#sizes[this.#start] ?? 0;
      this.#start = (this.#start + 1) % this.#indices.length;
      this.#count -= 1;
    }
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const capacity = Math.min(this.#maxMessages, Math.max(4, this.#indices.length * 2));
    const indices = new Array<number>(capacity).fill(0);
    const sizes = new Array<number>(capacity).fill(0);
    for (let i = 0; i < this.#count; i++) {
      const slot = (this.#start + i) % this.#indices.length;
      indices[i] = this.#indices[slot] ?? 0;
      sizes[i] = this.#sizes[slot] ?? 0;
    }
    this.#indices = indices;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
