/**
 * What happened, one readable line per event, and a running hash of all lines: two runs of a seed
 * are the same run if their hashes are equal. Only the newest lines are kept unless a sink is
 * given.
 */
import type { Millis } from '../../src/base/clock.ts';

/** Enough to see what led to a violation: some seconds of a quiet cluster. */
const TAIL_LINES = 400;

export class Trace {
  readonly #sink: ((line: string) => void) | null;
  readonly #tail: string[] = [];
  #lines = 0;
  #low = 0xdeadbeef;
  #high = 0x41c6ce57;

  /** @param sink gets every line as it is made; null keeps the tail only. */
  constructor(sink: ((line: string) => void) | null = null) {
    this.#sink = sink;
  }

  /** How many lines were made. */
  get lines(): number {
    return this.#lines;
  }

  /** The newest lines, oldest first. */
  get tail(): readonly string[] {
    const start = this.#lines % TAIL_LINES;
    if (this.#lines <= TAIL_LINES) return [...this.#tail];
    return [...this.#tail.slice(start), ...this.#tail.slice(0, start)];
  }

  /** 16 hexadecimal digits over all lines so far. */
  get hash(): string {
    return hex(this.#high) + hex(this.#low);
  }

  line(at: Millis, who: string, text: string): void {
    const line = `${at.toFixed(3).padStart(10)} ${who.padEnd(6)} ${text}`;
    this.#tail[this.#lines % TAIL_LINES] = line;
    this.#lines++;
    this.#mix(line);
    this.#sink?.(line);
  }

  /** cyrb53's mixing step, kept running. */
  #mix(text: string): void {
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      low = Math.imul(low ^ code, 0x9e3779b1);
      high = Math.imul(high ^ code, 0x5f356495);
    }
    this.#low = low ^ (high >>> 16);
    this.#high = high ^ (low >>> 16);
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
