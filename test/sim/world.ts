/**
 * The simulated world's time: a queue of events ordered by true time, and one seed from which every
 * random choice is drawn. True time is what an omniscient observer would read; each host sees it
 * only through its own clock.
 *
 * Invariants: `now` never goes back; events of the same instant run in the order of their making; a
 * seed fixes the whole run. Promises of the code under test settle between two events, because the
 * loop lets the microtasks run dry whenever an event has run such code.
 */
import type { Millis } from '../../src/base/clock.ts';
import { type Prng, prng } from '../../src/base/prng.ts';
import { Trace } from './trace.ts';

export interface Scheduled {
  readonly at: Millis;
  cancel(): void;
}

interface WorldEvent extends Scheduled {
  readonly order: number;
  run: (() => void) | null;
}

/** The first rule that was broken, and when. */
export interface Failure {
  readonly rule: string;
  readonly message: string;
  readonly at: Millis;
}

/** Which broken rules are no failure in a world that is outside of what was promised. */
export interface Excuse {
  /** The rules that may break; null for all. */
  readonly rules: ReadonlySet<string> | null;
  /** Whether the run ends with the first of them. */
  readonly ends: boolean;
}

export class World {
  readonly seed: number;
  readonly trace: Trace;
  /** Set by whoever runs code under test: promises may be waiting. */
  dirty = false;
  #now: Millis = 0;
  #order = 0;
  #events = 0;
  #failure: Failure | null = null;
  #excuse: Excuse | null = null;
  #over = false;
  readonly #excused = new Set<string>();
  readonly #exercised = new Set<string>();
  readonly #heap: WorldEvent[] = [];

  constructor(seed: number, trace: Trace = new Trace()) {
    this.seed = seed;
    this.trace = trace;
  }

  get now(): Millis {
    return this.#now;
  }

  get failure(): Failure | null {
    return this.#failure;
  }

  /** Rules that broke where they may. */
  get excused(): readonly string[] {
    return [...this.#excused];
  }

  /** What happened in this run of all that may, by name. */
  get exercised(): readonly string[] {
    return [...this.#exercised];
  }

  /** The run is over: a rule is broken, be it one that may break here. */
  get isOver(): boolean {
    return this.#over;
  }

  /** How many events have run. */
  get events(): number {
    return this.#events;
  }

  /**
   * A generator of its own for each purpose, so that one purpose's draws do not shift another's.
   */
  random(purpose: string): Prng {
    let salt = 0x811c9dc5;
    for (let i = 0; i < purpose.length; i++) {
      salt = Math.imul(salt ^ purpose.charCodeAt(i), 0x01000193);
    }
    return prng((this.seed ^ salt) >>> 0);
  }

  /** Runs `run` at true time `at`, which may not lie in the past. */
  at(at: Millis, run: () => void): Scheduled {
    const event: WorldEvent = {
      at: Math.max(at, this.#now),
      order: this.#order++,
      run,
      cancel() {
        event.run = null;
      },
    };
    push(this.#heap, event);
    return event;
  }

  after(delay: Millis, run: () => void): Scheduled {
    return this.at(this.#now + delay, run);
  }

  /** From now on some rules may break. */
  excuse(excuse: Excuse): void {
    this.#excuse = excuse;
  }

  /** Notes that `what` took effect, for the count of what the seeds have tried. */
  exercise(what: string): void {
    this.#exercised.add(what);
  }

  /** Notes a broken rule; the first one that may not break ends the run. */
  fail(rule: string, message: string): void {
    if (this.#over) return;
    if (this.#excuse !== null && this.#excuse.rules?.has(rule) !== false) {
      if (!this.#excused.has(rule)) this.note('WORLD', `EXCUSED ${rule}: ${message}`);
      this.#excused.add(rule);
      this.#over = this.#excuse.ends;
      return;
    }
    this.#over = true;
    this.#failure = { rule, message, at: this.#now };
    this.note('WORLD', `VIOLATION ${rule}: ${message}`);
  }

  note(who: string, text: string): void {
    this.trace.line(this.#now, who, text);
  }

  /**
   * Runs events until true time `until`, `stop()` or a failure; time then stands at `until` unless
   * it ended early. `afterEvent` is called after each event that ran code under test.
   */
  async run(until: Millis, afterEvent: () => void, stop = () => false): Promise<void> {
    for (;;) {
      const event = this.#heap[0];
      if (event === undefined || event.at > until) break;
      pop(this.#heap);
      if (event.run === null) continue;
      this.#now = event.at;
      this.#events++;
      this.#guard(event.run);
      if (this.dirty) {
        this.dirty = false;
        await microtasksDone();
        this.#guard(afterEvent);
      }
      if (this.#over || stop()) return;
    }
    this.#now = Math.max(this.#now, until);
  }

  /** What escapes from code under test is a broken invariant of its own, and so a failure. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.fail('no-crash', error instanceof Error ? (error.stack ?? error.message) : `${error}`);
    }
  }
}

/** Node empties the microtask queue before it runs the next immediate. */
function microtasksDone(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function before(a: WorldEvent, b: WorldEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: WorldEvent[], event: WorldEvent): void {
  let hole = heap.length;
  heap.push(event);
  while (hole > 0) {
    const parent = (hole - 1) >> 1;
    const above = heap[parent] as WorldEvent;
    if (!before(event, above)) break;
    heap[hole] = above;
    hole = parent;
  }
  heap[hole] = event;
}

function pop(heap: WorldEvent[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let hole = 0;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && before(right, heap[child] as WorldEvent)) child++;
    const below = heap[child] as WorldEvent;
    if (!before(below, last)) break;
    heap[hole] = below;
    hole = child;
  }
  heap[hole] = last;
}
