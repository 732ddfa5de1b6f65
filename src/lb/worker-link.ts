/**
 * One worker process, kept alive: spawned, watched, replaced with growing delays when it dies or no
 * longer answers. Whoever owns the link says again what it wants each time a worker starts.
 */
import { type BackoffOptions, backoff } from '../base/backoff.ts';
import type { Clock, Millis, Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Prng } from '../base/prng.ts';
import type { WorkerHost, WorkerProcess } from './ports.ts';
import { type FromWorker, parseFromWorker, type ToWorker } from './protocol.ts';

export interface WorkerLinkParts {
  readonly clock: Clock;
  readonly random: Prng;
  readonly log: Logger;
  readonly host: WorkerHost;
  /** A worker has started and knows nothing yet. */
  readonly onStart: () => void;
  /** It said something that is not about itself. */
  readonly onMessage: (message: FromWorker) => void;
  /** The worker is gone, and all its connections with it; another one follows. */
  readonly onLoss: (reason: string) => void;
}

const RESPAWN: BackoffOptions = { firstMs: 100, maxMs: 5_000, factor: 2 };
/** A worker that lived this long starts the delays anew when it dies. */
const STEADY_MS: Millis = 10_000;
/**
 * A worker is asked when it was silent for this time, and killed when it was silent for as long
 * again. Two steps, because after a pause of the agent itself its timers fire before it reads what
 * came.
 */
const SILENCE_MS: Millis = 5_000;
/** Beyond the grace it was given, a draining worker gets this to end. */
const EXIT_SLACK_MS: Millis = 1_000;

/** What exists only while a worker runs. */
interface Running {
  readonly process: WorkerProcess;
  readonly since: Millis;
  heard: boolean;
  asked: boolean;
  silence: Timer;
}

export class WorkerLink {
  readonly #parts: WorkerLinkParts;
  #running: Running | null = null;
  #respawn: Timer | null = null;
  #delays: Generator<Millis, never>;
  #starts = 0;
  #started = false;
  #stopping: (() => void) | null = null;

  constructor(parts: WorkerLinkParts) {
    this.#parts = parts;
    this.#delays = backoff(RESPAWN, parts.random);
  }

  /** Workers that were started to replace one that was lost. */
  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** Spawns the first worker; false where that has been done already. */
  start(): boolean {
    if (this.#started) return false;
    this.#started = true;
    this.#spawn();
    return true;
  }

  /** To the worker that runs now; if there is none, `onStart` will ask again. */
  send(message: ToWorker): void {
    this.#running?.process.send(message);
  }

  /** Lets the worker drain for `graceMs` and resolves when it is gone; no other one follows. */
  stop(graceMs: Millis): Promise<void> {
    this.#started = true;
    this.#respawn?.cancel();
    this.#respawn = null;
    const running = this.#running;
    return new Promise((resolve) => {
      this.#stopping = resolve;
      if (running === null) return resolve();
      this.send({ kind: 'drain', graceMs });
      const kill = this.#parts.clock.after(graceMs + EXIT_SLACK_MS, () => running.process.kill());
      this.#stopping = () => {
        kill.cancel();
        resolve();
      };
    });
  }

  #spawn(): void {
    this.#respawn = null;
    this.#starts++;
    let process: WorkerProcess;
    try {
      process = this.#parts.host.spawn();
    } catch (error) {
      this.#lost(`cannot be started: ${describeError(error)}`);
      return;
    }
    const running: Running = {
      process,
      since: this.#parts.clock.now(),
      heard: true,
      asked: false,
      silence: this.#watch(),
    };
    this.#running = running;
    process.onMessage((message) => {
      if (this.#running === running) this.#hear(running, message);
    });
    process.onExit((reason) => {
      if (this.#running === running) this.#ended(running, reason);
    });
    this.#parts.log.info('lb.worker-started', { pid: process.pid });
    this.#parts.onStart();
  }

  #hear(running: Running, raw: unknown): void {
    running.heard = true;
    const message = parseFromWorker(raw);
    if ('invalid' in message) {
      this.#parts.log.warn('lb.bad-message', { reason: message.invalid });
      return;
    }
    if (message.kind === 'log') this.#parts.log[message.level](message.event, message.fields);
    else if (message.kind !== 'pong') this.#parts.onMessage(message);
  }

  #watch(): Timer {
    return this.#parts.clock.after(SILENCE_MS, () => this.#checkSilence());
  }

  #checkSilence(): void {
    const running = this.#running;
    if (running === null) return;
    if (!running.heard && running.asked) {
      this.#parts.log.warn('lb.worker-hangs', { pid: running.process.pid });
      running.process.kill();
      return;
    }
    running.asked = !running.heard;
    if (running.asked) this.send({ kind: 'ping' });
    running.heard = false;
    running.silence = this.#watch();
  }

  #ended(running: Running, reason: string): void {
    running.silence.cancel();
    this.#running = null;
    if (this.#stopping !== null) {
      this.#stopping();
      return;
    }
    const lived = this.#parts.clock.now() - running.since;
    if (lived >= STEADY_MS) this.#delays = backoff(RESPAWN, this.#parts.random);
    this.#lost(reason);
  }

  #lost(reason: string): void {
    const delayMs = this.#delays.next().value;
    this.#parts.log.warn('lb.worker-lost', { reason, restartInMs: Math.round(delayMs) });
    this.#respawn = this.#parts.clock.after(delayMs, () => this.#spawn());
    this.#parts.onLoss(reason);
  }
}
