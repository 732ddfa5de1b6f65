/** The timer that drives Raft: one at a time, and polite after a stall. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock, Millis } from '../../../src/base/clock.ts';
import { DeadlineTimer } from '../../../src/cluster/deadline-timer.ts';

/** Timers that fire when the test says so, and a list of what happened. */
class Scene {
  readonly story: string[] = [];
  now = 0;
  timers: { readonly at: Millis; readonly callback: () => void; cancelled: boolean }[] = [];
  yielded: (() => void) | null = null;
  readonly timer: DeadlineTimer;

  constructor() {
    const clock: Clock = {
      now: () => this.now,
      wallNow: () => this.now,
      after: (delayMs, callback) => {
        const timer = { at: this.now + delayMs, callback, cancelled: false };
        this.timers.push(timer);
        return {
          cancel: () => {
            timer.cancelled = true;
          },
        };
      },
    };
    const yieldToIo = (callback: () => void) => {
      this.yielded = callback;
    };
    this.timer = new DeadlineTimer(clock, yieldToIo, {
      late: () => void this.story.push('late'),
      due: () => void this.story.push('due'),
    });
  }

  live(): number[] {
    return this.timers.filter((timer) => !timer.cancelled).map(({ at }) => at);
  }

  fireAt(now: Millis): void {
    this.now = now;
    const [first] = this.timers.filter((timer) => !timer.cancelled);
    this.timers = this.timers.filter((timer) => timer !== first);
    first?.callback();
  }
}

test('a deadline that moves away keeps its timer; one that comes nearer gets a new one', () => {
  const scene = new Scene();

  scene.timer.arm(100);
  scene.timer.arm(200);
  assert.deepEqual(scene.live(), [100]);
  scene.timer.arm(50);
  assert.deepEqual(scene.live(), [50]);
  scene.timer.arm(Number.POSITIVE_INFINITY);

  scene.fireAt(50);
  assert.deepEqual(scene.story, ['due']);
});

test('a late timer looks first, lets the sockets be read, and acts then', () => {
  const scene = new Scene();
  scene.timer.arm(100);

  scene.fireAt(600);
  assert.deepEqual(scene.story, ['late']);
  scene.timer.arm(610);
  assert.deepEqual(scene.live(), []);
  scene.yielded?.();

  assert.deepEqual(scene.story, ['late', 'due']);
  scene.timer.arm(700);
  assert.deepEqual(scene.live(), [700]);
});

test('a closed timer is silent, also where it was waiting for the sockets', () => {
  const scene = new Scene();
  scene.timer.arm(100);
  scene.fireAt(600);

  scene.timer.close();
  scene.yielded?.();
  scene.timer.arm(700);

  assert.deepEqual(scene.story, ['late']);
  assert.deepEqual(scene.live(), []);
});
