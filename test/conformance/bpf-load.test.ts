/** Signals that arrive while the kernel verifies a program make it give up; loading goes on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { loadClassifier } from '../../src/linux/bpf.ts';
import { assemble, exit, type Line, moveValue } from '../../src/linux/bpf-assembler.ts';
import { closeFd } from '../../src/linux/libc.ts';

test('loadClassifier() loads while signals arrive', { timeout: 20_000 }, async () => {
  let signals = 0;
  process.on('SIGWINCH', () => {
    signals++;
  });
  const storm = spawn('sh', ['-c', `while kill -WINCH ${process.pid}; do sleep 0.001; done`]);
  const ended = once(storm, 'exit');
  try {
    await once(process, 'SIGWINCH');
    // Long enough that a signal falls into most of the verifications.
    const body = Array.from({ length: 8_000 }, (): Line => moveValue(0, 0));
    const program = assemble([...body, exit()]);
    for (let i = 0; i < 30; i++) closeFd(loadClassifier(program, 'holdfast_test'));
  } finally {
    storm.kill('SIGKILL');
    await ended;
    process.removeAllListeners('SIGWINCH');
  }
  assert.ok(signals > 0);
});
