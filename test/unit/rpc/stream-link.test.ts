/** How a stream is kept up, with time and the network by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../../src/base/clock.ts';
import type { DialledStream } from '../../../src/rpc/dial.ts';
import { type StreamEvents, StreamLink } from '../../../src/rpc/stream-link.ts';

class Bench {
  now = 0;
  readonly attempts: (StreamEvents & {
    at: number;
    abandoned: boolean;
    written: (() => void)[];
  })[] = [];
  readonly told: string[] = [];
  #timers: { at: number; run: () => void }[] = [];

  readonly clock: Clock = {
    now: () => this.now,
    wallNow: () => this.now,
    after: (delayMs, run) => {
      const timer = { at: this.now + delayMs, run };
      this.#timers.push(timer);
      return { cancel: () => (this.#timers = this.#timers.filter((each) => each !== timer)) };
    },
  };

  readonly link = new StreamLink({
    clock: this.clock,
    random: () => 0,
    dial: (events) => this.#dial(events),
    maxPendingMessages: 2,
    maxPendingBytes: 100,
    onOpen: () => this.told.push('open'),
    onLost: () => this.told.push('lost'),
    onFailure: (error) => this.told.push(error.message),
  });

  get last() {
    const attempt = this.attempts.at(-1);
    assert.ok(attempt);
    return attempt;
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }

  #dial(events: StreamEvents): DialledStream {
    const attempt = { ...events, at: this.now, abandoned: false, written: [] as (() => void)[] };
    this.attempts.push(attempt);
    const call = {
      write: (_bytes: Uint8Array, taken: () => void) => attempt.written.push(taken),
      once: (_event: string, done: () => void) => attempt.written.push(done),
      end: () => undefined,
    };
    return {
      // The link uses no more of a call than this.
      call: call as unknown as DialledStream['call'],
      abandon: () => (attempt.abandoned = true),
    };
  }
}

const message = new Uint8Array(10);

test('a link dials at once, and again after delays that grow to half a second', () => {
  const bench = new Bench();

  for (let i = 0; i < 7; i++) {
    bench.last.onEnd(new Error('refused'));
    bench.advance(600);
  }

  const gaps = bench.attempts.slice(1).map(({ at }, i) => at - 600 * i);
  assert.deepEqual(gaps, [50, 100, 200, 400, 500, 500, 500]);
  assert.ok(bench.attempts.every(({ preflight }) => !preflight));
});

test('a stream that stood for a while earns the shortest delay again, a short one does not', () => {
  const bench = new Bench();
  bench.last.onEnd(new Error('refused'));
  bench.advance(50);
  bench.last.onOpen();
  bench.last.onEnd(new Error('reset'));
  bench.advance(99);
  assert.equal(bench.attempts.length, 2);
  bench.advance(1);
  assert.equal(bench.attempts.length, 3);

  bench.last.onOpen();
  bench.advance(1_000);
  bench.last.onEnd(new Error('reset'));
  bench.advance(50);

  assert.equal(bench.attempts.length, 4);
  assert.deepEqual(bench.told, ['refused', 'open', 'reset', 'lost', 'open', 'reset', 'lost']);
});

test('an attempt that meets silence is given up after a second, and the next looks first', () => {
  const bench = new Bench();

  bench.advance(1_050);

  assert.deepEqual(bench.told, ['no answer']);
  assert.equal(bench.attempts[0]?.abandoned, true);
  assert.equal(bench.last.preflight, true);
  bench.last.onOpen();
  bench.last.onEnd(new Error('reset'));
  bench.advance(600);
  assert.equal(bench.last.preflight, false);
});

test('what a closed or a full stream is given is dropped', () => {
  const bench = new Bench();
  assert.equal(bench.link.send(message), false);
  bench.last.onOpen();

  const taken = [1, 2, 3].map(() => bench.link.send(message));
  bench.last.written.shift()?.();

  assert.deepEqual(taken, [true, true, false]);
  assert.equal(bench.link.send(message), true);
  bench.last.written.shift()?.();
  assert.equal(bench.link.send(new Uint8Array(200)), false);
});

test('nudge() ends every wait, and leaves what stands alone', () => {
  const bench = new Bench();
  bench.last.onEnd(new Error('refused'));

  bench.link.nudge();
  assert.equal(bench.attempts.length, 2);
  bench.link.nudge();
  assert.equal(bench.attempts.length, 2);

  bench.advance(1_100);
  assert.equal(bench.last.preflight, true);
  bench.link.nudge();
  assert.equal(bench.attempts.length, 4);
  assert.equal(bench.attempts[2]?.abandoned, true);
  assert.equal(bench.last.preflight, false);

  bench.last.onOpen();
  bench.link.nudge();
  assert.equal(bench.attempts.length, 4);
  assert.equal(bench.last.abandoned, false);
});

test('redial() replaces an open stream at once', () => {
  const bench = new Bench();
  bench.last.onOpen();

  bench.link.redial();

  assert.equal(bench.attempts.length, 2);
  assert.equal(bench.attempts[0]?.abandoned, true);
  assert.equal(bench.last.preflight, true);
  assert.deepEqual(bench.told, ['open', 'lost']);
});

test('close() waits for the peer a fifth of a second, and dials no more', async () => {
  const bench = new Bench();
  bench.last.onOpen();

  const closed = bench.link.close();
  bench.advance(199);
  assert.equal(bench.last.abandoned, false);
  bench.advance(1);
  await closed;
  bench.last.onEnd(new Error('late'));
  bench.advance(5_000);

  assert.equal(bench.last.abandoned, true);
  assert.equal(bench.attempts.length, 1);
});
