/** Whether this process runs in the test VM: tests that only that machine may bear ask first. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** Fails anywhere else: the word is on the kernel's command line of our machine alone. */
export function assertInside(): void {
  const words = readFileSync('/proc/cmdline', 'utf8').split(/\s+/);
  const inside = words.some((word) => word.startsWith('holdfast.vm='));
  assert.ok(inside, 'this test needs the test VM: run make test-vm');
}

/** Connections by which evenness is judged in here, where each takes a tenth of a second. */
export const many = 600;
/** So many at the same time that none has to wait for long. */
export const atOnce = 4;
/** The machine outside may have better things to do for a while. */
export const patienceMs = 8_000;
