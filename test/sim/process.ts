/**
 * One process on a simulated host, from its start to its death: a single thread that may be paused
 * anywhere, also between reading the clock and acting on what it read.
 *
 * A pause in the middle of synchronous code cannot be had by waiting. Instead the process runs
 * ahead of the world: pausing it adds to its own `time`, from where it goes on at once, and
 * whatever it does to the world from there (its *effects*) happens when the world has got to that
 * time. What reaches it meanwhile waits in its queues. Since the effects are all that others can
 * see of it, this is the same as a thread that slept; and a process killed while it is ahead never
 * did them.
 *
 * Invariants: `time` never goes back and is never behind the world; effects happen in the order in
 * which they were made; nothing of a dead process happens.
 */
import type { Clock, Millis, Timer } from '../../src/base/clock.ts';
import type { DriftClock } from './clock.ts';
import type { Scheduled, World } from './world.ts';

/** Node's phases: due timers first, then what came from outside, then immediates. */
export type Phase = 'timer' | 'io' | 'immediate';

/** Wall-clock origin of all hosts; it means nothing and may jump. */
const WALL_EPOCH_MS = 1_700_000_000_000;

export interface ProcessParts {
  readonly world: World;
  readonly name: string;
  readonly clock: DriftClock;
  /** Told what escapes from a turn: it ends the process. */
  readonly crashed: (error: unknown) => void;
  /** How long to sleep right before an effect, in ms of true time; 0 for not at all. */
  readonly hesitation: () => Millis;
  /** How far the host's wall clock is off; nothing may depend on it. */
  readonly wallOffset: () => Millis;
  /** How late a timer fires, in ms. */
  readonly timerLateness: () => Millis;
}

export class SimProcess implements Clock {
  readonly name: string;
  readonly #parts: ProcessParts;
  readonly #world: World;
  readonly #timers: (() => void)[] = [];
  readonly #io: (() => void)[] = [];
  readonly #immediates: (() => void)[] = [];
  #ahead: Millis = 0;
  #alive = true;
  #running = false;
  #wake: Scheduled | null = null;
  #effectsDue = 0;

  constructor(parts: ProcessParts) {
    this.#parts = parts;
    this.#world = parts.world;
    this.name = parts.name;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** True time as far as this process has got. */
  get time(): Millis {
    return Math.max(this.#world.now, this.#ahead);
  }

  /** Asleep, or with effects that the world has not seen yet. */
  get isAhead(): boolean {
    return this.#ahead > this.#world.now || this.#effectsDue > 0;
  }

  now(): Millis {
    return this.#parts.clock.local(this.time);
  }

  wallNow(): Millis {
    return WALL_EPOCH_MS + Math.floor(this.time + this.#parts.wallOffset());
  }

  after(delayMs: Millis, callback: () => void): Timer {
    const target = this.now() + Math.max(0, delayMs);
    let pending: Scheduled | null = null;
    let cancelled = false;
    const fire = (): void => {
      if (!cancelled && this.#alive) callback();
    };
    const due = (): void => {
      if (this.#parts.clock.local(this.#world.now) < target - 1e-6) arm(0);
      else this.post('timer', fire);
    };
    const arm = (late: Millis): void => {
      pending = this.#world.at(this.#parts.clock.trueAt(target) + late, due);
    };
    arm(this.#parts.timerLateness());
    return {
      cancel: () => {
        cancelled = true;
        pending?.cancel();
      },
    };
  }

  /** Runs `run` as a turn of this process: now if it is idle, else when it gets to it. */
  post(phase: Phase, run: () => void): void {
    if (!this.#alive) return;
    if (phase !== 'immediate' && this.#idle()) {
      this.#turn(run);
      return;
    }
    this.#queue(phase).push(run);
    this.#arrangeWake();
  }

  /** Sleeps until true time `until`, unless it sleeps longer already. */
  sleepUntil(until: Millis): void {
    this.#ahead = Math.max(this.#ahead, until);
  }

  /**
   * Does something to the world at this process's own time, after a possible hesitation. Effects
   * keep their order; `run` gets the true time of it and no way back to the process.
   */
  effect(run: (at: Millis) => void): void {
    const asleep = this.#parts.hesitation();
    if (asleep > 0) {
      this.#world.note(this.name, `hesitates ${asleep.toFixed(1)} ms before an effect`);
      this.sleepUntil(this.time + asleep);
    }
    if (this.#ahead <= this.#world.now && this.#effectsDue === 0) {
      if (this.#alive) run(this.#world.now);
      return;
    }
    this.#effectsDue++;
    this.#world.at(this.time, () => {
      this.#effectsDue--;
      if (this.#alive) run(this.#world.now);
    });
  }

  /** Ends it at this instant of the world, in the middle of whatever it was at. */
  kill(): void {
    this.#alive = false;
    this.#timers.length = 0;
    this.#io.length = 0;
    this.#immediates.length = 0;
    this.#wake?.cancel();
  }

  #idle(): boolean {
    return !this.#running && this.#wake === null && this.#ahead <= this.#world.now;
  }

  #queue(phase: Phase): (() => void)[] {
    if (phase === 'timer') return this.#timers;
    return phase === 'io' ? this.#io : this.#immediates;
  }

  #arrangeWake(): void {
    this.#wake ??= this.#world.at(this.time, () => {
      this.#wake = null;
      if (!this.#alive) return;
      if (this.#ahead <= this.#world.now) {
        const next = this.#timers.shift() ?? this.#io.shift() ?? this.#immediates.shift();
        if (next !== undefined) this.#turn(next);
      }
      const waiting = this.#timers.length + this.#io.length + this.#immediates.length;
      if (waiting > 0) this.#arrangeWake();
    });
  }

  #turn(run: () => void): void {
    this.#world.dirty = true;
    this.#running = true;
    try {
      run();
    } catch (error) {
      this.#parts.crashed(error);
    } finally {
      this.#running = false;
    }
  }
}
