/**
 * The kernel's clocks in milliseconds. CLOCK_MONOTONIC_RAW is the agent's time: no time daemon
 * slews it, so that its rate is the hardware's and the lease's bound on rates holds.
 * CLOCK_MONOTONIC is the axis on which the kernel's own programs count; nothing but the fence uses
 * it.
 */
import { assert } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import { clockGetTime } from './libc.ts';

/** time.h */
const CLOCK_MONOTONIC = 1;
const CLOCK_MONOTONIC_RAW = 4;

/** struct timespec of a 64-bit kernel: seconds low, seconds high, nanoseconds low, high. */
const timespec = new Uint32Array(4);

/** The agent's time, for `systemClock`; allocates nothing. */
export function rawNow(): Millis {
  return read(CLOCK_MONOTONIC_RAW);
}

/** The time that `bpf_ktime_get_ns` tells, in milliseconds; allocates nothing. */
export function monotonicNow(): Millis {
  return read(CLOCK_MONOTONIC);
}

function read(clock: number): Millis {
  assert(clockGetTime(clock, timespec) === 0, 'the kernel has no monotonic clock');
  const [low = 0, high = 0, nanoseconds = 0] = timespec;
  return (high * 2 ** 32 + low) * 1000 + nanoseconds / 1e6;
}
