/**
 * A stream to one peer that is always open or on its way: it dials, backs off, and dials again
 * until it is closed. What is sent while it is not open, or faster than the peer takes it, is
 * dropped at once: Raft repeats what matters, and a queue behind a dead peer would only hold stale
 * words.
 */
import { type BackoffOptions, backoff } from '../base/backoff.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import type { Prng } from '../base/prng.ts';
import type { DialledStream, DialOptions } from './dial.ts';

const redialDelays: BackoffOptions = { firstMs: 50, maxMs: 500, factor: 2 };

/** From the first packet to the peer's consent: TCP, TLS, HTTP/2 and one answer. */
const openTimeoutMs: Millis = 1_000;

/** A stream that stood this long was good: the next failure starts with the shortest delay. */
const provenAfterMs: Millis = 1_000;

/** At a graceful end: how long the peer may take to acknowledge what was sent last. */
const farewellMs: Millis = 200;

export interface StreamEvents extends Pick<DialOptions, 'onEnd' | 'preflight'> {
  readonly onOpen: () => void;
}

export interface StreamLinkOptions {
  readonly clock: Clock;
  readonly random: Prng;
  readonly dial: (events: StreamEvents) => DialledStream;
  /** Handed to gRPC and not yet taken by the connection. */
  readonly maxPendingMessages: number;
  readonly maxPendingBytes: number;
  readonly onOpen: () => void;
  /** It was open and no longer is. */
  readonly onLost: () => void;
  /** An attempt failed, or an open stream broke. */
  readonly onFailure: (error: Error) => void;
}

type State =
  | { readonly kind: 'waiting'; readonly timer: Timer }
  | { readonly kind: 'dialling'; readonly stream: DialledStream; readonly timer: Timer }
  | { readonly kind: 'open'; readonly stream: DialledStream; readonly since: Millis }
  | { readonly kind: 'closed' };

export class StreamLink {
  readonly #options: StreamLinkOptions;
  #delays: Generator<Millis, never>;
  #state: State = { kind: 'closed' };
  #pendingMessages = 0;
  #pendingBytes = 0;
  #dials = 0;
  /** The last attempt ran into silence: look first whether anybody is there. */
  #lookFirst = false;

  constructor(options: StreamLinkOptions) {
    this.#options = options;
    this.#delays = backoff(redialDelays, options.random);
    this.#dial();
  }

  get open(): boolean {
    return this.#state.kind === 'open';
  }

  /** The instant since which it is open; null when it is not. */
  get openSince(): Millis | null {
    return this.#state.kind === 'open' ? this.#state.since : null;
  }

  /** Attempts so far. */
  get dials(): number {
    return this.#dials;
  }

  /** Whether `bytes` were handed to the connection; false: dropped. */
  send(bytes: Uint8Array): boolean {
    if (this.#state.kind !== 'open') return false;
    const { maxPendingMessages, maxPendingBytes } = this.#options;
    if (this.#pendingMessages >= maxPendingMessages) return false;
    if (this.#pendingBytes + bytes.length > maxPendingBytes) return false;
    this.#pendingMessages += 1;
    this.#pendingBytes += bytes.length;
    const { stream } = this.#state;
    stream.call.write(bytes, () => {
      // What a former connection still reports counts no more.
      if (this.#state.kind !== 'open' || this.#state.stream !== stream) return;
      this.#pendingMessages -= 1;
      this.#pendingBytes -= bytes.length;
    });
    return true;
  }

  /** Gives the present connection up, for one that may fare better. */
  redial(): void {
    if (this.#state.kind !== 'open') return;
    this.#state.stream.abandon();
    this.#lookFirst = true;
    this.#options.onLost();
    this.#dial();
  }

  /** The peer is there: it has just called. Whatever still waits or looks for it dials now. */
  nudge(): void {
    const state = this.#state;
    const looking = state.kind === 'dialling' && this.#lookFirst;
    if (state.kind !== 'waiting' && !looking) return;
    state.timer.cancel();
    if (state.kind === 'dialling') state.stream.abandon();
    this.#lookFirst = false;
    this.#dial();
  }

  /** Ends for good, after what was sent has arrived or {@link farewellMs} are over. */
  close(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: 'closed' };
    if (state.kind === 'waiting' || state.kind === 'dialling') state.timer.cancel();
    if (state.kind === 'dialling') state.stream.abandon();
    if (state.kind !== 'open') return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        state.stream.abandon();
        resolve();
      };
      const timer = this.#options.clock.after(farewellMs, done);
      state.stream.call.once('status', done);
      state.stream.call.end();
    });
  }

  #dial(): void {
    const { clock, dial } = this.#options;
    this.#dials += 1;
    const stream = dial({
      preflight: this.#lookFirst,
      onOpen: () => this.#opened(),
      onEnd: (error) => {
        const met = this.#state.kind === 'dialling' || this.#state.kind === 'open';
        if (met) this.#failed(error ?? new Error('ended by the peer'));
      },
    });
    const timer = clock.after(openTimeoutMs, () => {
      stream.abandon();
      this.#lookFirst = true;
      this.#failed(new Error('no answer'));
    });
    this.#state = { kind: 'dialling', stream, timer };
  }

  #opened(): void {
    if (this.#state.kind !== 'dialling') return;
    const { stream, timer } = this.#state;
    timer.cancel();
    this.#lookFirst = false;
    this.#pendingMessages = 0;
    this.#pendingBytes = 0;
    this.#state = { kind: 'open', stream, since: this.#options.clock.now() };
    this.#options.onOpen();
  }

  #failed(error: Error): void {
    const { clock, random } = this.#options;
    const before = this.#state;
    if (before.kind === 'dialling') before.timer.cancel();
    if (before.kind === 'open' && clock.now() - before.since >= provenAfterMs) {
      this.#delays = backoff(redialDelays, random);
    }
    const timer = clock.after(this.#delays.next().value, () => this.#dial());
    this.#state = { kind: 'waiting', timer };
    this.#options.onFailure(error);
    if (before.kind === 'open') this.#options.onLost();
  }
}
